"""When two questions are the same, also but for their numbers."""

import re
import unicodedata

_NUMBER = re.compile(r"[0-9]+(?:[.,/][0-9]+)*")
_WORD = re.compile(r"\w+")
_NO_WORDS = {code: " " for code in range(128) if not _WORD.match(chr(code))}


def normalised(question: str) -> str:
    """A question in lower case, with single spaces and without accents of width or form (NFKC)."""
    if not question.isascii():
        question = unicodedata.normalize("NFKC", question)
    return " ".join(question.casefold().split())


def without_numbers(text: str) -> str:
    """Numbers become `0`, whatever their length; punctuation is removed, spaces become single.
    `text` is `normalised`.

    >>> without_numbers("ann has 1,200 cups. bo has 3.5.")
    'ann has 0 cups bo has 0'
    """
    return " ".join(words(_NUMBER.sub("0", text)))


def words(text: str) -> list[str]:
    """The words of a `normalised` text, without punctuation."""
    return text.translate(_NO_WORDS).split() if text.isascii() else _WORD.findall(text)
