"""Rows of the user's own files: their fields, and every mistake in them as one clear line."""

import difflib
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, TypeVar

from distill_jax.errors import UserError
from distill_jax.records import Step
from distill_jax.text.exact_values import format_value

ANNOTATION_ROW = '{"id": "a", "answer": "7", "steps": [{"subquestion": null, "solution": "3+4=7"}]}'

_STEP_FIELDS = ("subquestion", "solution")
_LISTED = 8  # lines of further bad rows


_Row = TypeVar("_Row")
_Read = TypeVar("_Read")


def read_each(rows: Iterable[tuple[str, _Row]], read: Callable[[str, _Row], _Read]) -> list[_Read]:
    """`read(where, row)` of all (where, row), `where` as file:line.

    Raises UserError for the first row that is refused, with the lines of the others: a file is
    mended once, not once per row.
    """
    results: list[_Read] = []
    refused: list[tuple[str, UserError]] = []
    for where, row in rows:
        try:
            results.append(read(where, row))
        except UserError as error:
            refused.append((where, error))
    if not refused:
        return results
    lines = [where.rpartition(":")[2] for where, _ in refused[1:]]
    if len(lines) > _LISTED:
        lines[_LISTED:] = [f"{len(lines) - _LISTED} more"]
    first = str(refused[0][1])
    raise UserError(f"{first} (also refused: lines {', '.join(lines)})" if lines else first)


def refuse_misspelt(row: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise UserError for a field that nobody reads and that looks like one that is missing."""
    missing = [name for name in known if name not in row]
    for field in row:
        close = difflib.get_close_matches(field.lower(), missing, n=1, cutoff=0.85)
        if field not in known and close:
            raise UserError(
                f"{where}: field {field!r} is not read: write {close[0]!r}, or give it another name"
            )


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


def refuse_twice(ids: Iterable[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    for where, identifier in ids:
        if identifier in first:
            raise UserError(
                f"{where}: id {identifier!r} occurs twice, first in {first[identifier]}: "
                "ids must be unique"
            )
        first[identifier] = where
