"""How students write, whether right or wrong: the mark of the answer, length, repetition.

Fmt, Len and Rep of self-enhanced reasoning training (https://arxiv.org/abs/2502.12744): students
that reason by themselves often forget the form of an answer, or repeat themselves.
"""

from collections.abc import Sequence
from statistics import fmean

from distill_jax.evaluation import tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.tables import Table
from distill_jax.records import Turn
from distill_jax.text.formats import FORMATS, TURNS
from distill_jax.text.transcript import SCHEMES


def repetition(turns: Sequence[Turn]) -> float:
    """The share of words that occurred before in the dialogue; 0 if nothing was written.

    >>> repetition([Turn("solver", "a b a b a c", 6, -1.0)])
    0.5
    """
    words = [word for turn in turns for word in turn.text.split()]
    return 1 - len(set(words)) / len(words) if words else 0.0


def mark_of(run: Run) -> str:
    """What stands before the answer in the students' format; "" if nothing does, or if several runs
    with different formats were combined."""
    form = FORMATS.get(run.identity.get("text_format", TURNS.name))
    scheme = SCHEMES.get(run.identity["scheme"])
    if form is None or scheme is None:
        return ""
    return (form.before_answer if scheme.needs_steps else form.before_lone_answer).strip()


def written_text_table(runs: Sequence[Run]) -> Table:
    """One row per run, over all dialogues, those of all samples."""
    rows = []
    for run in runs:
        written = [d.turns for p in run.predictions for d in p.samples or (p,)]
        mark = mark_of(run)
        marked = [any(mark in t.text for t in turns if t.role == "solver") for turns in written]
        rows.append(
            (
                run.name,
                len(written),
                fmean(marked) if mark else None,
                fmean(sum(turn.tokens for turn in turns) for turns in written),
                fmean(repetition(turns) for turns in written),
            )
        )
    columns = (
        tables.text("run"),
        tables.count("dialogues"),
        tables.share("with an answer mark"),
        tables.decimal("tokens", 1),
        tables.share("repeated words"),
    )
    note = (
        "With an answer mark: those in which a solver wrote what stands before the answer in its "
        "format, such as ####. Tokens: of a dialogue. Repeated words: those that occurred before "
        "in the same dialogue; numbers and signs are words, too."
    )
    return Table("written_text", "How answers are written", columns, rows, note)
