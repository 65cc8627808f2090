"""Tables of the comparison, written as CSV and Markdown, and shown by the HTML page."""

import csv
import dataclasses
import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Column:
    """How the values of a column are shown. None is an empty cell."""

    name: str
    show: Callable[[Any], str]
    # One column of the CSV file per suffix: those of an interval have three values.
    suffixes: tuple[str, ...] = ("",)
    words: bool = False  # text that may break, not a number


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of values; one value, or a tuple of as many as the column has suffixes."""

    name: str  # of its CSV file
    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    note: str = ""


def text(name: str) -> Column:
    """Words."""
    return Column(name, str, words=True)


def count(name: str) -> Column:
    """A whole number."""
    return Column(name, lambda n: f"{n:,}".replace(",", "\u202f"))


def mean_count(name: str) -> Column:
    """A mean of whole numbers, with one digit after the point if it is none itself."""
    return Column(name, lambda x: f"{x:,.{0 if x == int(x) else 1}f}".replace(",", "\u202f"))


def decimal(name: str, digits: int = 2) -> Column:
    """A number with so many digits after the point."""
    return Column(name, lambda x: f"{x:.{digits}f}")


def magnitude(name: str) -> Column:
    """A large number by its first three digits: 1.23e+09."""
    return Column(name, lambda x: f"{x:.3g}")


def share(name: str) -> Column:
    """A share as per cent: 0.2345 is shown as 23.4 %."""
    return Column(name, _percent)


def share_with_interval(name: str) -> Column:
    """(share, low, high)."""
    return Column(name, lambda v: f"{_percent(v[0])} ({_percent(v[1])} to {_percent(v[2])})", _ENDS)


def decimal_with_interval(name: str) -> Column:
    """(value, low, high) with two digits after the point."""
    return Column(name, lambda v: f"{v[0]:.2f} ({v[1]:.2f} to {v[2]:.2f})", _ENDS)


def points(name: str) -> Column:
    """A difference of shares in percentage points, with its sign."""
    return Column(name, lambda x: f"{100 * x:+.1f}")


def points_with_interval(name: str) -> Column:
    """(difference, low, high)."""
    show = points(name).show
    return Column(name, lambda v: f"{show(v[0])} ({show(v[1])} to {show(v[2])})", _ENDS)


def p_value(name: str) -> Column:
    """A p-value."""
    return Column(name, lambda p: f"{p:.3f}" if p >= 0.001 else f"{p:.1g}")


def shown(table: Table) -> list[list[str]]:
    """The cells as text."""
    return [
        ["" if value is None else column.show(value) for column, value in _cells(table, row)]
        for row in table.rows
    ]


def to_csv(table: Table) -> str:
    """The values in full precision; an interval takes three columns. A text that a spreadsheet
    would take for a formula gets an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(f"{c.name}{suffix}" for c in table.columns for suffix in c.suffixes)
    for row in table.rows:
        values: list[Any] = []
        for column, value in _cells(table, row):
            several = len(column.suffixes) > 1
            values += (value or [None] * len(column.suffixes)) if several else [value]
        writer.writerow(f"'{v}" if isinstance(v, str) and v[:1] in _FORMULA else v for v in values)
    return file.getvalue()


def to_markdown(table: Table) -> str:
    """Title, note and a pipe table; what Markdown or HTML would read as markup is escaped."""
    rows = [[plain(cell) for cell in row] for row in shown(table)]
    head = [plain(column.name) for column in table.columns]
    rule = ["---" if column.words else "---:" for column in table.columns]
    lines = [f"## {plain(table.title)}", ""]
    lines += [f"{plain(table.note)}", ""] if table.note else []
    lines += [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join([*lines, ""])


_ENDS = ("", " low", " high")
_FORMULA = tuple("=+-@\t\r")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u202f%"


def _cells(table: Table, row: Sequence[Any]) -> zip:
    return zip(table.columns, row, strict=True)


def plain(value: str) -> str:
    """Text that Markdown and HTML leave alone, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", value)
    return html.escape(re.sub(r"[^\S\u202f]+", " ", escaped).strip(), quote=False)
