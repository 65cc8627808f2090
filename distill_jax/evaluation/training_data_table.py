"""The table of the comparison about what each arm was trained on."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from distill_jax.evaluation import tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.tables import Table


def training_data_table(arms: Mapping[str, Sequence[Run]]) -> Table | None:
    """One row per arm, student and origin of its rows (file, teacher, gold), means over the seeds.

    None where no run says where its rows are from, which older runs do not.
    """
    rows = []
    for arm, members in arms.items():
        for student in members[0].students:
            facts = [run.facts[student] for run in members if "origins" in run.facts[student]]
            origins = sorted({name for each in facts for name in each["origins"]})
            rows += [(arm, student, name, *_means(facts, name)) for name in origins]
    columns = (
        tables.text("arm"),
        tables.text("student"),
        tables.text("origin"),
        tables.decimal("problems", 1),
        tables.decimal("rows", 1),
        tables.decimal("dropped rows", 1),
        tables.decimal("tokens per row", 1),
        tables.decimal("epochs", 2),
    )
    note = (
        "What the students were trained on, means over the runs of an arm: problems and rows that "
        "fit the context, rows that did not and were dropped, tokens fed per row, and how often "
        "each row was met."
    )
    return Table("training_data", "Training data", columns, rows, note) if rows else None


def _means(facts: Sequence[Mapping[str, Any]], origin: str) -> tuple[float | None, ...]:
    nothing = {"problems": 0, "rows": 0, "row_tokens": 0, "dropped_rows": 0}
    counts = [each["origins"].get(origin, nothing) for each in facts]
    rows = sum(each["rows"] for each in counts)
    epochs = [
        each["epochs"] * each.get("finished_at", each["steps"]) / each["steps"] for each in facts
    ]
    return (
        fmean(each["problems"] for each in counts),
        fmean(each["rows"] for each in counts),
        fmean(each["dropped_rows"] for each in counts),
        sum(each["row_tokens"] for each in counts) / rows if rows else None,
        fmean(epochs),
    )
