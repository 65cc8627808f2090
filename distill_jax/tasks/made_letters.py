"""Made last letters: fresh problems like those of last_letter_concatenation, of any length.

With --config.evaluation.task=made_letters, students of last_letter_concatenation are asked new
problems: by default 2,000 of four common names of one word (tasks/stories/letters.py).
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_text, read_text
from distill_jax.tasks.stories import fresh, letters

KIND = fresh.Kind("made_letters", letters.draw, longest=50)
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

    `lengths`: the shortest and the longest story, in names; each length is drawn equally often.
    `noise`: irrelevant sentences per story. `new_names`: made-up names, which are longer.
    Raises NoSplit, and UserError for options that make no sense and for more problems than there
    are stories.
    """
    wanted = KIND.wanted(lengths, noise, new_names)
    return KIND.problems(split, wanted, seed, train_problems, test_problems)


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments, one per problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare text; see `grade_text` for the scores."""
    return grade_text(completion, answer)


def read_answer(text: str) -> str | None:
    """The text that a completion ends with."""
    return read_text(text)
