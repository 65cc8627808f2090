"""An answer as one line of text, out of whatever a model put around it."""

import re

from distill_jax.annotations.verify import false_marks
from distill_jax.text import calculator
from distill_jax.text.exact_values import format_value, parse_value

LONGEST_ANSWER = 200  # characters; what is longer is no answer

_LATEX = [
    (re.compile(r"\\[dt]?frac *\{([^{}]*)\} *\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed) *\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[()\[\],;!]|\\ "), " "),
    (re.compile(r"\\([$%])"), r"\1"),
    # `$72$` is a formula, `$72` are dollars.
    (re.compile(r"(?<!\w)\$\$?(?=[^$\s])([^$]{0,100})(?<=[^$\s])\$\$?(?!\d)"), r"\1"),
]
_MARKUP = re.compile(r"\*\*|__|`|</?(?:answer|final answer|b|strong)>", re.IGNORECASE)
_REMARK = re.compile(r"([^()]+) \(.*\)")  # `115 (in dollars)`
_INITIALS = re.compile(r"(?:[A-Za-z]\.){2,}")


def answer_text(value: str) -> str | None:
    """An answer as one line without markup, a full stop, or parentheses around all of it.

    A calculation is replaced by its exact value: `(84 / 2)` by `42`, `48 + 24 = 72` by `72`. None
    where that is false (`58 - 60 = 38`), where neither a letter nor a digit is left, and for more
    than LONGEST_ANSWER characters.
    """
    if len(value) > 5 * LONGEST_ANSWER:
        return None
    text = _MARKUP.sub("", " ".join(value.split()))
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    text = " ".join(_unwrapped(text).split())
    if not re.search(r"\w", text) or len(text) > LONGEST_ANSWER:
        return None
    return _calculated(text)


def _unwrapped(text: str) -> str:
    while True:
        text = text.strip(" *_")
        if not _INITIALS.fullmatch(text):
            text = text.rstrip(" .,;:!*_")
        if "(" not in text:
            text = text.rstrip(")")  # of a remark that the answer stood in
        pair = text[:1] + text[-1:]
        inner = text[1:-1]
        if pair not in ("()", '""', "''", "[]", "{}", "“”") or any(c in inner for c in pair):
            return text
        text = inner


def _calculated(text: str) -> str | None:
    if (remark := _REMARK.fullmatch(text)) is not None and parse_value(remark[1]) is not None:
        return remark[1]
    if parse_value(text) is not None:
        return text
    left, equals, last = (part.strip() for part in text.rpartition("="))
    if equals and parse_value(last) is not None:
        return None if false_marks(f"<<{left.rpartition('=')[2]}={last}>>") else last
    value = calculator.evaluate(last)
    return text if value is None else format_value(value)
