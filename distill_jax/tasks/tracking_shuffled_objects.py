"""Tracking Shuffled Objects (BIG-bench 2022), three objects: who has what after three swaps?

A row of tracking_shuffled_objects.json is in the common format (tasks/task_files.py) with
choices (tasks/multiple_choice.py); the answer becomes `(C) blue ball`. All 750 rows become steps by
program, exactly (tasks/stories/objects.py).

There are 250 stories; each is asked about three people. In the authors' split (protocol ho) 198 of
225 test problems have their story in training: attributes["overlap"]. With protocol grouped each
story is on one side, 525 and 225 problems. Fresh problems of any length: task made_objects.
"""

import functools
from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import task_files
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.multiple_choice import grade_choice, read_choice, read_choices
from distill_jax.tasks.stories import objects, story

DATA = task_files.DataSet("tracking_shuffled_objects", train=525, test=225)
LICENCES = {"BIG-bench, Tracking Shuffled Objects": "Apache 2.0"} | task_files.LICENCES


def load(split: str, *, directory: str = "", protocol: str = "ho") -> list[Problem]:
    """The problems of a split, from tracking_shuffled_objects.json in `directory`, with gold steps.

    Raises NoSplit, and UserError for an unknown protocol and for a file or row that is missing or
    malformed.
    """
    task_files.check_protocol(protocol, DATA.name)
    rows = DATA.rows(directory)
    if protocol == "grouped":
        rows = task_files.regrouped(rows, lambda row: _story_of(row.question))
    found = [_problem(row) for row in task_files.on_side(rows, split, DATA.name)]
    if split == "train":
        return found
    training = task_files.on_side(rows, "train", DATA.name)
    return task_files.with_overlaps(found, training, _story_of, "story")


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare choices; see `grade_choice` for the scores."""
    return grade_choice(completion, answer, letters="ABC")


def read_answer(text: str) -> str | None:
    """The choice that a completion ends with."""
    return read_choice(text)


@functools.cache
def _story_of(question: str) -> str:
    return objects.read(question).key()


def _problem(row: task_files.Row) -> Problem:
    name = f"{DATA.name}/{row.place}"
    told = task_files.read_story(objects.read, row)
    gold = story.gold(told, name, row.question)
    answer = read_choices(row.question, row.where).known_answer(row.answer, row.where)
    attributes = {"steps": len(gold.steps)}
    return Problem(name, row.question, answer, row.split, attributes, gold)
