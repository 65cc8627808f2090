"""Equations that exact arithmetic refutes, in calculator marks and in sentences.

Equations that cannot be evaluated are not called false, and neither are a rounded value, a
remainder (`7 / 2 = 3 R 1`) or a change of units (`45 + 15 = 1 hour`).
"""

import operator
import re
from fractions import Fraction

from distill_jax.text import calculator
from distill_jax.text.exact_values import parse_value
from distill_jax.text.written_equations import Equation, chains, marks

_DECIMALS = re.compile(r"\.([0-9]+)")
# After a value that may differ from the expression before it.
_NOT_EXACT = re.compile(
    r"[ ,]*\(?(?:r\b|rem\b|mod\b|a\.?m\b|p\.?m\b|o'clock)|"
    r"[^.;=]{0,40}\b(?:remainder|left over|leftover|round|rounded|rounding|approx)",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r" ?(?:[%¢]|(?:full |whole )?(?:percent|cents?|dollars?|pounds?|euros?|hundred|thousand|"
    r"million|billion|dozens?|s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?|days?|weeks?|months?|years?|"
    r"mm|cm|m|km|(?:milli|centi|kilo)?met(?:er|re)s?|inch(?:es)?|ft|feet|foot|yards?|miles?|"
    r"mg|g|kg|(?:milli|kilo)?grams?|tons?|oz|ounces?|lbs?|ml|l|(?:milli)?lit(?:er|re)s?|cups?|pints?|"
    r"quarts?|gallons?)\b)",
    re.IGNORECASE,
)
# `12 + 30 = 42` alone: a word or nothing before it, a word or the end after it, so that neither
# `4 x 5 + 3 = 8` nor `5 + 3 = 8 x 2` is one.
_WHOLE = "[1-9][0-9]{0,8}"
_PLAIN_EQUATION = re.compile(
    r"(?:(?<=[A-Za-z]{2} )|(?<=[A-Za-z]{2}[,.:;] )|(?<= [aAI] )|\A)"
    rf"\$?({_WHOLE}) ?([-+*/]) ?\$?({_WHOLE}) ?= ?\$?({_WHOLE})"
    r"(?=[.,;]?(?:\Z| (?:[A-Za-z]{2}|[aAI] )))"
)
_PLAIN_MARK = re.compile(rf"<<({_WHOLE})([-+*/])({_WHOLE})=({_WHOLE})>>")
_SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_CONVERSIONS = frozenset(
    [
        *(2, 3, 4, 7, 8, 10, 12, 14, 16, 24, 30, 36, 52, 60, 100, 144, 365, 1440, 1760, 3600, 5280),
        *(10**3, 10**4, 10**6, 10**9),
    ]
)


def false_marks(text: str) -> list[str]:
    """The calculator marks of a text that exact arithmetic refutes, as they are written.

    A value may be rounded to the decimals it is written with; one without decimals must be exact.
    A mark that cannot be evaluated (`<<2x=4>>`) is not called false.

    >>> false_marks("<<48/2=25>>25 and <<10/3=3.33>>3.33 and <<2*3=6>>6")
    ['<<48/2=25>>']
    """
    if "<<" not in text:
        return []
    return [mark.written for mark in marks(text) if is_false(mark.expression, mark.value)]


def false_equations(text: str) -> list[str]:
    """Calculator marks and written equations that exact arithmetic refutes, as they are written.

    Only written equations of numbers alone are checked. In a chain each side must equal the next
    one, or the number that the next one continues from: `5 + 3 = 8 * 2 = 16` is accepted,
    `2*2*3 = 8*4 = 24` is false twice.

    >>> false_equations("50 * 20 / 100 = 10, 50 - 10 = 30. <<2+2=5>>5")
    ['<<2+2=5>>', '50 - 10 = 30']
    """
    if "=" not in text or _are_plainly_true(text):
        return []
    return false_marks(text) + [
        equation.written for equation, after in chains(text) if _is_refuted(equation, after)
    ]


def _are_plainly_true(text: str) -> bool:
    """Whether every `=` of a text is that of a true equation of two whole numbers that stands alone
    among words, or that of such a mark: then nothing is false, and it need not be taken apart.
    False: not known."""
    if "<<" in text:
        found = _PLAIN_MARK.findall(text)
        if len(found) != text.count("<<") or not all(map(_is_true, found)):
            return False
        text = _PLAIN_MARK.sub("", text)
    found = _PLAIN_EQUATION.findall(text)
    return len(found) == text.count("=") and all(map(_is_true, found))


def _is_true(equation: tuple[str, str, str, str]) -> bool:
    left, right, value = int(equation[0]), int(equation[2]), int(equation[3])
    if equation[1] == "/":
        return left == right * value
    return _SIGNS[equation[1]](left, right) == value


def is_false(expression: str, written: str) -> bool:
    """Whether an expression differs from the number that is written after its `=`."""
    exact = calculator.evaluate(expression.strip())
    value = parse_value(written)
    return exact is not None and value is not None and not _rounds_to(exact, written, value)


def _is_refuted(equation: Equation, after: str) -> bool:
    exact = calculator.evaluate(equation.expression)
    value = calculator.evaluate(equation.value)
    first = re.match(r"[(]*(-?[0-9.]+)", equation.value)
    if exact is None or value is None or first is None or _NOT_EXACT.match(after):
        return False
    number = Fraction(first[1].rstrip("."))
    if exact == value or _rounds_to(exact, first[1], number):
        return False
    if not _UNIT.match(after) or not exact or not value:
        return True
    ratio = max(abs(exact / value), abs(value / exact))
    return ratio not in _CONVERSIONS


def _rounds_to(exact: Fraction, written: str, value: Fraction) -> bool:
    decimals = _DECIMALS.search(written)
    places = len(decimals[1]) if decimals else 0
    # Without decimals it must be exact: 7/2=4 is a mistake, however it is rounded.
    tolerance = Fraction(1, 2 * 10**places) if places else 0
    return abs(exact - value) <= tolerance
