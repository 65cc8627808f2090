"""MultiArith (Roy and Roth 2015): word problems of two operations.

A row of multiarith.json is in the common format (tasks/task_files.py):

    {"question": "Jo had 16 dollars and got 8 more. She spent 5. How many has she?", "answer": "19"}

There are no subquestions: use --config.scheme=chain or answer_only. With the equations of MAWPS and
ASDiv-A (tasks/joined_equations.py) all 420 training problems have steps. 5 of the 180 test
questions are training questions too, and 77 are so up to their numbers: attributes["overlap"].

Without a directory the rows are those of the Hub, with its own split of 420 and 180; whether that
is the authors' was not compared. Ids are places, so those of the two sources differ.
"""

from typing import Any

from distill_jax.records import Annotation, Grade, Problem
from distill_jax.tasks import joined_equations, task_files
from distill_jax.tasks.grading import grade_number, read_number


def _from_hub(row: dict[str, Any]) -> dict[str, Any]:
    return {"question": row.get("question"), "answer": row.get("final_ans")}


DATA = task_files.DataSet("multiarith", train=420, test=180, from_hub=_from_hub)
LICENCES = joined_equations.LICENCES | task_files.LICENCES


def load(
    split: str, *, directory: str = "", equations: str = "", hub_id: str = "ChilleD/MultiArith"
) -> list[Problem]:
    """The problems of a split, from multiarith.json in `directory` or else from the Hub;
    `equations` is a folder with mawps-asdiv-a_svamp/train.csv, "" = `directory`. Raises NoSplit,
    and UserError for missing or malformed files."""
    rows = DATA.rows(directory, hub_id)
    return joined_equations.problems(DATA, split, rows, equations or directory)


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The joined equations as steps. Raises UserError if they cannot be read."""
    return joined_equations.annotations(
        load(split, **options), options.get("equations") or options.get("directory", "")
    )


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; Ho et al. compare them as text here. See `grade_number` for the scores."""
    return grade_number(completion, answer)


def read_answer(text: str) -> str | None:
    """The number that a completion ends with."""
    return read_number(text)
