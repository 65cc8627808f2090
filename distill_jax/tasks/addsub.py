"""AddSub (Hosseini et al. 2014): word problems of additions and subtractions.

A row of addsub.json is in the common format (tasks/task_files.py); its text is tokenised:

    {"question": "Joan has 3 cups . She finds 2 more . How many cups has she now ?", "answer": "5"}

There are no subquestions: use --config.scheme=chain or answer_only. With the equations of MAWPS and
ASDiv-A (tasks/joined_equations.py) 260 of the 276 training problems have steps.
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import joined_equations, task_files
from distill_jax.tasks.grading import grade_number, read_number

DATA = task_files.DataSet("addsub", train=276, test=119)
LICENCES = joined_equations.LICENCES | task_files.LICENCES


def load(split: str, *, directory: str = "", equations: str = "") -> list[Problem]:
    """The problems of the authors' split, from addsub.json in `directory`; `equations` is a folder
    with mawps-asdiv-a_svamp/train.csv, "" = `directory`. Raises NoSplit, and UserError for missing
    or malformed files."""
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
