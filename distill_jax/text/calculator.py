"""The calculator: if a solver writes `<<48/2=`, the value `24` is filled in.

GSM8K's gold solutions have such marks, `<<48/2=24>>` (Cobbe et al., 2021, appendix C,
https://arxiv.org/abs/2110.14168), so a student learns to write them. `value` reads an expression
and never evaluates text as code. `completion` says what is missing at the end of a text.
`build_table` makes the automaton over token ids with which a device knows when to ask.
"""

import collections
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from distill_jax.text.exact_values import format_value

MAX_LENGTH = 64  # characters of an expression; the longest in GSM8K has 30
MAX_DEPTH = 16  # open parentheses and signs around a number
MAX_DIGITS = 12  # of a written value; the model writes longer ones itself

# States of the automaton over characters. A mark ends at `>>`, or with its line.
OUTSIDE, OUTSIDE_AFTER_LESS, INSIDE, INSIDE_AFTER_GREATER = range(4)

# Other characters become tokens of one character, which the parser knows or refuses.
_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[^ ]", re.DOTALL)


class Table(NamedTuple):
    """The automaton over token ids.

    next_state  int8 [4, V]  state after a token, by state before it
    fires       bool [4, V]  call `completion`: an `=` was read inside a mark that is still open
                             after the token
    """

    next_state: np.ndarray
    fires: np.ndarray


class _MalformedError(ValueError):
    pass


def value(expression: str) -> str | None:
    """The exact value of an expression as text: `24`, `-0.5`. Never raises.

    Numbers (`7`, `0.25`, `.5`), `+ - * /`, signs, parentheses and spaces. The 27,998 expressions of
    GSM8K contain nothing else, except two `//`. `$`, `%`, `,` and `x` do not occur in them, so
    these have no meaning, and neither do powers.

    None, so that the model writes the value, for expressions that are malformed, longer than
    MAX_LENGTH or deeper than MAX_DEPTH, for a division by zero, for infinite decimals, and for
    values with more than MAX_DIGITS digits.

    >>> value("2*(3-.5)"), value("1/3"), value("2**3")
    ('5', None, None)
    """
    result = evaluate(expression)
    if result is None:
        return None
    text = format_value(result)
    digits = sum(character.isdigit() for character in text)
    return None if "/" in text or digits > MAX_DIGITS else text


def evaluate(expression: str) -> Fraction | None:
    """The exact value of an expression, even if its decimals never end. Never raises.

    None for expressions that are malformed, longer than MAX_LENGTH or deeper than MAX_DEPTH, and
    for a division by zero.
    """
    if len(expression) > MAX_LENGTH:
        return None
    tokens = collections.deque(_TOKEN.findall(expression))
    try:
        result = _sum(tokens, 0)
    except (_MalformedError, ZeroDivisionError):
        return None
    return None if tokens else result


def completion(text: str) -> str | None:
    """The text to append to a text that ends in an open mark, `a <<48/2=`, for its value.

    The beginning of the value may already be there, because GPT-2 has tokens such as `=-`, and so
    may spaces before it. None if there is nothing to append: no open mark, no `=` yet or several,
    no value, or another value begun.

    >>> completion("a <<48/2="), completion("a <<5-8=-"), completion("a <<48/2=24")
    ('24', '3', None)
    """
    _, mark, inside = text.rpartition("<<")
    expression, equals, written = inside.partition("=")
    if not mark or not equals:
        return None
    result, written = value(expression), written.lstrip(" ")
    if result is None or not result.startswith(written):
        return None
    return result[len(written) :] or None


def build_table(token_texts: Sequence[str]) -> Table:
    """The automaton of a vocabulary; `token_texts[i]` is the text of token i.

    A text starts in OUTSIDE. If `completion` has something to append, the token with the `=` has
    fired; the reverse is not true, because expressions are not read here.
    """
    shape = (4, len(token_texts))
    table = Table(np.zeros(shape, np.int8), np.zeros(shape, bool))
    for token, text in enumerate(token_texts):
        for before in range(4):
            state, equals = before, False
            for character in text:
                state = _next(state, character)
                # `=>><<` closes the mark of its `=` and opens another.
                equals = state >= INSIDE and (equals or character == "=")
            table.next_state[before, token], table.fires[before, token] = state, equals
    return table


def _next(state: int, character: str) -> int:
    if character == "\n":  # a mark that is never closed must not catch every later `=`
        return OUTSIDE
    if state >= INSIDE:
        if character != ">":
            return INSIDE
        return INSIDE_AFTER_GREATER if state == INSIDE else OUTSIDE
    if character != "<":
        return OUTSIDE
    return OUTSIDE_AFTER_LESS if state == OUTSIDE else INSIDE


# Recursive descent; each function removes what it reads from the left of `tokens`.
def _sum(tokens: collections.deque[str], depth: int) -> Fraction:
    total = _product(tokens, depth)
    while tokens and tokens[0] in "+-":
        negative = tokens.popleft() == "-"
        term = _product(tokens, depth)
        total += -term if negative else term
    return total


def _product(tokens: collections.deque[str], depth: int) -> Fraction:
    product = _factor(tokens, depth)
    while tokens and tokens[0] in "*/":
        divide = tokens.popleft() == "/"
        factor = _factor(tokens, depth)
        product = product / factor if divide else product * factor
    return product


def _factor(tokens: collections.deque[str], depth: int) -> Fraction:
    if not tokens or depth > MAX_DEPTH:
        raise _MalformedError
    token = tokens.popleft()
    if token in "+-":
        factor = _factor(tokens, depth + 1)
        return -factor if token == "-" else factor
    if token == "(":
        inner = _sum(tokens, depth + 1)
        if not tokens or tokens.popleft() != ")":
            raise _MalformedError
        return inner
    if not "0" <= token[-1] <= "9":
        raise _MalformedError
    return Fraction(token)
