"""Coin Flip (Wei et al. 2022): is a coin still heads up after four people?

A row of coin_flip.json is in the common format (tasks/common_format.py), and becomes steps by
program (tasks/stories/coins.py), exactly, for all 500 rows:

    {"question": "A coin is heads up. Ann flips the coin. Jo does not flip the coin. Is the coin
     still heads up? Note that \\"flip\\" here means \\"reverse\\".", "answer": "no"}

Fresh problems of any length: task made_coins.
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import common_format
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_yes_no, read_yes_no
from distill_jax.tasks.stories import coins, story

DATA = common_format.DataSet("coin_flip", train=350, test=150)
LICENCES = {"Coin Flip": "made by a program of others"} | common_format.LICENCES


def load(split: str, *, directory: str = "") -> list[Problem]:
    """The problems of the authors' split, from coin_flip.json in `directory`, with gold steps.

    Raises NoSplit, and UserError for a file or row that is missing or malformed.
    """
    rows = common_format.on_side(DATA.rows(directory), split, DATA.name)
    return [_problem(row) for row in rows]


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare yes and no; see `grade_yes_no` for the scores."""
    return grade_yes_no(completion, answer)


def read_answer(text: str) -> str | None:
    """The yes or no that a completion ends with."""
    return read_yes_no(text)


def _problem(row: common_format.Row) -> Problem:
    name = f"{DATA.name}/{row.place}"
    told = common_format.read_story(coins.read, row)
    gold = story.gold(told, name, row.question)
    attributes = {"steps": len(gold.steps)}
    return Problem(name, row.question, row.answer, row.split, attributes, gold)
