"""Dates without their question: the choice that shares the most parts with the others."""

from collections.abc import Sequence


def right_by_parts(choices: Sequence[str], right: str) -> float:
    """1 if the choice that shares the most months, days and years with the others is right, 0 if
    not, and in part if it is one of several."""
    parts = [choice.split("/") for choice in choices]
    shared = [
        sum(a == b for other in parts for a, b in zip(own, other, strict=True)) for own in parts
    ]
    most = [choice for choice, n in zip(choices, shared, strict=True) if n == max(shared)]
    return (right in most) / len(most)
