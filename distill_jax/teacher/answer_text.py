"""An answer as one line of text, without what a model put around it."""

import re

from distill_jax.text.spelling import without_emphasis, without_latex, without_markup

LONGEST_ANSWER = 200  # characters; longer text is not an answer

_TEXT = re.compile(r"[^\W_]")
# An answer without a letter or digit: a comparison or an operator.
_SIGN = re.compile(r"[-+*/×÷·=<>≤≥≠≈%&$€£¥±∞√]{1,3}")
_INITIALS = re.compile(r"(?:[A-Za-z]\.){2,}")


def answer_text(value: str) -> str | None:
    """An answer as one line without markup, a full stop, or parentheses around all of it.

    Nothing is calculated: the grader decides whether `48 + 24 = 72` is the known answer, and
    `2020-01-02` stays a date. None if nothing is left, and for more than LONGEST_ANSWER characters.
    """
    if len(value) > 5 * LONGEST_ANSWER:
        return None
    text = " ".join(value.split())
    if _SIGN.fullmatch(text) and text not in ("**", "***", "--", "---", "=="):
        return None if text == "-" else text
    text = " ".join(_unwrapped(without_markup(without_latex(text))).split())
    if not _TEXT.search(text) or len(text) > LONGEST_ANSWER:
        return None
    return text


def _unwrapped(text: str) -> str:
    while True:
        text = without_emphasis(text.strip())
        if not _INITIALS.fullmatch(text):
            text = text.rstrip(" .,;:!")
        if not any(bracket in text for bracket in "([]"):
            text = text.rstrip(")")  # of a remark that contained the answer
        pair = text[:1] + text[-1:]
        inner = text[1:-1]
        if pair not in ("()", '""', "''", "[]", "{}", "“”") or any(c in inner for c in pair):
            return text
        text = inner
