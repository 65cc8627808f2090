"""What runs get right and wrong: the tables of the comparison about answers, on common problems."""

from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation import breakdowns, error_classes, tables
from distill_jax.evaluation.calibration import calibration
from distill_jax.evaluation.question_quality import corpus_bleu, question_counts, question_pairs
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.tables import Table
from distill_jax.records import Annotation

Gold = Mapping[str, Annotation]


def errors_table(runs: Sequence[Run], gold: Gold) -> Table:
    """How many wrong answers are of each class."""
    rows = []
    for run in runs:
        counts = error_classes.count(run.predictions, gold, given=run.given)
        rows.append((run.name, sum(counts.values()), *counts.values()))
    columns = (
        tables.text("run"),
        tables.count("wrong"),
        *(tables.count(name) for name in error_classes.CLASSES),
    )
    note = (
        "The first class that fits, from left to right. Decomposition: another number of steps "
        "than gold. Arithmetic: as many, but an equation is false. Operation: as many, and no "
        "equation is false. Of several mistakes only one is counted."
    )
    return Table("errors", "Why answers are wrong", columns, rows, note)


def breakdown_tables(runs: Sequence[Run]) -> list[Table]:
    """By number of steps, by length of the transcript, by type of problem."""
    steps = _breakdown("steps", "By steps of the gold solution", "steps", runs, "steps")
    lengths = [(run.name, group) for run in runs for group in breakdowns.by_length(run.predictions)]
    length = _group_table(
        "lengths", "By length of the transcript", "tokens", lengths,
        "Quartiles of each run's own transcripts.",
    )  # fmt: skip
    types = [
        _breakdown(f"by_{i}", f"By {name}", name, runs, name)
        for i, name in enumerate(breakdowns.types(runs[0].predictions), start=1)
    ]
    return [table for table in (steps, length, *types) if table.rows]


def questions_table(runs: Sequence[Run], gold: Gold) -> Table | None:
    """Subquestions against gold; None where no decomposer asked by itself."""
    asking = [run for run in runs if run.given in ("", "plan")]
    pairs = {run.name: question_pairs(run.predictions, gold) for run in asking}
    pairs = {name: found for name, found in pairs.items() if found}
    missing = ""
    try:
        bleu = {name: corpus_bleu(found) for name, found in pairs.items()}
    except UserError as error:  # an extra that is not installed
        bleu, missing = {}, f" No BLEU: {error}."
    rows = [
        (name, *question_counts(found).values(), bleu.get(name)) for name, found in pairs.items()
    ]
    columns = (
        tables.text("run"),
        tables.count("problems"),
        tables.decimal("questions"),
        tables.decimal("more than gold"),
        tables.share("as many as gold"),
        tables.decimal("BLEU", 1),
    )
    note = (
        "Subquestions per problem and their number against gold. Corpus BLEU (sacrebleu), a "
        "problem's questions as one segment: how similar the words are, not how useful." + missing
    )
    return Table("questions", "Subquestions", columns, rows, note) if rows else None


def calibration_table(runs: Sequence[Run]) -> Table:
    """Whether probabilities tell right answers from wrong ones."""
    rows = []
    for run in runs:
        last = calibration(run.predictions)
        whole = calibration(run.predictions, transcript=True)
        if last is not None and whole is not None:
            mean = sum(b.n * b.probability for b in last.bins) / last.n
            measured = [(each.expected_error, each.auroc) for each in (last, whole)]
            rows.append((run.name, last.n, mean, *measured[0], *measured[1]))
    columns = (
        tables.text("run"),
        tables.count("problems"),
        tables.share("mean probability"),
        tables.share("calibration error"),
        tables.decimal("AUROC"),
        tables.share("calibration error, transcript"),
        tables.decimal("AUROC, transcript"),
    )
    note = (
        "Probability of the last solver turn, and of the whole transcript, at temperature 1. "
        "Expected calibration error over ten bins. AUROC: the chance that a right answer is more "
        "probable than a wrong one (0.5 is chance); empty where all are right or all wrong."
    )
    return Table("calibration", "Calibration", columns, rows, note)


def _breakdown(name: str, title: str, column: str, runs: Sequence[Run], attribute: str) -> Table:
    """The runs of a group below each other."""
    by_run = [breakdowns.by_attribute(run.predictions, attribute) for run in runs]
    rows = [(run.name, group) for run, groups in zip(runs, by_run, strict=True) for group in groups]
    order = list(dict.fromkeys(group.name for groups in by_run for group in groups))
    rows.sort(key=lambda row: order.index(row[1].name))
    return _group_table(name, title, column, rows)


def _group_table(
    name: str, title: str, column: str, rows: Sequence[tuple[str, Any]], note: str = ""
) -> Table:
    columns = (
        tables.text(column),
        tables.text("run"),
        tables.count("problems"),
        tables.count("right"),
        tables.share_with_interval("accuracy"),
    )
    cells = [(g.name, run, g.n, g.correct, (g.accuracy, *g.interval)) for run, g in rows]
    return Table(name, title, columns, cells, note)
