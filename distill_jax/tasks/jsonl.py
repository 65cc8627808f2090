"""Your own problems: one JSON object per line in `<directory>/<split>.jsonl`.

    {"question": "What is 3 + 4?", "answer": 7}
    {"question": "Is ice cold?", "answer": true, "id": "ice", "attributes": {"topic": "physics"}}
    {"question": "Ann has 3 bags with 4 apples each. How many apples?", "answer": "12",
     "steps": [{"subquestion": "How many apples?", "solution": "3*4 = <<3*4=12>>12 apples."}]}

(each on one line). `answer` is one line of text, a number, or true/false, which become yes/no.
Without `id` the third line of train.jsonl is `jsonl/train/2`. `steps`, where known, make a row an
annotation too; `subquestion` may be null. They may also stand in `<split>.annotations.jsonl`:

    {"id": "jsonl/train/0", "answer": "7", "steps": [{"subquestion": null, "solution": "3+4=7"}]}

with `id` or `question` for the problem. Unknown fields are ignored, but not a misspelt `step`.
"""

import difflib
import math
import pathlib
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem, Step, read_json_lines
from distill_jax.tasks import cleansing
from distill_jax.tasks.grading import (
    MARKER,
    final_text,
    format_value,
    grade_number,
    grade_yes_no,
    parse_value,
)

ROW = '{"question": "What is 3 + 4?", "answer": 7}'
ANNOTATION_ROW = '{"id": "a", "answer": "7", "steps": [{"subquestion": null, "solution": "3+4=7"}]}'

_ANNOTATIONS = ".annotations.jsonl"
_FIELDS = ("question", "answer", "id", "steps", "attributes")
_ANNOTATION_FIELDS = ("question", "answer", "id", "steps", "source")
_STEP_FIELDS = ("subquestion", "solution")


def load(split: str, *, directory: str) -> list[Problem]:
    """The problems of `<directory>/<split>.jsonl`.

    Raises UserError naming file, line and field for whatever does not fit the description above,
    and for ids that occur twice.
    """
    return [problem for _, _, problem in _read(split, directory)]


def load_annotations(split: str, *, directory: str) -> list[Annotation]:
    """The annotations of a split, with the ids and questions of their problems.

    From `<split>.annotations.jsonl` where that file exists, else from the rows of `<split>.jsonl`
    that have steps (none where no row has). Raises UserError as `load` does, and where one of the
    file belongs to no problem, or two belong to the same.
    """
    problems = _read(split, directory)
    path = _folder(directory) / f"{split}{_ANNOTATIONS}"
    if path.exists():
        return _from_file(path, problems)
    annotations = [
        Annotation(p.id, p.question, p.answer, _steps(row, where), {"kind": "gold"})
        for where, row, p in problems
        if row.get("steps") is not None
    ]
    return annotations


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers, yes/no, or else text, by what kind of answer `answer` is.

    Text: strict wants it to the letter after the first `#### `, flexible anywhere in the last
    line; normalised ignores case and the amount of white space after the last `####`.
    """
    if parse_value(answer) is not None:
        return grade_number(completion, answer)
    gold = " ".join(answer.split()).casefold()
    if gold in ("yes", "no", "true", "false"):
        return grade_yes_no(completion, answer)
    first = re.search(rf"{MARKER} (.*)", completion)
    final = final_text(completion)
    scores = {
        "strict": first is not None and first[1] == answer,
        "flexible": bool(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", final)),
        "fine_tune_cot": cleansing.same_text(completion, answer),
        "normalised": final == gold,
    }
    return Grade(final or None, scores)


def _folder(directory: str) -> pathlib.Path:
    if not directory:
        raise UserError("set --config.task_options.directory to the folder of your JSONL files")
    folder = pathlib.Path(directory).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such directory: set --config.task_options.directory to the folder of "
            "your JSONL files"
        )
    return folder


def _read(split: str, directory: str) -> list[tuple[str, dict[str, Any], Problem]]:
    """(file:line, row, problem) for every row."""
    path = _folder(directory) / f"{split}.jsonl"
    if not path.is_file():
        names = sorted(p.name for p in path.parent.glob("*.jsonl"))
        splits = [name[: -len(".jsonl")] for name in names if not name.endswith(_ANNOTATIONS)]
        there = f" (splits there: {', '.join(splits)})" if splits else ""
        raise UserError(f"{path}: no such file{there}: its rows look like {ROW}")
    result = []
    for number, row in _json_lines(path, ROW):
        where = f"{path}:{number}"
        _refuse_misspelt(row, _FIELDS, where)
        result.append((where, row, _problem(row, where, f"jsonl/{split}/{number - 1}", split)))
    _refuse_twice((where, problem.id) for where, _, problem in result)
    return result


def _json_lines(path: pathlib.Path, example: str) -> list[tuple[int, dict[str, Any]]]:
    rows = read_json_lines(path)
    if not rows:
        raise UserError(f"{path}: empty: its rows look like {example}")
    return rows


def _problem(row: dict[str, Any], where: str, default_id: str, split: str) -> Problem:
    attributes = row.get("attributes")
    if attributes is not None and not isinstance(attributes, dict):
        raise UserError(f"{where}: field 'attributes': an object is expected, not {attributes!r}")
    identifier = _text(row, "id", where) if row.get("id") is not None else default_id
    question = _text(row, "question", where)
    return Problem(identifier, question, _answer(row, where), split, attributes or {})


def _refuse_misspelt(row: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise UserError for a field that nobody reads and that looks like one that is missing."""
    missing = [name for name in known if name not in row]
    for field in row:
        close = difflib.get_close_matches(field.lower(), missing, n=1, cutoff=0.85)
        if field not in known and close:
            raise UserError(
                f"{where}: field {field!r} is not read: write {close[0]!r}, or give it another name"
            )


def _from_file(
    path: pathlib.Path, problems: list[tuple[str, dict[str, Any], Problem]]
) -> list[Annotation]:
    by_id = {problem.id: (where, problem) for where, _, problem in problems}
    by_question: dict[str, list[Problem]] = {}
    for _, _, problem in problems:
        by_question.setdefault(problem.question, []).append(problem)
    result = []
    for number, row in _json_lines(path, ANNOTATION_ROW):
        where = f"{path}:{number}"
        _refuse_misspelt(row, _ANNOTATION_FIELDS, where)
        problem = _match(row, where, by_id, by_question)
        source = row.get("source", {"kind": "gold"})
        if not isinstance(source, dict) or not isinstance(source.get("kind"), str):
            raise UserError(f"{where}: field 'source': an object with 'kind' is expected")
        annotation = Annotation(
            problem.id, problem.question, _answer(row, where), _steps(row, where), source
        )
        result.append((where, annotation))
    _refuse_twice((where, annotation.id) for where, annotation in result)
    return [annotation for _, annotation in result]


def _match(
    row: dict[str, Any],
    where: str,
    by_id: dict[str, tuple[str, Problem]],
    by_question: dict[str, list[Problem]],
) -> Problem:
    question = _text(row, "question", where) if row.get("question") is not None else None
    if row.get("id") is not None:
        identifier = _text(row, "id", where)
        if identifier not in by_id:
            raise UserError(f"{where}: field 'id': no problem has the id {row['id']!r}")
        place, problem = by_id[identifier]
        if question not in (None, problem.question):
            raise UserError(
                f"{where}: field 'question': not the question of {problem.id!r} in {place}"
            )
        return problem
    if question is None:
        raise UserError(f"{where}: field 'id' or 'question' is missing: which problem is this?")
    found = by_question.get(question, [])
    if not found:
        raise UserError(f"{where}: field 'question': no problem has the question {question[:60]!r}")
    if len(found) > 1:
        raise UserError(f"{where}: field 'question': {len(found)} problems have it: give the id")
    return found[0]


def _answer(row: dict[str, Any], where: str) -> str:
    """One line of text; numbers without exponent."""
    value = row.get("answer")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return format_value(Fraction(str(value)))
    text = _text(row, "answer", where, "text, a number, true or false")
    if len(text.splitlines()) > 1:
        raise UserError(f"{where}: field 'answer': one line is expected: put the rest into steps")
    return text


def _steps(row: dict[str, Any], where: str) -> tuple[Step, ...]:
    steps = row.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(s, dict) for s in steps):
        raise UserError(
            f"{where}: field 'steps': a list of objects is expected, as in {ANNOTATION_ROW}"
        )
    return tuple(_step(step, f"{where}: field 'steps' item {i}") for i, step in enumerate(steps))


def _step(step: dict[str, Any], where: str) -> Step:
    _refuse_misspelt(step, _STEP_FIELDS, where)
    if "subquestion" not in step:
        raise UserError(f"{where}: field 'subquestion' is missing: write null where there is none")
    subquestion = step["subquestion"]
    if subquestion is not None:
        subquestion = _text(step, "subquestion", where, "text or null")
    return Step(subquestion, _text(step, "solution", where))


def _text(row: dict[str, Any], field: str, where: str, expected: str = "text") -> str:
    if field not in row:
        raise UserError(f"{where}: field {field!r} is missing ({expected} is expected)")
    value = row[field]
    if not isinstance(value, str):
        raise UserError(f"{where}: field {field!r}: {expected} is expected, not {value!r:.60}")
    if not value.strip():
        raise UserError(f"{where}: field {field!r} is empty")
    return value.strip()


def _refuse_twice(ids: Iterable[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    for where, identifier in ids:
        if identifier in first:
            raise UserError(
                f"{where}: id {identifier!r} occurs twice, first in {first[identifier]}: "
                "ids must be unique"
            )
        first[identifier] = where
