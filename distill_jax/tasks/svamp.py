"""SVAMP (Patel et al. 2021): one- and two-step word problems, with their equations as gold steps.

A row of SVAMP.json:

    {"ID": "chal-1", "Body": "Each pack of dvds costs 76 dollars. If there is a discount of 25
     dollars on each pack", "Question": "How much do you have to pay to buy each pack?",
     "Equation": "( 76.0 - 25.0 )", "Answer": 51.0, "Type": "Subtraction"}

and what becomes of it:

    Annotation(
        id="svamp/chal-1",
        question="Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each "
        "pack, how much do you have to pay to buy each pack?",
        answer="51",
        steps=(Step(None, "76-25 = <<76-25=51>>51"),),
        source={"kind": "gold"},
    )

There are no subquestions: use --config.scheme=chain or answer_only with these annotations.

Two protocols are in use:

- ho: 700 training and 300 test problems of SVAMP.json, the split of Ho et al. (2022,
  https://arxiv.org/abs/2212.10071; file data/split/svamp__default.json of
  https://github.com/itsnamgyu/reasoning-teacher). It is the first 700 and the last 300 places of
  numpy.random.RandomState(0).permutation(1000).
- mawps_asdiv: trains on MAWPS and ASDiv-A (3,138 rows of mawps-asdiv-a_svamp/train.csv, 309 of
  which repeat another one's question, but for case) and tests on all 1,000 problems of SVAMP.json.
  The dev.csv beside it is SVAMP once more, and not read.

The ID decides about the split, so the same problems come from the Hub, whose own 700/300 split is
not looked at. Order and text of the Hub's rows were not compared with SVAMP.json.

Source: https://github.com/arkilpatel/SVAMP (MIT), on the Hub `ChilleD/SVAMP`.
"""

import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem, Step, refuse_duplicates
from distill_jax.tasks import equations, mawps_asdiv, upstream
from distill_jax.tasks.gold import gold_of
from distill_jax.tasks.grading import grade_number, read_number
from distill_jax.tasks.mawps_asdiv import Row
from distill_jax.text.exact_values import format_value

SPLITS = ("train", "test")
PROTOCOLS = ("ho", "mawps_asdiv")
URL = mawps_asdiv.URL
LICENCES = {
    "SVAMP": "MIT",
    "MAWPS (only with protocol mawps_asdiv)": "none of its own",
    "ASDiv-A (only with protocol mawps_asdiv)": "CC BY-NC 4.0: not for commercial use",
}

_FILES = f"SVAMP.json (and {mawps_asdiv.FILE} for protocol mawps_asdiv) from {URL}"
_ROWS, _TRAIN_ROWS = 1000, 700


def load(
    split: str,
    *,
    directory: str = "",
    hub_id: str = "ChilleD/SVAMP",
    protocol: str = "ho",
    renumbered: int = 0,
) -> list[Problem]:
    """The problems of a split, from the upstream files in `directory` or else from the Hub.

    Ids are `svamp/chal-17` whatever the split, and `mawps_asdiv/train/0` for the rows of
    train.csv; `renumbered` adds at most so many copies of each of these with other numbers
    (tasks/mawps_asdiv.py). attributes["steps"] is the number of operations of the equation; "type",
    which train.csv lacks, is the data's own (Addition, Subtraction, Multiplication,
    Common-Division).
    Raises UserError for an unknown split or protocol, and for a file or row that is missing or
    malformed.

    Body and Question are one sentence where the Body has no final stop and its last sentence
    begins with "If" (346 rows, see above); 12 more Bodies without stop get one.

    `gold` is the equation as steps, one per operation. Its answer is the equation's value, so that
    `annotations.verify` rejects those whose equation does not give the answer: chal-680 of
    SVAMP.json; in train.csv 7 that are wrong and 11 that were rounded (0.25 for 2.99/12), of 3,138.
    Values whose decimals never end are fractions, 5/6 for the 0.8333333333333334 of train.csv, in
    questions and answers too. The one equation without operation (chal-555) gives the step `8`.
    """
    rows = _rows(split, directory, hub_id, protocol, renumbered)
    return [dataclasses.replace(row.problem, gold=_gold(row)) for row in rows]


def load_annotations(split: str, **options: Any) -> list[Annotation]:
    """The gold annotations of `load` with the same arguments, one per problem."""
    return gold_of(load(split, **options))


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; see `grade_number` for the scores."""
    return grade_number(completion, answer, cleansed_as_text=False)


def read_answer(text: str) -> str | None:
    """The number that a completion ends with."""
    return read_number(text)


def _gold(row: Row) -> Annotation:
    problem, solved, copy_of = row
    answer = format_value(solved.value)
    steps = tuple(Step(None, step) for step in solved.steps or (answer,))
    source = {"kind": "gold"} | ({"copy_of": copy_of} if copy_of else {})
    return Annotation(problem.id, problem.question, answer, steps, source)


def _rows(split: str, directory: str, hub_id: str, protocol: str, renumbered: int) -> list[Row]:
    upstream.choose_split(split, SPLITS, "svamp")
    upstream.choose(protocol, PROTOCOLS, "config.task_options.protocol: svamp has no protocol")
    if renumbered < 0 or (renumbered and protocol != "mawps_asdiv"):
        raise UserError(
            f"config.task_options.renumbered={renumbered}: 0, or with protocol=mawps_asdiv how "
            "many copies of each training row"
        )
    if protocol == "mawps_asdiv" and split == "train":
        path = _csv(directory)
        rows = mawps_asdiv.rows(upstream.csv_rows(path, URL), URL, renumbered)
    else:
        rows, source = _svamp(split, directory, hub_id)
        refuse_duplicates([row.problem for row in rows], source)
        _refuse_missing(rows, source)
        if protocol == "ho":
            kept = _ho_ids(split)
            rows = [row for row in rows if row.problem.id in kept]
    return rows


def _svamp(split: str, directory: str, hub_id: str) -> tuple[list[Row], str]:
    """All 1,000 problems, and where they are from."""
    if directory:
        path = upstream.folder(directory, _FILES) / "SVAMP.json"
        return [_row(*row, split) for row in upstream.json_rows(path, URL)], str(path)
    return [_row(*row, split) for row in upstream.hub_rows(hub_id, _FILES)], hub_id


def _csv(directory: str) -> pathlib.Path:
    if not directory:
        raise UserError(
            "config.task_options.protocol='mawps_asdiv' trains on a file: set "
            f"--config.task_options.directory to a folder with {_FILES}"
        )
    return mawps_asdiv.training_file(upstream.folder(directory, _FILES))


def _refuse_missing(rows: list[Row], source: str) -> None:
    missing = {f"svamp/chal-{n}" for n in range(1, _ROWS + 1)} - {row.problem.id for row in rows}
    if missing:
        raise UserError(
            f"{source}: {len(missing)} of the {_ROWS} problems are not there, among them "
            f"{min(missing)}: take all of SVAMP.json from {URL}"
        )


def _ho_ids(split: str) -> set[str]:
    """Ids of Ho et al.'s split, whose file holds places in SVAMP.json counted from 0."""
    places = np.random.RandomState(0).permutation(_ROWS)
    chosen = places[:_TRAIN_ROWS] if split == "train" else places[_TRAIN_ROWS:]
    return {f"svamp/chal-{place + 1}" for place in chosen}


def _row(where: str, row: dict[str, Any], split: str) -> Row:
    """A row of SVAMP.json."""
    body, question, equation, kind, identifier = (
        upstream.text_field(row, field, where, URL)
        for field in ("Body", "Question", "Equation", "Type", "ID")
    )
    solved = _solve(where, equation)
    attributes = {
        "type": kind.replace("Divison", "Division"),  # one row is misspelt
        "steps": len(solved.steps),
    }
    answer = format_value(mawps_asdiv.number_field(row, "Answer", where, URL))
    question = _joined(body, question)
    return Row(Problem(f"svamp/{identifier}", question, answer, split, attributes), solved)


def _solve(where: str, equation: str) -> equations.Solved:
    try:
        return equations.solve_infix(equation)
    except ValueError as error:
        raise UserError(f"{where}: field 'Equation': {error}: download it from {URL}") from None


def _joined(body: str, question: str) -> str:
    """Body and Question as running text."""
    if body[-1] in ".!?":
        return f"{body} {question}"
    last_sentence = re.split(r"(?<=[.!?]) ", body)[-1]
    if last_sentence.startswith("If "):
        return f"{body}, {question[0].lower()}{question[1:]}"
    return f"{body}. {question}"
