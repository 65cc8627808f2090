"""Made dates: fresh problems like those of date_understanding, and longer ones.

With --config.evaluation.task=made_dates, students of date_understanding are asked new problems: by
default 2,000 that ask for one day, as the data does. In longer ones several events follow one
another (tasks/stories/dates.py). Unlike in the data, the choices alone do not tell the right one.
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.multiple_choice import grade_choice, read_choice
from distill_jax.tasks.stories import dates, fresh

KIND = fresh.Kind("made_dates", dates.draw, longest=dates.LONGEST)
LICENCES = fresh.LICENCES


def load(
    split: str,
    *,
    lengths: tuple[int, ...] = (1, 1),
    noise: int = 0,
    new_names: bool = False,
    seed: int = 0,
    train_problems: int = 20_000,
    test_problems: int = 2_000,
) -> list[Problem]:
    """Problems of a split (train, dev, test) with their gold steps.

    `lengths`: the shortest and the longest story, in events; each length is drawn equally often.
    `noise`: irrelevant sentences per story. `new_names`: other events.
    Raises NoSplit, and UserError for options that make no sense and for more problems than there
    are stories.
    """
    wanted = KIND.wanted(lengths, noise, new_names)
    return KIND.problems(split, wanted, seed, train_problems, test_problems)


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments, one per problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare choices; see `grade_choice` for the scores."""
    return grade_choice(completion, answer, letters="ABCDEF")


def read_answer(text: str) -> str | None:
    """The choice that a completion ends with."""
    return read_choice(text)
