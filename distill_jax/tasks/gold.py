"""Adds the data's gold annotations to problems."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem


def with_gold(
    problems: Sequence[Problem], read: Callable[[], Iterable[Annotation]]
) -> list[Problem]:
    """The problems, each with that of the annotations of `read` that has its id.

    If `read` raises a UserError, they have no gold, because missing or damaged gold is a mistake
    only if it is needed. Code that needs it calls the task's load_annotations(), which raises the
    error.
    """
    try:
        gold = {annotation.id: annotation for annotation in read()}
    except UserError:
        return list(problems)
    return [dataclasses.replace(problem, gold=gold.get(problem.id)) for problem in problems]


def gold_of(problems: Iterable[Problem]) -> list[Annotation]:
    """The gold annotations of those problems that have one."""
    return [problem.gold for problem in problems if problem.gold is not None]
