"""AddSub, MultiArith and SingleEq together, for one student of all three.

Ids and texts are those of the three tasks; attributes["task"] says which one a problem is from, so
that reports show the accuracy on each. AddSub and SingleEq share questions: 27 test questions of
SingleEq are training questions of AddSub, and 22 the other way round. A run drops them from
training, because no question of the whole test split may be trained on.
"""

import dataclasses
from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import addsub, joined_equations, multiarith, single_eq
from distill_jax.tasks.grading import grade_number, read_number

TASKS = (addsub, multiarith, single_eq)
LICENCES = addsub.LICENCES


def load(split: str, *, directory: str = "", equations: str = "") -> list[Problem]:
    """The problems of the three authors' splits, from addsub.json, multiarith.json and
    single_eq.json in `directory`; `equations` as in the three tasks. Raises NoSplit and
    UserError."""
    return [
        dataclasses.replace(p, attributes=p.attributes | {"task": task.DATA.name})
        for task in TASKS
        for p in joined_equations.problems(
            task.DATA, split, task.DATA.rows(directory), equations or directory
        )
    ]


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The joined equations as steps. Raises UserError if they cannot be read."""
    return joined_equations.annotations(
        load(split, **options), options.get("equations") or options.get("directory", "")
    )


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; see `grade_number` for the scores."""
    return grade_number(completion, answer, cleansed_as_text=False)


def read_answer(text: str) -> str | None:
    """The number that a completion ends with."""
    return read_number(text)
