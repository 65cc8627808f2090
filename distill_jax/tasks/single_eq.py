"""SingleEq (Koncel-Kedziorski et al. 2015): word problems of one equation, with all operations.

A row of single_eq.json is in the common format (tasks/task_files.py):

    {"question": "Joan has 3 cups. She finds 2 more. How many has she now ?", "answer": "5.0"}

There are no subquestions: use --config.scheme=chain or answer_only. With the equations of MAWPS and
ASDiv-A (tasks/joined_equations.py) 241 of the 356 training problems have steps. 27 test questions
are training questions of AddSub, and 22 test questions of AddSub are training questions here.
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import joined_equations, task_files
from distill_jax.tasks.grading import grade_number, read_number

DATA = task_files.DataSet("single_eq", train=356, test=152)
LICENCES = joined_equations.LICENCES | task_files.LICENCES


def load(split: str, *, directory: str = "", equations: str = "") -> list[Problem]:
    """The problems of the authors' split, from single_eq.json in `directory`; `equations` is a
    folder with mawps-asdiv-a_svamp/train.csv, "" = `directory`. Raises NoSplit, and UserError for
    missing or malformed files."""
    return joined_equations.problems(DATA, split, DATA.rows(directory), equations or directory)


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
