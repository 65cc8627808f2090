"""What a sentence says: `It is not true` says no, `No one knows` neither yes nor no."""

import re

from distill_jax.text.spelling import plain
from distill_jax.text.text_answers import text_key

_WORD = re.compile(r"(?<![^\W_])(yes|no|true|false)(?![^\W_])", re.IGNORECASE)
# `no` that belongs to a noun: `no idea`, `no-one`, `No. 5`; but `no because`, `no there are none`.
_DETERMINER = re.compile(
    r"(?:-|\.? ?#? ?[0-9]| (?!(?:because|since|as|it|he|she|they|there|this|that|these|those|the|"
    r"you|we|i|a|an|but|and|or|so|for|not|nor|however|actually|definitely|absolutely|sorry|thanks?|"
    r"is|was|would|if|in|at|on|with)\b)[^\W\d_])",
    re.IGNORECASE,
)
_BREAK = re.compile(
    r"[.;:,!?\n]|\b(?:so|because|since|therefore|thus|hence|but|then|answer)\b", re.IGNORECASE
)
_NEGATION = r"(?:\b(?:not|never|hardly|neither|nor|cannot|nobody|none)\b|n't\b|\bfar from\b)"
# Between a negation and what it denies.
_BETWEEN = (
    r"(?: (?:necessarily|really|entirely|always|actually|at all|quite|completely|strictly|"
    r"generally|exactly|literally|even|be|a|the|in fact|so|very|technically))"
)
_DENIED = re.compile(rf"{_NEGATION}{_BETWEEN}{{0,3}} *[\"'(*]*$", re.IGNORECASE)
_NEGATED = re.compile(rf"{_NEGATION}|\bno\b", re.IGNORECASE)
_UNCERTAIN = re.compile(
    r"\b(?:whether|if|unless|could|might|may|maybe|perhaps|possibly|unknown|unclear|unsure|"
    r"uncertain|either|neither|both)\b",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(r" ?(?:/|\bor\b|\bnor\b|\band\b) ?(?:yes|no|true|false)\b", re.IGNORECASE)
_BEFORE_ALTERNATIVE = re.compile(
    r"\b(?:yes|no|true|false) ?(?:/|\bor\b|\bnor\b|\band\b) ?$", re.IGNORECASE
)
_CLAUSE = 200  # characters before a word in which it may be denied


def said(text: str) -> list[str]:
    """The answers of a text in order, "yes" or "no"; true means yes, and `not true` no.

    A word that is left open (`whether it is true`, `yes or no`) is no answer, and neither is `no`
    before a noun.

    >>> said("It is not true."), said("No one knows"), said("No, there are no such whales")
    (['no'], [], ['no'])
    """
    if not text.isascii() or "\\" in text:
        text = plain(text)
    answers = []
    for found in _WORD.finditer(text):
        answer = _meant(found[1].lower(), text, found.start(), found.end())
        if answer is not None:
            answers.append(answer)
    return answers


def _meant(word: str, text: str, start: int, end: int) -> str | None:
    if word == "no" and _DETERMINER.match(text, end):
        return None
    clause = text[max(0, start - _CLAUSE) : start]
    if _ALTERNATIVE.match(text, end) or _BEFORE_ALTERNATIVE.search(clause):
        return None
    breaks = list(_BREAK.finditer(clause))
    clause = clause[breaks[-1].end() :] if breaks else clause
    answer = {"true": "yes", "false": "no"}.get(word, word)
    if _UNCERTAIN.search(clause):
        return None
    if _DENIED.search(clause):
        # `not yes` and `not no` are no way to answer.
        return None if word in ("yes", "no") else {"yes": "no", "no": "yes"}[answer]
    return None if _NEGATED.search(clause) else answer


def meaning(answer: str) -> str:
    """A known answer as "yes" or "no"; any other text in lower case.

    >>> meaning("No."), meaning("True"), meaning("maybe")
    ('no', 'yes', 'maybe')
    """
    key = text_key(answer)
    return {"true": "yes", "false": "no"}.get(key, key)
