"""MAWPS and ASDiv-A as the authors of SVAMP prepared them for training: a CSV file of templates.

    Question: Bryan has number0 books in each of his number1 shelves , how many books ?
    Numbers:  56.0 9.0
    Equation: * number0 number1
    Answer:   504.0

Since numbers stand apart from the words, a row can be told again with other numbers: where they
give the same kind of values on the way (whole or not, above zero or not), it is a problem as good
as the first. Only numbers of this file are drawn, each as often as it occurs there. Ids are
`mawps_asdiv/train/0` for a row and `mawps_asdiv/train/0/1` and so on for its copies.
"""

import pathlib
import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from distill_jax.errors import UserError
from distill_jax.records import Problem
from distill_jax.tasks import equations, upstream
from distill_jax.text.exact_values import format_value

URL = "https://github.com/arkilpatel/SVAMP"
FILE = "mawps-asdiv-a_svamp/train.csv"

_Pools = dict[tuple[bool, bool], list[Fraction]]  # numbers by their kind

_ATTEMPTS = 50  # per copy; a row whose values are hard to meet gets fewer copies


class Row(NamedTuple):
    """A problem, what its equation says, and the id of the one it is a copy of."""

    problem: Problem
    solved: equations.Solved
    copy_of: str | None = None


class _Template(NamedTuple):
    """A row of the file; `where` names it in messages."""

    where: str
    words: str
    equation: str
    numbers: list[Fraction]


def training_file(folder: pathlib.Path) -> pathlib.Path:
    """The path of the file in a folder, or in a clone of the repository."""
    in_repository = folder / "data" / FILE  # in a clone SVAMP.json is beside data/
    return in_repository if in_repository.exists() else folder / FILE


def rows(file_rows: Sequence[upstream.Row], url: str, renumbered: int) -> list[Row]:
    """All rows, each followed by at most `renumbered` copies with other numbers.

    The answer of a row is the file's own, even where its equation gives another one; that of a copy
    is its equation's. Raises UserError for a row that is malformed.
    """
    templates = [_template(where, fields, url) for where, fields in file_rows]
    pools: _Pools = {}
    for number in (number for template in templates for number in template.numbers):
        pools.setdefault(_kind(number), []).append(number)
    result: list[Row] = []
    for index, ((where, fields), template) in enumerate(zip(file_rows, templates, strict=True)):
        name = f"mawps_asdiv/train/{index}"
        question = _question(template, template.numbers, url)
        solved = _solve(template, template.numbers, url)
        answer = number_field(fields, "Answer", where, url)
        result.append(_row(name, question, solved, answer))
        for copy, numbers in enumerate(_copies(template, name, pools, renumbered, url), start=1):
            question = _question(template, numbers, url)
            solved = _solve(template, numbers, url)
            row = _row(f"{name}/{copy}", question, solved, solved.value)
            result.append(row._replace(copy_of=name))
    return result


def number_field(fields: dict[str, object], field: str, where: str, url: str) -> Fraction:
    """The value of a field that holds a number. Raises UserError."""
    try:
        return equations.read_number(str(fields.get(field)))
    except ValueError as error:
        raise UserError(f"{where}: field {field!r}: {error}: download it from {url}") from None


def _template(where: str, fields: dict[str, object], url: str) -> _Template:
    words, equation = (
        upstream.text_field(fields, field, where, url) for field in ("Question", "Equation")
    )
    try:
        listed = str(fields.get("Numbers") or "").split()
        numbers = [equations.read_number(text) for text in listed]
    except ValueError as error:
        raise UserError(f"{where}: field 'Numbers': {error}: download it from {url}") from None
    return _Template(where, words, equation, numbers)


def _row(name: str, question: str, solved: equations.Solved, answer: Fraction) -> Row:
    attributes = {"steps": len(solved.steps)}
    return Row(Problem(name, question, format_value(answer), "train", attributes), solved)


def _question(template: _Template, numbers: Sequence[Fraction], url: str) -> str:
    def number(match: re.Match[str]) -> str:
        if int(match[1]) >= len(numbers):
            raise UserError(
                f"{template.where}: field 'Question': {match[0]} is not in 'Numbers': download it "
                f"from {url}"
            )
        return format_value(numbers[int(match[1])])

    return _detokenised(re.sub(r"number([0-9]{1,4})", number, template.words))


def _solve(template: _Template, numbers: Sequence[Fraction], url: str) -> equations.Solved:
    try:
        return equations.solve_prefix(template.equation, numbers)
    except ValueError as error:
        raise UserError(
            f"{template.where}: field 'Equation': {error}: download it from {url}"
        ) from None


def _copies(
    template: _Template, name: str, pools: _Pools, count: int, url: str
) -> Iterator[list[Fraction]]:
    """Numbers of at most `count` copies, from the row's name: the same ones in every run."""
    rng = random.Random(name)
    kinds = _kinds(_solve(template, template.numbers, url))
    met = {tuple(template.numbers)}
    for _ in range(count * _ATTEMPTS if template.numbers else 0):
        numbers = [rng.choice(pools[_kind(number)]) for number in template.numbers]
        if tuple(numbers) in met:
            continue
        try:
            solved = equations.solve_prefix(template.equation, numbers)
        except ValueError:  # a division by zero
            continue
        if _kinds(solved) == kinds:
            met.add(tuple(numbers))
            yield numbers
        if len(met) > count:
            return


def _kinds(solved: equations.Solved) -> list[tuple[bool, bool]]:
    """What kind of value every step gives."""
    return [_kind(value) for value in solved.values]


def _kind(value: Fraction) -> tuple[bool, bool]:
    return value.denominator == 1, value > 0


def _detokenised(text: str) -> str:
    """Tokenised text without the spaces that SVAMP.json does not have either."""
    text = re.sub(r" +([.,?!;:)%]|'s\b|n't\b|'ve\b)", r"\1", text)
    text = re.sub(r" +\u2019 +(?=[st]\b)", "\u2019", text)
    return re.sub(r"\( +", "(", text)
