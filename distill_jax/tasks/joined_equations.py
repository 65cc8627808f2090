"""Steps for AddSub, MultiArith and SingleEq: equations of MAWPS and ASDiv-A, joined by question.

The authors of SVAMP collected these tasks in one training file, with an equation for each row
(tasks/mawps_asdiv.py); the files of Ho et al. have no equations. Questions are the same if their
letters and numbers are, whatever stands between them (`beach .`, `beach.`). As in the training
file, decimals that a computer wrote become fractions: 1/6 for 0.16666666666666666.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, Step
from distill_jax.tasks import equations, mawps_asdiv, task_files, upstream
from distill_jax.tasks.gold import with_gold
from distill_jax.tasks.task_files import DataSet, Row
from distill_jax.text.exact_values import format_value
from distill_jax.text.questions import normalised, without_numbers

LICENCES = {
    "MAWPS (AddSub, MultiArith, SingleEq)": "none of its own",
    "MAWPS and ASDiv-A, for the equations": "none of MAWPS; ASDiv-A: CC BY-NC 4.0",
}

_KEY = "config.task_options.equations"
_FILES = f"{mawps_asdiv.FILE} from {mawps_asdiv.URL}"
_PART = re.compile(r"[^\W\d_]+|[0-9]+/[0-9]+|[0-9]+(?:\.[0-9]+)?")
_LONG_DECIMAL = re.compile(r"[0-9]+\.[0-9]{11,}")


def problems(data: DataSet, split: str, rows: Sequence[Row], equations_in: str) -> list[Problem]:
    """The problems of a split, with steps where an equation is known.

    `equations_in` is a folder with the training file; without it there are no steps. Answers are
    numbers, `43` for `43.0`. Test problems have attributes["overlap"] (tasks/task_files.py):
    whether a training question is the same up to its numbers. Raises NoSplit and UserError.
    """
    found = [_problem(data, row) for row in task_files.on_side(rows, split, data.name)]
    if split == "test":
        training = task_files.on_side(rows, "train", data.name)
        found = task_files.with_overlaps(
            found,
            training,
            lambda question: without_numbers(normalised(question)),
            "question with other numbers",
        )
    found = with_gold(found, lambda: annotations(found, equations_in))
    return [
        dataclasses.replace(p, attributes=p.attributes | {"steps": len(p.gold.steps)})
        if p.gold
        else p
        for p in found
    ]


def annotations(asked: Sequence[Problem], equations_in: str) -> list[Annotation]:
    """The joined equations as steps; of the problems for which one with the right value is known.

    Raises UserError if the folder or its file cannot be read.
    """
    known: dict[str, list[equations.Solved]] = {}
    for row in _training_file(equations_in):
        known.setdefault(_key(row.problem.question), []).append(row.solved)
    return [
        annotation
        for problem in asked
        for annotation in _annotation(problem, known.get(_key(problem.question), []))
    ]


def _annotation(problem: Problem, solutions: Sequence[equations.Solved]) -> Iterator[Annotation]:
    for solved in solutions:
        if solved.steps and format_value(solved.value) == problem.answer:
            steps = tuple(Step(None, step) for step in solved.steps)
            source = {"kind": "gold"}
            yield Annotation(problem.id, problem.question, problem.answer, steps, source)
            return


def _training_file(directory: str) -> list[mawps_asdiv.Row]:
    if not directory:
        raise UserError(
            f"{_KEY} is not set: the steps are equations of MAWPS and ASDiv-A: set it to a folder "
            f"with {_FILES}"
        )
    path = mawps_asdiv.training_file(upstream.folder(directory, _FILES, _KEY))
    return mawps_asdiv.rows(upstream.csv_rows(path, mawps_asdiv.URL), mawps_asdiv.URL, 0)


def _problem(data: DataSet, row: Row) -> Problem:
    try:
        value = equations.read_number(row.answer.replace(",", ""))
    except ValueError as error:
        raise UserError(
            f"{row.where}: field 'answer': {error}: download it from {task_files.URL}"
        ) from None
    name = f"{data.name}/{row.place}"
    question = _LONG_DECIMAL.sub(lambda long: _number(long[0]), row.question)
    return Problem(name, question, format_value(value), row.split)


def _key(question: str) -> str:
    parts = _PART.findall(normalised(question).replace(",", ""))
    return "".join(_number(part) if "." in part else part for part in parts)


def _number(text: str) -> str:
    return format_value(equations.read_number(text))
