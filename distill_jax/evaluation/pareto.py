"""Accuracy against the tokens that it takes: which runs are worth their cost."""

from collections.abc import Sequence
from typing import NamedTuple

from distill_jax.evaluation import tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.tables import Table


class Point(NamedTuple):
    """One run."""

    name: str
    tokens: float  # per problem, that everyone who was asked wrote in all samples
    flops: float  # per problem
    accuracy: float
    interval: tuple[float, float]  # Wilson 95 %
    on_front: bool


def on_front(costs: Sequence[float], accuracies: Sequence[float]) -> list[bool]:
    """Which of them are on the Pareto front: nothing else is as accurate for less, or more accurate
    for as much.

    >>> on_front([1.0, 2.0, 2.0, 3.0, 4.0], [0.5, 0.4, 0.7, 0.7, 0.9])
    [True, False, True, False, True]
    """
    points = list(zip(costs, accuracies, strict=True))
    return [
        not any((c <= cost and a > accuracy) or (c < cost and a >= accuracy) for c, a in points)
        for cost, accuracy in points
    ]


def points(runs: Sequence[Run]) -> list[Point]:
    """The runs in their order."""
    tokens = [run.generated_tokens() / len(run.predictions) for run in runs]
    front = on_front(tokens, [run.accuracy for run in runs])
    return [
        Point(
            run.name,
            written,
            sum(p.cost.flops for p in run.predictions) / len(run.predictions),
            run.accuracy,
            wilson_interval(sum(p.correct for p in run.predictions), len(run.predictions)),
            best,
        )
        for run, written, best in zip(runs, tokens, front, strict=True)
    ]


def pareto_table(runs: Sequence[Run]) -> Table | None:
    """One row per run, the one that writes least first; None if there is only one."""
    if len(runs) < 2:
        return None
    rows = [
        (each.name, each.tokens, each.flops, (each.accuracy, *each.interval),
         "yes" if each.on_front else "no")
        for each in sorted(points(runs), key=lambda point: point.tokens)
    ]  # fmt: skip
    columns = (
        tables.text("run"),
        tables.decimal("tokens written per problem", 1),
        tables.magnitude("FLOPs per problem"),
        tables.share_with_interval("accuracy"),
        tables.text("on the front"),
    )
    note = (
        "Tokens of everyone who was asked, in all samples. A run is on the front (the line in the "
        "figure) if no other is as accurate with fewer tokens, or more accurate with as many. A "
        "small difference may be chance: see the intervals (Wilson 95 %) and the paired tests. A "
        "token of a larger network costs more, as the FLOPs show."
    )
    return Table("pareto", "Accuracy against written tokens", columns, rows, note)
