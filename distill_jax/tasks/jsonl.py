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

If answers are LaTeX (fractions, intervals, sets, expressions), set task_options.answers=math, which
needs the extra [math].
"""

import difflib
import functools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

from distill_jax.errors import NoSplit, UserError
from distill_jax.records import Annotation, Grade, Problem, Step, count_lines, json_lines
from distill_jax.tasks.gold import gold_of, with_gold
from distill_jax.tasks.grading import (
    MARKER,
    grade_number,
    grade_text,
    grade_yes_no,
    read_number,
    read_text,
    read_yes_no,
)
from distill_jax.tasks.math_answers import check_installed, grade_math, math_line
from distill_jax.text import yes_no
from distill_jax.text.answer_extractors import final_line, gold_quantity
from distill_jax.text.exact_values import format_value
from distill_jax.tracking import progress
from distill_jax.workdir import local_path

ANNOTATION_ROW = '{"id": "a", "answer": "7", "steps": [{"subquestion": null, "solution": "3+4=7"}]}'

_STEP_FIELDS = ("subquestion", "solution")
_LISTED = 8  # lines of further bad rows
_GOLD = {"kind": "gold"}  # one for all: there may be millions


_Made = TypeVar("_Made")

ROW = '{"question": "What is 3 + 4?", "answer": 7}'

ANSWERS = ("plain", "math")

_ANNOTATIONS = ".annotations.jsonl"
_FIELDS = ("question", "answer", "id", "steps", "attributes")
_ANNOTATION_FIELDS = ("question", "answer", "id", "steps", "source")

# Layouts that hold questions and answers too, by their keys: annotations/import_formats.py, which
# stands above this module, reads them.
IMPORTED = {
    ("messages",): "chat messages",
    ("conversations",): "ShareGPT",
    ("instruction", "output"): "alpaca",
    ("instruction", "generation"): "distilabel",
    ("prompt", "completion"): "prompt and completion",
    ("problem", "generations"): "open-r1",
    ("problem", "generation"): "NeMo-Skills",
    ("input", "chain", "answer"): "Mentor-KD",
}


def load(split: str, *, directory: str, answers: str = "plain") -> list[Problem]:
    """The problems of `<directory>/<split>.jsonl`; `answers` says how `grade` compares them.

    Their gold annotations are those of `load_annotations`, if these can be read. Raises UserError
    for another kind of answers, if what it needs is missing, and, naming file, line and field, for
    whatever does not fit the description above and for ids that occur twice.
    """
    _check_answers(answers)
    path = _folder(directory) / f"{split}{_ANNOTATIONS}"
    if path.exists():
        read = _read(split, directory, _no_gold)
        return with_gold(read.problems, lambda: _from_file(path, read))
    damaged = False

    def gold(where: str, row: dict[str, Any], known: _Known) -> Annotation | None:
        nonlocal damaged
        try:
            return _gold(where, row, known)
        except UserError:
            damaged = True
            return None

    problems = _read(split, directory, gold).problems
    # Of damaged steps none are given, so that nobody trains on the others without a word.
    return [replace(problem, gold=None) for problem in problems] if damaged else problems


def load_annotations(split: str, *, directory: str, answers: str = "plain") -> list[Annotation]:
    """The annotations of a split, with the ids and questions of their problems.

    From `<split>.annotations.jsonl` where that file exists, else from the rows of `<split>.jsonl`
    that have steps (none where no row has). Raises UserError as `load` does, and where one of the
    file belongs to no problem, or two belong to the same.
    """
    _check_answers(answers)
    path = _folder(directory) / f"{split}{_ANNOTATIONS}"
    if path.exists():
        return _from_file(path, _read(split, directory, _no_gold))
    return gold_of(_read(split, directory, _gold).problems)


class _Known(NamedTuple):
    """What a problem and its gold annotation have in common."""

    id: str
    question: str
    answer: str


_GoldReader = Callable[[str, dict[str, Any], _Known], Annotation | None]  # (file:line, row, ...)


def _gold(where: str, row: dict[str, Any], known: _Known) -> Annotation | None:
    if row.get("steps") is None:
        return None
    return Annotation(*known, steps_field(row, where), _GOLD)


def _no_gold(where: str, row: dict[str, Any], known: _Known) -> Annotation | None:
    return None


def grade(completion: str, answer: str, *, answers: str = "plain") -> Grade:
    """Compare numbers, yes/no, or else text, by what kind of answer `answer` is.

    With `answers` "math" all of them may be LaTeX (tasks/math_answers.py).
    """
    if answers == "math":
        return grade_math(completion, answer)
    if gold_quantity(answer) is not None:
        return grade_number(completion, answer)
    if yes_no.meaning(answer) in ("yes", "no"):
        return grade_yes_no(completion, answer)
    return grade_text(completion, answer)


def read_answer(text: str, *, answers: str = "plain") -> str | None:
    """The final answer of a completion: a number, else yes or no, else text as it was written.

    With `answers` "math" it is LaTeX, as it was written. What begins with a word after the `####`
    is text: `Highway 61` is not 61.
    """
    if answers == "math":
        return math_line(text) or None
    line = final_line(text)
    worded = MARKER in text and line[:1].isalpha() and gold_quantity(line) is None
    number = None if worded else read_number(text)
    return number or read_yes_no(text) or read_text(text)


def _check_answers(answers: str) -> None:
    if answers not in ANSWERS:
        raise UserError(f"config.task_options.answers={answers!r}: choose {', '.join(ANSWERS)}")
    if answers == "math":
        check_installed()


def _folder(directory: str) -> pathlib.Path:
    if not directory:
        raise UserError("set --config.task_options.directory to the folder of your JSONL files")
    folder = local_path(directory, "config.task_options.directory")
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such directory: set --config.task_options.directory to the folder of "
            "your JSONL files"
        )
    return folder


class _Problems(NamedTuple):
    """The problems of a file, and the lines they stand in."""

    path: pathlib.Path
    lines: list[int]
    problems: list[Problem]

    def places(self) -> Iterator[tuple[str, Problem]]:
        """(file:line, problem) of all."""
        for line, problem in zip(self.lines, self.problems, strict=True):
            yield f"{self.path}:{line}", problem


def _read(split: str, directory: str, gold: _GoldReader) -> _Problems:
    path = _folder(directory) / f"{split}.jsonl"
    if not path.is_file():
        names = sorted(p.name for p in path.parent.glob("*.jsonl"))
        splits = [name[: -len(".jsonl")] for name in names if not name.endswith(_ANNOTATIONS)]
        there = f" (splits there: {', '.join(splits)})" if splits else ""
        raise NoSplit(f"{path}: no such file{there}: its rows look like {ROW}")
    lines: list[int] = []

    def problem(where: str, line: int, row: dict[str, Any]) -> Problem:
        _name_importer(row, where)
        refuse_misspelt(row, _FIELDS, where)
        attributes = row.get("attributes")
        if attributes is not None and not isinstance(attributes, dict):
            raise UserError(
                f"{where}: field 'attributes': an object is expected, not {attributes!r}"
            )
        identifier = f"jsonl/{split}/{line - 1}"
        if row.get("id") is not None:
            identifier = text_field(row, "id", where)
        known = _Known(identifier, text_field(row, "question", where), answer_field(row, where))
        made = Problem(*known, split, attributes or {}, gold(where, row, known))
        lines.append(line)
        return made

    result = _Problems(path, lines, _read_each(path, ROW, problem))
    refuse_twice(result.problems, result.places())
    return result


def _name_importer(row: dict[str, Any], where: str) -> None:
    """Raise UserError for a row of a layout that is imported, saying how."""
    if "question" in row or "steps" in row:
        return
    for keys, layout in IMPORTED.items():
        if all(key in row for key in keys):
            raise UserError(
                f"{where}: a row of the layout {layout} ({', '.join(keys)}): give the file another "
                f"name and import it with --config.data.annotations=FILE; here belong its "
                f"problems, as {ROW}"
            )


def _from_file(path: pathlib.Path, problems: _Problems) -> list[Annotation]:
    by_id = {problem.id: (where, problem) for where, problem in problems.places()}
    by_question: dict[str, list[Problem]] = {}
    for problem in problems.problems:
        by_question.setdefault(problem.question, []).append(problem)
    lines: list[int] = []

    def annotation(where: str, line: int, row: dict[str, Any]) -> Annotation:
        _name_importer(row, where)
        refuse_misspelt(row, _ANNOTATION_FIELDS, where)
        problem = _match(row, where, by_id, by_question)
        source = row.get("source", _GOLD)
        if not isinstance(source, dict) or not isinstance(source.get("kind"), str):
            raise UserError(f"{where}: field 'source': an object with 'kind' is expected")
        answer, steps = answer_field(row, where), steps_field(row, where)
        lines.append(line)
        return Annotation(problem.id, problem.question, answer, steps, source)

    found = _read_each(path, ANNOTATION_ROW, annotation)
    places = ((f"{path}:{line}", each) for line, each in zip(lines, found, strict=True))
    refuse_twice(found, places)
    return found


def _match(
    row: dict[str, Any],
    where: str,
    by_id: dict[str, tuple[str, Problem]],
    by_question: dict[str, list[Problem]],
) -> Problem:
    question = text_field(row, "question", where) if row.get("question") is not None else None
    if row.get("id") is not None:
        identifier = text_field(row, "id", where)
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


def _read_each(
    path: pathlib.Path, example: str, read: Callable[[str, int, dict[str, Any]], _Made]
) -> list[_Made]:
    """`read(file:line, line, row)` of all rows of a file, of which there must be one.

    Raises UserError for the first row that is refused, with the lines of the others: a file is
    mended once, not once per row.
    """
    results: list[_Made] = []
    refused: list[tuple[int, UserError]] = []
    rows = progress.each(json_lines(path), f"reading {path.name}", count_lines(path))
    for line, row in rows:
        try:
            results.append(read(f"{path}:{line}", line, row))
        except UserError as error:
            refused.append((line, error))
    if not refused:
        if not results:
            raise UserError(f"{path}: empty: its rows look like {example}")
        return results
    lines = [str(line) for line, _ in refused[1:]]
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"{len(lines) - _LISTED} more"]
    first = str(refused[0][1])
    raise UserError(f"{first} (also refused: lines {', '.join(lines)})" if lines else first)


def refuse_misspelt(row: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise UserError for a field that nobody reads and that looks like one that is missing."""
    if (found := _misspelt(tuple(row), known)) is not None:
        field, meant = found
        raise UserError(
            f"{where}: field {field!r} is not read: write {meant!r}, or give it another name"
        )


@functools.lru_cache(maxsize=1024)  # the rows of a file have the same few sets of fields
def _misspelt(fields: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, str] | None:
    missing = [name for name in known if name not in fields]
    for field in fields:
        close = difflib.get_close_matches(field.lower(), missing, n=1, cutoff=0.85)
        if field not in known and close:
            return field, close[0]
    return None


def answer_field(row: dict[str, Any], where: str) -> str:
    """One line of text; numbers without exponent."""
    value = row.get("answer")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return format_value(Fraction(str(value)))
    text = text_field(row, "answer", where, "text, a number, true or false")
    if len(text.splitlines()) > 1:
        raise UserError(f"{where}: field 'answer': one line is expected: put the rest into steps")
    return text


def steps_field(row: dict[str, Any], where: str) -> tuple[Step, ...]:
    steps = row.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(s, dict) for s in steps):
        raise UserError(
            f"{where}: field 'steps': a list of objects is expected, as in {ANNOTATION_ROW}"
        )
    return tuple(_step(step, f"{where}: field 'steps' item {i}") for i, step in enumerate(steps))


def _step(step: dict[str, Any], where: str) -> Step:
    refuse_misspelt(step, _STEP_FIELDS, where)
    if "subquestion" not in step:
        raise UserError(f"{where}: field 'subquestion' is missing: write null where there is none")
    subquestion = step["subquestion"]
    if subquestion is not None:
        subquestion = text_field(step, "subquestion", where, "text or null")
    return Step(subquestion, text_field(step, "solution", where))


def text_field(row: dict[str, Any], field: str, where: str, expected: str = "text") -> str:
    if field not in row:
        raise UserError(f"{where}: field {field!r} is missing ({expected} is expected)")
    value = row[field]
    if not isinstance(value, str):
        raise UserError(f"{where}: field {field!r}: {expected} is expected, not {value!r:.60}")
    if not value.strip():
        raise UserError(f"{where}: field {field!r} is empty")
    return value.strip()


def refuse_twice(
    records: Sequence[Problem | Annotation], places: Iterable[tuple[str, Problem | Annotation]]
) -> None:
    """Raise UserError for an id that occurs twice; `places` are the same, with their file:line."""
    if len({record.id for record in records}) == len(records):
        return
    first: dict[str, str] = {}
    for where, record in places:
        if record.id in first:
            raise UserError(
                f"{where}: id {record.id!r} occurs twice, first in {first[record.id]}: "
                "ids must be unique"
            )
        first[record.id] = where
