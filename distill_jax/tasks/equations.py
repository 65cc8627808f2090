"""Equations of word problems as steps: one operation at a time, in exact arithmetic.

A step is written as in GSM8K, `76-25 = <<76-25=51>>51`. Values whose decimals never end are
written as fractions: `200/28 = <<200/28=50/7>>50/7`.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from distill_jax.text.exact_values import format_value

OPERATIONS = ("+", "-", "*", "/")

_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.([0-9]{1,30}))?")
_FLOAT_DECIMALS = 10  # a computer wrote longer ones: 0.16666666666666666
_LARGEST_DENOMINATOR = 1000


class Solved(NamedTuple):
    """The value of an equation, the steps that lead to it in the order of evaluation, and the value
    of each step."""

    value: Fraction
    steps: tuple[str, ...]
    values: tuple[Fraction, ...]


def solve_infix(equation: str) -> Solved:
    """Solve `( ( 4.0 - 2.0 ) + 3.0 )`: parentheses around every operation, spaces around tokens.

    Raises ValueError if it is something else, and for a division by zero.
    """
    stack: list[Solved | str] = []
    for token in equation.split():
        if token != ")":
            stack.append(
                token if token in (*OPERATIONS, "(") else Solved(read_number(token), (), ())
            )
            continue
        match stack[-4:]:
            case ["(", Solved() as left, str(operation), Solved() as right]:
                stack[-4:] = [_apply(left, operation, right)]
            case _:
                raise ValueError(f"{equation!r} is not `( a + b )`")
    match stack:
        case [Solved() as solved]:
            return solved
        case _:
            raise ValueError(f"{equation!r} is not `( a + b )`")


def solve_prefix(equation: str, numbers: Sequence[Fraction]) -> Solved:
    """Solve `- number0 * number1 2.0` with the values of number0 and so on.

    Raises ValueError if it is something else, and for a division by zero.
    """
    stack: list[Solved] = []
    for token in reversed(equation.split()):
        if token not in OPERATIONS:
            stack.append(Solved(_operand(token, numbers), (), ()))
        elif len(stack) < 2:
            raise ValueError(f"{equation!r} is not `+ a b`")
        else:
            left, right = stack.pop(), stack.pop()
            stack.append(_apply(left, token, right))
    if len(stack) != 1:
        raise ValueError(f"{equation!r} is not `+ a b`")
    return stack[0]


def read_number(text: str) -> Fraction:
    """The value of `56`, `56.0` or `-2.5`; a float's digits become the fraction they stand for.

    Raises ValueError for anything else.

    >>> read_number("56.0"), read_number("0.16666666666666666"), read_number("0.3333")
    (Fraction(56, 1), Fraction(1, 6), Fraction(3333, 10000))
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number")
    value = Fraction(text)
    if match[1] is None or len(match[1]) <= _FLOAT_DECIMALS:
        return value
    simple = value.limit_denominator(_LARGEST_DENOMINATOR)
    close = abs(simple - value) <= Fraction(1, 10**_FLOAT_DECIMALS)
    return simple if close else value


def _operand(token: str, numbers: Sequence[Fraction]) -> Fraction:
    match = re.fullmatch(r"number([0-9]{1,4})", token)
    if match is None:
        return read_number(token)
    if int(match[1]) >= len(numbers):
        raise ValueError(f"{token!r}: there are {len(numbers)} numbers")
    return numbers[int(match[1])]


def _apply(left: Solved, operation: str, right: Solved) -> Solved:
    a, b = left.value, right.value
    match operation:
        case "+":
            value = a + b
        case "-":
            value = a - b
        case "*":
            value = a * b
        case "/" if b != 0:
            value = a / b
        case "/":
            raise ValueError("a division by zero")
        case _:
            raise ValueError(f"{operation!r} is no operation")
    second = format_value(b)
    if second.startswith("-") or ("/" in second and operation == "/"):
        second = f"({second})"
    expression = f"{format_value(a)}{operation}{second}"
    step = f"{expression} = <<{expression}={format_value(value)}>>{format_value(value)}"
    return Solved(value, (*left.steps, *right.steps, step), (*left.values, *right.values, value))
