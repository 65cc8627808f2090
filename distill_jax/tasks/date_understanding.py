"""Date Understanding (BIG-bench 2022): what is the date 10 days ago, if yesterday was April 30?

A row of date_understanding.json is in the common format (tasks/task_files.py) with choices
(tasks/multiple_choice.py); the answer becomes `(F) 05/01/2021`. All 369 rows are 41 premises, each
with nine questions, and become steps by a table of the premises (tasks/stories/dates.py).

The label of 341 rows is the date of the steps. The other 28, DISPUTED, have another one (a week
after 01/31/2012 is 02/06/2012 there). They stay in the test split, where attributes["label"] says
so, and are left out of training.

In the authors' split (protocol ho) all 111 test problems have their premise in training:
attributes["overlap"]. With protocol grouped each premise is on one side, together with those that
begin like it but for numbers (three pairs, such as "Jane and John married on Jan 2, 1958."): 28 in
training, 13 in the test (224 and 117 problems; all disputed ones are on the side of training).
Fresh problems of any length: task made_dates.
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import task_files
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.multiple_choice import grade_choice, read_choice, read_choices
from distill_jax.tasks.stories import dates, story
from distill_jax.text.questions import normalised, without_numbers

DATA = task_files.DataSet("date_understanding", train=258, test=111)
LICENCES = {"BIG-bench, Date Understanding": "Apache 2.0"} | task_files.LICENCES
# Places of the rows about 36 hours before 2015, Thanksgiving of 2001, a week after 01/31/2012, and
# the fifth anniversary.
DISPUTED = frozenset((*range(99, 108), *range(297, 306), 322, *range(333, 342)))


def load(split: str, *, directory: str = "", protocol: str = "ho") -> list[Problem]:
    """The problems of a split, from date_understanding.json in `directory`, with gold steps.

    Raises NoSplit, and UserError for an unknown protocol and for a file or row that is missing or
    malformed.
    """
    task_files.check_protocol(protocol, DATA.name)
    rows = DATA.rows(directory)
    if protocol == "grouped":
        rows = task_files.regrouped(rows, lambda row: _family(row.question))
    training = task_files.on_side(rows, "train", DATA.name)
    if split == "train":
        return [_problem(row) for row in training if row.place not in DISPUTED]
    found = [_problem(row) for row in task_files.on_side(rows, split, DATA.name)]
    return task_files.with_overlaps(found, training, _premise, "premise")


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments. Those of DISPUTED problems have
    another answer than the problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare choices; see `grade_choice` for the scores."""
    return grade_choice(completion, answer, letters="ABCDEF")


def read_answer(text: str) -> str | None:
    """The choice that a completion ends with."""
    return read_choice(text)


def _premise(question: str) -> str:
    return question.rpartition(" What is the date ")[0]


def _family(question: str) -> str:
    """The first sentence of the premise, without numbers."""
    return without_numbers(normalised(_premise(question).partition(". ")[0]))


def _problem(row: task_files.Row) -> Problem:
    name = f"{DATA.name}/{row.place}"
    gold = story.gold(task_files.read_story(dates.read, row), name, row.question)
    answer = read_choices(row.question, row.where).known_answer(row.answer, row.where)
    label = "disputed" if row.place in DISPUTED else "as computed"
    attributes = {"steps": len(gold.steps), "label": label}
    return Problem(name, row.question, answer, row.split, attributes, gold)
