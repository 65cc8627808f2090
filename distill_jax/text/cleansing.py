"""The answer of a completion as Ho et al. (2022) read it: the score "fine_tune_cot".

If the answer is marked, it is the first candidate after the first mark; if not, the last candidate
of all. What a candidate is depends on the kind of answer. As in class Evaluator of
https://github.com/itsnamgyu/reasoning-teacher/blob/main/src/evaluation/evaluator.py, except that
the mark is `####`: in the completions that graders read, `-->` is replaced (text/formats.py).
"""

import re
from collections.abc import Callable

from distill_jax.text.formats import MARKER

TOLERANCE = 1e-6

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def same_number(completion: str, answer: str, *, as_text: bool) -> bool:
    """Whether the answer is this number: compared as text (GSM8K, where 72.0 is not 72), or as
    floats that differ by 1e-6 at most (SVAMP). Commas are deleted first."""
    found = _two_ways(completion, numbers)
    gold = answer.replace(",", "")
    if found is None or as_text:
        return found == gold
    return _NUMBER.fullmatch(gold) is not None and abs(float(found) - float(gold)) <= TOLERANCE


def same_word(completion: str, answer: str) -> bool:
    """Whether the answer is this yes or no."""
    return _two_ways(completion, yes_and_no) == answer.lower()


def same_text(completion: str, answer: str) -> bool:
    """Whether the answer is this text, as the paper compares last letters: all text after the mark,
    or without a mark the whole text, without quotes, full stops and white space."""
    return _two_ways(completion, whole) == whole(answer)[0]


def same_letter(completion: str, answer: str, letters: str) -> bool:
    """Whether the answer is this letter; only capital letters of `letters` are candidates, also
    inside words: without a mark, the A of `An apple` is one."""
    return _two_ways(completion, lambda text: re.findall(f"[{letters}]", text)) == answer


def numbers(text: str) -> list[str]:
    """Candidates if the answer is a number.

    >>> numbers("1,200 apples cost -3.5 dollars.")
    ['1200', '-3.5']
    """
    return _NUMBER.findall(text.replace(",", ""))


def yes_and_no(text: str) -> list[str]:
    """Candidates if the answer is yes or no; true and false are not candidates.

    >>> yes_and_no("No, the answer: Yes.")
    ['no', 'yes']
    """
    words = re.sub(r"[\"'.:,\s]", " ", text.lower()).split(" ")
    return [word for word in words if word in ("yes", "no")]


def whole(text: str) -> list[str]:
    """The one candidate if the answer is text.

    >>> whole(' "nk".')
    ['nk']
    """
    return [re.sub(r"[\"'.\s]", "", text)]


def _two_ways(completion: str, candidates: Callable[[str], list[str]]) -> str | None:
    before, mark, after = completion.partition(MARKER)
    found = candidates(after if mark else before)
    if not found:
        return None
    return found[0] if mark else found[-1]
