"""Last letters: which letters are wrong, and which words are joined wrongly from right letters."""

from collections.abc import Sequence
from typing import NamedTuple

from distill_jax.evaluation import tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.tables import Table
from distill_jax.records import Prediction
from distill_jax.tasks.stories.letters import said_letters


class Letters(NamedTuple):
    """Letters of a prediction: the known ones, those of its steps, those of its answer."""

    known: str
    said: str
    answered: str


def letters_of(prediction: Prediction) -> Letters:
    """In lower case, as answers are compared."""
    said = "".join(said_letters(turn.text) for turn in prediction.turns if turn.role == "solver")
    answered = prediction.prediction or ""
    return Letters(prediction.answer.casefold(), said.casefold(), answered.casefold())


def right_letters(known: str, written: str) -> int:
    """How many letters stand where they should.

    >>> right_letters("tan", "tin")
    2
    """
    return sum(a == b for a, b in zip(known, written, strict=False))


def letters_table(runs: Sequence[Run]) -> Table | None:
    """Accuracy per letter, and errors of joining apart; None if no run's steps name letters."""
    read = {run.name: [letters_of(prediction) for prediction in run.predictions] for run in runs}
    if not any(each.said for found in read.values() for each in found):
        return None
    rows = []
    for name, found in read.items():
        letters = sum(len(each.known) for each in found)
        stepwise = [each for each in found if each.said]
        whole = [each for each in stepwise if each.said == each.known]
        joined = sum(each.answered == each.known for each in whole)
        rows.append(
            (
                name,
                _share(sum(right_letters(e.known, e.said) for e in stepwise), letters)
                if stepwise
                else None,
                _share(sum(right_letters(e.known, e.answered) for e in found), letters),
                len(whole),
                _share(joined, len(whole)) if whole else None,
                len(found),
            )
        )
    columns = (
        tables.text("run"),
        tables.share_with_interval("letters of the steps"),
        tables.share_with_interval("letters of the answer"),
        tables.count("all letters of the steps right"),
        tables.share_with_interval("joined rightly of these"),
        tables.count("of"),
    )
    note = (
        "Letters that stand where they should, of all known ones (Wilson 95 %, as if letters were "
        "independent); and, where the steps have every letter, whether they are joined to the "
        "known answer."
    )
    return Table("letters", "Last letters", columns, rows, note)


def _share(right: int, n: int) -> tuple[float, float, float]:
    return (right / n, *wilson_interval(right, n))
