"""Finds and reads the final answer of a completion: after `####`, or else at its end.

text/cleansing.py reads answers as Ho et al. do.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from distill_jax.text import calculator
from distill_jax.text.exact_values import last_number, parse_value, single_number
from distill_jax.text.false_equations import false_equations
from distill_jax.text.formats import MARKER
from distill_jax.text.quantities import without_unit_powers, words_around
from distill_jax.text.spelling import plain
from distill_jax.text.written_equations import plain_expression

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_YES_NO = re.compile(r"\b(yes|no|true|false)\b", re.IGNORECASE)
_STRICT_YES_NO = re.compile(rf"{MARKER} ((?i:yes|no))\b")

_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?")
_LONGEST_LINE = 2000  # longer lines are not searched for more than a number
# A remark after an answer, with other numbers: `115 (that is 5 * 23)`.
_REMARK = re.compile(r"([^()]{0,100}[^()\s]) +\((?=[^()]*[A-Za-z]{2})[^()]*[0-9][^()]*\)[.\s]*")
# A calculation has spaces around an operator, or parentheses; `2020-01-02` is not one.
_CALCULATION = re.compile(r"[0-9] ?[*×÷] ?[0-9(]|[0-9)] [-+*/x×÷] [0-9(]|\([^()]*[-+*/x×÷][^()]*\)")
_LEADING_ZERO = re.compile(r"(?<![0-9.])0[0-9]")
# What makes a number a coefficient: `2x^2`, `3x + y`, `5(a - b)`.
_EXPRESSION = re.compile(r"[*×·÷^√|+] ?[\w(]|- ?(?:[A-Za-z]\b|\()|\\[A-Za-z]|\A\(")
_EQUALS = re.compile(r" ?[=≈] ?")
_NEGATIONS = frozenset({"not", "no", "never", "neither"})
_NUMBER_SIGN = re.compile(r"\b[Nn]o\. ?$")  # `No. 5`


class Quantity(NamedTuple):
    """A number with the words around it (text/quantities.py)."""

    value: Fraction
    words: list[str]


def final_line(completion: str) -> str:
    """The rest of the line after the last `####`, or the last line that is not empty, stripped."""
    line = _after_marker(completion)
    return (completion.strip().rpartition("\n")[2] if line is None else line).strip()


def final_text(completion: str) -> str:
    """The final line in lower case, with single spaces; empty if there is none."""
    return simple_text(final_line(completion))


def final_quantity(completion: str) -> Quantity | None:
    """The one number after the last `####`; without a marker the last number of all.

    After a marker, an equation (`48 + 24 = 72`) or a calculation (`(84 / 2)`) has the value of its
    result; a false equation has none.
    """
    line = _after_marker(completion)
    if line is not None:
        line = line.strip()
        if _PLAIN.fullmatch(line):
            return Quantity(Fraction(line), [])
        return read_quantity(line)
    found = last_number(completion)
    if found is None or found[1].value is None:
        return None
    text, number = found
    # The text before it is the sentence that leads to it.
    after = text[number.end : number.end + _LONGEST_LINE]
    return Quantity(found[1].value, words_around("", after, number.currency))


def read_quantity(line: str) -> Quantity | None:
    """The one number of a line, or the result of its calculation, with the words around it."""
    if len(line) > _LONGEST_LINE:
        line = line[: _LONGEST_LINE + 1]  # too long to be refused by a number that is cut here
    found = single_number(line)
    if found is None:
        line = plain(line)
        remark = _REMARK.fullmatch(line)
        return _calculated(line) if remark is None else read_quantity(remark[1])
    text, number = found
    if number.value is None:
        return _calculated(text)
    after = text[number.end :]
    if _EXPRESSION.search(without_unit_powers(after)):
        return None
    before = text[: number.start]
    words = words_around(before, after, number.currency)
    if not _NEGATIONS.isdisjoint(words) and not _NUMBER_SIGN.search(before):
        return None
    return Quantity(number.value, words)


def _calculated(text: str) -> Quantity | None:
    *computed, last = _EQUALS.split(text.strip(" ."))
    if _LEADING_ZERO.search(text):
        return None
    if not computed:  # an expression
        if not _CALCULATION.search(last):
            return None
        value = calculator.evaluate(plain_expression(last))
        return None if value is None else Quantity(value, [])
    result = read_quantity(last) if single_number(last) is not None else None
    if result is None:
        return None
    said = plain_expression(text.replace("≈", "="))
    # In a chain, the last equation must be one that can be checked, and none may be false.
    if calculator.evaluate(plain_expression(computed[-1])) is None or false_equations(said):
        return None
    return result


def gold_quantity(answer: str) -> Quantity | None:
    """The number of a known answer, which must begin with it, with the words around it."""
    if _PLAIN.fullmatch(answer):
        return Quantity(Fraction(answer), [])
    return None if parse_value(answer) is None else read_quantity(answer)


def strict_number(completion: str) -> str | None:
    """The first `#### N`, as lm-evaluation-harness reads it (gsm8k version 3, strict-match):
    https://github.com/EleutherAI/lm-evaluation-harness/blob/main/lm_eval/tasks/gsm8k/gsm8k.yaml
    """
    match = _STRICT.search(completion)
    return None if match is None else match.group(1)


def flexible_number(completion: str) -> str | None:
    """The last number, as the same task reads it (flexible-extract)."""
    found = _FLEXIBLE.findall(completion)
    return found[-1] if found else None


def same_number_text(extracted: str | None, answer: str) -> bool:
    """Whether the same task calls what it extracted equal to the answer: it compares strings."""
    return extracted is not None and _cleaned(extracted) == _cleaned(answer)


def yes_no(word: str) -> str:
    """The word in lower case; true means yes, false means no."""
    word = word.lower()
    return {"true": "yes", "false": "no"}.get(word, word)


def yes_no_words(text: str) -> list[str]:
    """The words yes, no, true and false of a text in order, as yes and no."""
    return [yes_no(match.group()) for match in _YES_NO.finditer(text)]


def strict_yes_no(completion: str) -> str | None:
    """The first `#### yes` or `#### no`."""
    match = _STRICT_YES_NO.search(completion)
    return None if match is None else match.group(1).lower()


def simple_text(text: str) -> str:
    """In lower case (folded), with single spaces."""
    return " ".join(text.split()).casefold()


def _after_marker(completion: str) -> str | None:
    _, marker, rest = completion.rpartition(MARKER)
    return rest.partition("\n")[0] if marker else None


def _cleaned(text: str) -> str:
    text = text.replace(",", "").replace("$", "")
    # The same as removing (?s).*#### , which takes quadratic time if there is no marker.
    text = text.rpartition("#### ")[2]
    return re.sub(r"\.$", "", text).lower()
