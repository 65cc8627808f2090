"""The steps of each arm up to its last one: the table "way" of a sweep's report."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.evaluation import runs, tables
from distill_jax.evaluation.tables import Table
from distill_jax.records import read_json_lines
from distill_jax.sweep.definition import Ask, Make
from distill_jax.sweep.plan import Plan, SweepStep
from distill_jax.workdir import Workdir, read_json

_COLUMNS = (
    tables.text("arm"),
    tables.text("step"),
    tables.text("what"),
    tables.count("annotations"),
    tables.count("of own samples"),
    tables.count("tokens sampled"),
    tables.count("tokens trained"),
    tables.share("accuracy"),
)
_NOTE = (
    "Annotations: that a run trains on, or that a step writes. Tokens sampled: written by the "
    "students for what is learned from or compared, in all samples. Tokens trained: non-padding "
    "ones fed, summed over students. The last line of an arm has the sums of its steps; a step "
    "that arms share was done once, and counts in each."
)


def table(plan: Plan, ways: Mapping[str, Sequence[str]], directory: pathlib.Path) -> Table | None:
    """A line for each step of the `ways` ({ARM-seedN: names of its steps, all done}); None if
    every arm is a single run."""
    rows: list[tuple[Any, ...]] = []
    for arm, names in ways.items():
        lines = [_line(plan.of(name), directory) for name in names]
        rows += [(arm, number, *line) for number, line in enumerate(lines)]
        if len(lines) > 1:
            sampled, trained = (sum(line[place] or 0 for line in lines) for place in (3, 4))
            rows.append((arm, "all", "", None, None, sampled, trained, lines[-1][5]))
    if all(len(names) == 1 for names in ways.values()):
        return None
    return Table("way", "The way there", _COLUMNS, rows, _NOTE)


def _line(step: SweepStep, directory: pathlib.Path) -> tuple[Any, ...]:
    """(what, annotations, of own samples, tokens sampled, tokens trained, accuracy)."""
    place = directory / step.name
    if isinstance(step.step, Make):
        made = place / "annotations.jsonl"
        count = len(read_json_lines(made)) if made.exists() else None
        written = place / "summary.json"
        sampled = read_json(written).get("tokens_sampled") if written.exists() else None
        return step.module.removeprefix("distill_jax."), count, None, sampled, None, None
    report = read_json(place / "report.json")
    sampled, accuracy = report["cost"]["tokens"], report["accuracy"]
    if isinstance(step.step, Ask):
        return f"ask the {report['split']} split", None, None, sampled, None, accuracy
    workdir = Workdir(place)
    own = read_json(workdir.summary)["sources"].items()
    harvested = sum(count for source, count in own if source.partition(" ")[0] == "student")
    facts = read_json(workdir.training_data)
    return (
        "train",
        sum(1 for _ in open(workdir.annotations, encoding="utf-8")),
        harvested,
        sampled,
        runs.trained_tokens(facts[student] for student in report["checkpoint_steps"]),
        accuracy,
    )
