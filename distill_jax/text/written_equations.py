"""Equations as solutions write them: calculator marks `<<48/2=24>>`, and `48 / 2 = 24` in the text.

They are found and never evaluated here.
"""

import itertools
import re
from typing import NamedTuple

_MARK = re.compile(r"<<([^<>=\n]*)=([^<>=\n]*)>>")
_MARK_OF_ANY_KIND = re.compile(r"<<[^<>\n]*>>")

_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_ITEM = rf"\({{0,4}}-?{_NUMBER}\){{0,4}}"
# Nothing follows that makes another number of the last one: `7½`, `7²`, `7k`, `7 and 1/2`.
_FRACTIONS = "\u00bc-\u00be\u2150-\u215e"
_RAISED = "\u00b2\u00b3\u00b9\u2070\u2074-\u2079"
_ENDS = rf"(?![.:]?[0-9]|[A-Za-z{_RAISED}]| ?[-+*/%^(0-9{_FRACTIONS}]| and \(?[0-9])"
# `a op b ... = c` with nothing attached to either end; and c is not the start of an expression, of
# `1 1/2`, of `1 and 1/2`, of `3 400` or of a time.
_EQUATION = re.compile(
    rf"(?<![\w.:])({_ITEM}(?: ?[-+*/] ?{_ITEM}){{1,20}}) ?= ?"
    rf"(-?{_NUMBER}(?:/[0-9]+)?){_ENDS}"
)
# The same with expressions on both sides: `8 * 4 = 24 + 8`, `5 + 3 = 8 * 2 = 16`.
_SIDE = rf"{_ITEM}(?: ?[-+*/] ?{_ITEM}){{0,20}}"
_CHAIN = re.compile(
    rf"(?<![\w.:]){_ITEM}(?: ?[-+*/] ?{_ITEM}){{1,20}}(?: ?= ?{_SIDE}){{1,20}}"
    rf"{_ENDS}"
)
# Text before a match that is only a part of an expression: `20% of 50 + 5`, `a + 3 + 4`, `1 1/2 *
# 2`, `30 apples x 3 / 2`.
_NOT_ALL = re.compile(r"(?:[-+*/%^()0-9]|\b(?:x|of|times|plus|minus|by|than))\Z")
_OPERATOR_IN_WORDS = re.compile(
    r"(?:[√|!]|\b(?:twice|double|triple|half|thirds?|quarters?|root|sqrt|log|ln|mod|squared|cubed))\Z",
    re.IGNORECASE,
)
# `16,0000/10`, `12 x 1 and 1/4`; `0900-0130` is a time and `1-2 = 96 - 70` is about weeks 1 to 2.
_GLUED_BEFORE = re.compile(r"(?:[0-9],|[0-9] and |\. )\Z")
_NOT_A_NUMBER = re.compile(r"(?<![0-9.])0[0-9]|\A[0-9]+-[0-9]+ = .*[-+*/]")
_AMBIGUOUS = re.compile(r"/[ 0-9.]+/")  # 50 / 1/2
_PLAIN = str.maketrans(
    {"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "\u00a0": " ", "$": None}
)
_TIMES = re.compile(r"(?<=[0-9)]) ?x ?(?=[0-9(.])")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")


class Equation(NamedTuple):
    """An expression and its stated value; `written` is the whole equation as in the text."""

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
    """The equations of numbers outside marks, in order.

    Signs are normalised first: no `$`, no commas of thousands, `*` and `/` for others.

    >>> [found.expression for found in plain_equations("$1,000 x 3 = $3,000, and 20% of 50 = 10")]
    ['1000*3']
    """
    plain = plain_expression(_MARK_OF_ANY_KIND.sub("", text))
    return [
        Equation(found[0], found[1], found[2])
        for found in _EQUATION.finditer(plain)
        if not _NOT_ALL.search(plain[max(0, found.start() - 20) : found.start()].rstrip(" "))
        and not _AMBIGUOUS.search(found[1])
    ]


def plain_expression(text: str) -> str:
    """No `$`, no commas of thousands, `*` and `/` for other signs.

    >>> plain_expression("$1,000 x 3")
    '1000*3'
    """
    return _THOUSANDS.sub("", _TIMES.sub("*", text.translate(_PLAIN)))


def chains(text: str) -> list[tuple[Equation, str]]:
    """The links of all chains of equations outside of marks, each with the text after it.

    `value` may be an expression, which the next link begins with.

    >>> [(link.written, link.value) for link, _ in chains("so 2*2*3 = 8*4 = 24 apples")]
    [('2*2*3 = 8*4', '8*4'), ('8*4 = 24', '24')]
    """
    plain = plain_expression(_MARK_OF_ANY_KIND.sub("", text))
    links = []
    for found in _CHAIN.finditer(plain):
        before = plain[max(0, found.start() - 20) : found.start()].rstrip(" ")
        if _NOT_ALL.search(before) or _OPERATOR_IN_WORDS.search(before):
            continue
        if _GLUED_BEFORE.search(
            plain[max(0, found.start() - 6) : found.start()]
        ) or _NOT_A_NUMBER.search(found[0]):
            continue
        sides = [side.strip() for side in found[0].split("=")]
        for left, right in itertools.pairwise(sides):
            after = plain[found.end() : found.end() + 60] if right is sides[-1] else ""
            if not _AMBIGUOUS.search(left):
                links.append((Equation(f"{left} = {right}", left, right), after))
    return links
