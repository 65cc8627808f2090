"""How many annotations were kept and why the others were not: the table that a person reads."""

import collections
from collections.abc import Sequence
from typing import Any

from distill_jax.annotations.verify import Rejected
from distill_jax.records import Annotation


def summarise(kept: Sequence[Annotation], rejected: Sequence[Rejected]) -> dict[str, Any]:
    """The content of annotations.summary.json.

    {"kept": 7, "problems": 5, "tasks": {"gsm8k/train": {"kept": 7, "wrong answer": 2}},
     "reasons": {"wrong answer": 2}, "steps": {"2": 4, "3": 3}, "sources": {"teacher gpt-4o": 7}}

    A task is what stands before the last part of an id. `steps` counts those that are kept.
    """
    tasks: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for annotation in kept:
        tasks[_task(annotation.id)]["kept"] += 1
    for each in rejected:
        tasks[_task(each.id)][each.reason] += 1
    steps = collections.Counter(len(annotation.steps) for annotation in kept)
    sources = collections.Counter(_source(annotation.source) for annotation in kept)
    return {
        "kept": len(kept),
        "problems": len({annotation.id for annotation in kept}),
        "tasks": {task: dict(counts) for task, counts in sorted(tasks.items())},
        "reasons": dict(collections.Counter(each.reason for each in rejected).most_common()),
        "steps": {str(number): steps[number] for number in sorted(steps)},
        "sources": dict(sources.most_common()),
    }


def table(summary: dict[str, Any]) -> str:
    """The summary as text: a line per task, then the kept ones by number of steps."""
    reasons = ["kept", *summary["reasons"]]
    head = ["", *reasons]
    rows = [
        [task, *(str(counts.get(reason, 0)) for reason in reasons)]
        for task, counts in summary["tasks"].items()
    ]
    lines = _columns([head, *rows])
    if summary["steps"]:
        numbers = list(summary["steps"])
        lines += ["", *_columns([["steps", *numbers], ["kept", *summary["steps"].values()]])]
    return "\n".join(lines)


def _columns(rows: list[list[Any]]) -> list[str]:
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _task(identifier: str) -> str:
    if not identifier:
        return "(no problem)"
    return identifier.rpartition("/")[0] or "(ids without a task)"


def _source(source: dict[str, Any]) -> str:
    name = source.get("model") or source.get("file") or ""
    return f"{source['kind']} {name}".strip()
