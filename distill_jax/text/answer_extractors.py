"""Where a completion holds its final answer: after `####`, or else at its end.

The answer as Ho et al. read it is in text/cleansing.py.
"""

import re
from fractions import Fraction

from distill_jax.text.exact_values import last_number, only_number
from distill_jax.text.formats import MARKER

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_YES_NO = re.compile(r"\b(yes|no|true|false)\b", re.IGNORECASE)
_STRICT_YES_NO = re.compile(rf"{MARKER} ((?i:yes|no))\b")


def final_text(completion: str) -> str:
    """The rest of the line after the last `####`, or the last non-empty line.

    In lower case, with single spaces; empty if there is none.
    """
    line = _after_marker(completion)
    if line is None:
        line = completion.strip().rpartition("\n")[2]
    return simple_text(line)


def final_value(completion: str) -> Fraction | None:
    """The one number after the last `####`; without a marker the last number of all."""
    line = _after_marker(completion)
    return last_number(completion) if line is None else only_number(line)


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
