"""Made coin flips: fresh problems like those of coin_flip, of any length, with steps.

With --config.evaluation.task=made_coins, students of coin_flip are asked new problems: by default
2,000 of four people, whose names are common (tasks/stories/coins.py).
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_yes_no, read_yes_no
from distill_jax.tasks.stories import coins, fresh

KIND = fresh.Kind("made_coins", coins.draw, longest=50)
LICENCES = fresh.LICENCES


def load(
    split: str,
    *,
    lengths: tuple[int, ...] = (4, 4),
    noise: int = 0,
    new_names: bool = False,
    seed: int = 0,
    train_problems: int = 20_000,
    test_problems: int = 2_000,
) -> list[Problem]:
    """Problems of a split (train, dev, test) with their gold steps.

    `lengths`: the shortest and the longest story, in people; each length is drawn equally often.
    `noise`: irrelevant sentences per story. `new_names`: made-up names.
    Raises NoSplit, and UserError for options that make no sense and for more problems than there
    are stories.
    """
    wanted = KIND.wanted(lengths, noise, new_names)
    return KIND.problems(split, wanted, seed, train_problems, test_problems)


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments, one per problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare yes and no; see `grade_yes_no` for the scores."""
    return grade_yes_no(completion, answer)


def read_answer(text: str) -> str | None:
    """The yes or no that a completion ends with."""
    return read_yes_no(text)
