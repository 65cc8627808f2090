"""Equations as solutions write them: calculator marks `<<48/2=24>>`, and `48 / 2 = 24` in the text.

They are found and never evaluated here.
"""

import re
from typing import NamedTuple

_MARK = re.compile(r"<<([^<>=\n]*)=([^<>=\n]*)>>")
_MARK_OF_ANY_KIND = re.compile(r"<<[^<>\n]*>>")

_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_ITEM = rf"\({{0,4}}-?{_NUMBER}\){{0,4}}"
# `a op b ... = c` where nothing is glued to either end, and c is not the start of an expression, of
# `1 1/2`, of `1 and 1/2`, of `3 400` or of a time.
_EQUATION = re.compile(
    rf"(?<![\w.:])({_ITEM}(?: ?[-+*/] ?{_ITEM}){{1,20}}) ?= ?"
    rf"(-?{_NUMBER}(?:/[0-9]+)?)(?![.:]?[0-9]|[A-Za-z]| ?[-+*/%^(0-9]| and \(?[0-9])"
)
# What stands before an expression that is not all of it: `20% of 50 + 5`, `a + 3 + 4`, `1 1/2 * 2`,
# `30 apples x 3 / 2`.
_NOT_ALL = re.compile(r"(?:[-+*/%^()0-9]|\b(?:x|of|times|plus|minus|by|than))\Z")
_AMBIGUOUS = re.compile(r"/[ 0-9.]+/")  # 50 / 1/2
_PLAIN = str.maketrans(
    {"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u00a0": " ", "$": None}
)
_TIMES = re.compile(r"(?<=[0-9)]) ?x ?(?=[0-9(.])")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")


class Equation(NamedTuple):
    """What is computed and what it is said to be; `written` is all of it as it stands there."""

    written: str
    expression: str
    value: str


def marks(text: str) -> list[Equation]:
    """The calculator marks of a text, in order.

    >>> marks("Half of them: 48/2 = <<48/2=24>>24")
    [Equation(written='<<48/2=24>>', expression='48/2', value='24')]
    """
    return [Equation(mark[0], mark[1], mark[2]) for mark in _MARK.finditer(text)]


def plain_equations(text: str) -> list[Equation]:
    """The equations of numbers that stand by themselves outside of marks, in order.

    Signs are made plain first: no `$`, no commas of thousands, `*` and `/` for others.

    >>> [found.expression for found in plain_equations("$1,000 x 3 = $3,000, and 20% of 50 = 10")]
    ['1000*3']
    """
    plain = _MARK_OF_ANY_KIND.sub("", text).translate(_PLAIN)
    plain = _THOUSANDS.sub("", _TIMES.sub("*", plain))
    return [
        Equation(found[0], found[1], found[2])
        for found in _EQUATION.finditer(plain)
        if not _NOT_ALL.search(plain[max(0, found.start() - 20) : found.start()].rstrip(" "))
        and not _AMBIGUOUS.search(found[1])
    ]
