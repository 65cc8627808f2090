"""Last Letter Concatenation (Wei et al. 2022): the last letters of four names as one word.

A row of last_letter_concatenation.json is in the common format (tasks/common_format.py), and
becomes steps by program (tasks/stories/letters.py):

    {"question": "Take the last letters of each words in \\"Ann Jo Bo Mary Lee\\" and concatenate
     them.", "answer": "nooe"}

15 of the 500 rows have a name of two words, of which the data takes one letter. The question does
not say so: attributes["names"] is "of two words" there. Their steps need coin_flip.json beside the
file, whose rows have the same names; then all 500 are solved, and 485 without it.

Without a directory the rows are those of the Hub, with its own split of 350 and 150; whether it is
the authors' was not compared. Ids are places, so those of the two sources differ. Fresh problems of
any length: task made_letters.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import coin_flip, common_format
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_text, read_text
from distill_jax.tasks.stories import coins, letters, story

DATA = common_format.DataSet("last_letter_concatenation", train=350, test=150)
LICENCES = {"Last Letter Concatenation": "made by a program of others"} | common_format.LICENCES


def load(
    split: str, *, directory: str = "", hub_id: str = "ChilleD/LastLetterConcat"
) -> list[Problem]:
    """The problems of a split, from last_letter_concatenation.json in `directory` or else from the
    Hub, with gold steps.

    Raises NoSplit, and UserError for a file or row that is missing or malformed.
    """
    names = _names(directory)
    rows = common_format.on_side(DATA.rows(directory, hub_id), split, DATA.name)
    return [_problem(row, names[row.place] if names else ()) for row in rows]


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare text; see `grade_text` for the scores."""
    return grade_text(completion, answer)


def read_answer(text: str) -> str | None:
    """The text that a completion ends with."""
    return read_text(text)


def _names(directory: str) -> list[tuple[str, ...]]:
    """The names of each row, from coin_flip.json; [] if it is not there."""
    if not directory or not (pathlib.Path(directory).expanduser() / "coin_flip.json").exists():
        return []
    rows = coin_flip.DATA.rows(directory)
    stories = (common_format.read_story(coins.read, row) for row in rows)
    return [tuple(name for name, _ in told.turns) for told in stories]


def _problem(row: common_format.Row, names: Sequence[str]) -> Problem:
    name = f"{DATA.name}/{row.place}"
    told = common_format.read_story(lambda question: letters.read(question, names), row)
    gold = story.gold(told, name, row.question)
    words = (
        "of one word" if len(" ".join(told.names).split()) == len(row.answer) else "of two words"
    )
    attributes = {"steps": len(gold.steps), "names": words}
    return Problem(name, row.question, row.answer, row.split, attributes, gold)
