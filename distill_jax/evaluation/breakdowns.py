"""Accuracy with interval by groups of problems."""

import collections
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Prediction

MAX_TYPES = 12  # an attribute with more different values is not a type of problems


class Group(NamedTuple):
    """The predictions of one group."""

    name: str
    n: int
    correct: int
    accuracy: float
    interval: tuple[float, float]  # Wilson 95 %


def by_attribute(predictions: Sequence[Prediction], attribute: str) -> list[Group]:
    """Groups by the value of an attribute, such as "steps" or "type", in the order of the values;
    problems without it are left out, and so are values that are neither numbers nor text, because
    a user's own problems may have any value."""
    known = [p for p in predictions if is_value(p.attributes.get(attribute))]
    return _groups(known, lambda p: p.attributes[attribute])


def is_value(value: Any) -> bool:
    """Whether problems can be grouped by it."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def by_length(predictions: Sequence[Prediction]) -> list[Group]:
    """Groups by quartile of the tokens of the transcript, shortest first.

    Transcripts of equal length share a group: groups may be unequal, and there may be fewer.
    """
    lengths = sorted(written_tokens(p) for p in predictions)
    tops = [lengths[-(-len(lengths) * k // 4) - 1] for k in (1, 2, 3, 4)] if lengths else []
    quartiles: list[list[Prediction]] = [[] for _ in tops]
    for prediction in predictions:
        quartiles[sum(written_tokens(prediction) > top for top in tops)].append(prediction)
    groups = []
    for members in filter(None, quartiles):
        sizes = [written_tokens(p) for p in members]
        low, high = min(sizes), max(sizes)
        groups.append(group(f"{low}" if low == high else f"{low} to {high}", members))
    return groups


def types(predictions: Sequence[Prediction]) -> list[str]:
    """The attributes that name types of problems: text, of 2 to MAX_TYPES different values."""
    values: dict[str, set[str]] = collections.defaultdict(set)
    for prediction in predictions:
        for name, value in prediction.attributes.items():
            if isinstance(value, str):
                values[name].add(value)
    return [name for name, found in values.items() if 2 <= len(found) <= MAX_TYPES]


def written_tokens(prediction: Prediction) -> int:
    """Tokens of the transcript; if several were drawn, of the one that represents the vote."""
    return sum(turn.tokens for turn in prediction.turns)


def order(value: Any) -> tuple[bool, Any]:
    """To sort by: numbers in their order, then text in its own."""
    return isinstance(value, str), value


def group(name: str, predictions: Sequence[Prediction]) -> Group:
    """All of `predictions`, of which there is at least one, as one group."""
    n, correct = len(predictions), sum(p.correct for p in predictions)
    return Group(name, n, correct, correct / n, wilson_interval(correct, n))


def _groups(predictions: Sequence[Prediction], key: Callable[[Prediction], Any]) -> list[Group]:
    members: dict[Hashable, list[Prediction]] = collections.defaultdict(list)
    for prediction in predictions:
        members[key(prediction)].append(prediction)
    return [group(str(value), members[value]) for value in sorted(members, key=order)]
