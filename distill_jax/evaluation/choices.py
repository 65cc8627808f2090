"""Questions with choices: how often the letter is right, and how often the text after it."""

from collections.abc import Sequence
from typing import NamedTuple

from distill_jax.evaluation import tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.tables import Table
from distill_jax.records import Prediction
from distill_jax.tasks.multiple_choice import (
    Choices,
    choices_in,
    read_choice,
    read_text,
)
from distill_jax.text.text_answers import text_key


class Said(NamedTuple):
    """What an answer says of the choices."""

    letter: bool  # the letter is that of the known answer
    text: bool  # the text after it is
    own: bool  # the text is that of the letter which was written, right or wrong
    known: bool  # the text is that of any choice


def said_of(prediction: Prediction, choices: Choices) -> Said:
    """What an answer says; one in which the task read no answer says nothing."""
    if prediction.prediction is None:
        return Said(False, False, False, False)
    keys = {letter: text_key(text) for letter, text in choices.texts.items()}
    gold = read_choice(prediction.answer)
    letter = prediction.prediction
    key = text_key(read_text(prediction.completion))
    return Said(
        letter == gold, key == keys.get(gold or ""), key == keys.get(letter), key in keys.values()
    )


def choices_table(runs: Sequence[Run]) -> Table | None:
    """Letters and texts of each run; None if no question has choices."""
    rows = []
    for run in runs:
        asked = [(row, choices_in(row.question)) for row in run.predictions]
        said = [said_of(row, choices) for row, choices in asked if choices is not None]
        if said:
            rows.append(
                (run.name, *(_share([each[n] for each in said]) for n in range(4)), len(said))
            )
    columns = (
        tables.text("run"),
        tables.share_with_interval("letter right"),
        tables.share_with_interval("text right"),
        tables.share_with_interval("text of its own letter"),
        tables.share_with_interval("text of any choice"),
        tables.count("of"),
    )
    note = (
        "An answer such as (B) red ball has a letter, which decides, and a text after it. If the "
        "text is right much more often than the letter, the student solves problems whose letter "
        "it cannot tell (Wilson 95 %). A right text without a letter counts as right, but has no "
        "letter here."
    )
    return Table("choices", "Letters and texts of choices", columns, rows, note) if rows else None


def _share(right: Sequence[bool]) -> tuple[float, float, float]:
    return (sum(right) / len(right), *wilson_interval(sum(right), len(right)))
