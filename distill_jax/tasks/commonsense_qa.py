"""CommonsenseQA (Talmor et al. 2019): questions about everyday knowledge, with five choices.

A row of commonsense_qa.json is in the common format (tasks/task_files.py) with choices
(tasks/multiple_choice.py); the answer becomes `(D) television`. The test split is the authors'
validation split, because the labels of their test split are not public. A row of the Hub, which
becomes the same question:

    {"question": "What needs cable?", "choices": {"label": ["A", "B", "C", "D", "E"],
     "text": ["radio", "substation", "cabinet", "television", "desk"]}, "answerKey": "D"}

The data has no steps: use --config.scheme=answer_only, or a teacher (docs/annotating.md). In 146
questions two choices have the same text.
"""

from typing import Any

from distill_jax.records import Grade, Problem
from distill_jax.tasks import task_files
from distill_jax.tasks.multiple_choice import (
    Choices,
    grade_choice,
    read_choice,
    read_choices,
    written,
)


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    """A row without choices becomes one without a question, which is then refused by name."""
    listed = row.get("choices")
    if not isinstance(listed, dict) or not isinstance(row.get("question"), str):
        return {}
    texts = dict(zip(listed.get("label", ()), listed.get("text", ()), strict=False))
    return {"question": written(Choices(row["question"], texts)), "answer": row.get("answerKey")}


DATA = task_files.DataSet(
    "commonsense_qa", train=9741, test=1221, in_order=True, from_hub=_from_hub
)
LICENCES = {"CommonsenseQA": "MIT"} | task_files.LICENCES


def load(split: str, *, directory: str = "", hub_id: str = "tau/commonsense_qa") -> list[Problem]:
    """The problems of a split, from commonsense_qa.json in `directory` or else from the Hub.

    Raises NoSplit, and UserError for a file or row that is missing or malformed.
    """
    rows = task_files.on_side(DATA.rows(directory, hub_id), split, DATA.name)
    return [_problem(row) for row in rows]


def grade(completion: str, answer: str) -> Grade:
    """Compare choices; see `grade_choice` for the scores."""
    return grade_choice(completion, answer, letters="ABCDE")


def read_answer(text: str) -> str | None:
    """The choice that a completion ends with."""
    return read_choice(text)


def _problem(row: task_files.Row) -> Problem:
    answer = read_choices(row.question, row.where).known_answer(row.answer, row.where)
    return Problem(f"{DATA.name}/{row.place}", row.question, answer, row.split)
