"""When two answers that are text are the same: `**New York.**` is `new york`, `(B)` is `B`."""

import re

from distill_jax.text.spelling import plain, without_emphasis

_INITIALS = re.compile(r"\b(?:[^\W\d_]\.){2,}|\b(?:[^\W\d_]\.)+[^\W\d_]\b")
_SPACE_AROUND = re.compile(r" ?([:=/,;<>≤≥≠+*×÷|-]) ?|(?<=[(\[{]) | (?=[)\]}%°])")
_PAIRS = {"(": ")", '"': '"', "'": "'", "[": "]", "{": "}"}


def text_key(text: str) -> str:
    """A key that is equal for two texts with the same meaning. Linear in the text.

    These do not matter: case, white space (also around `:` and `=`), a full stop at the end,
    quotes, bold, parentheses around the whole text, the dots of initials, and the spelling of
    characters (text/spelling.py).

    >>> text_key("**New  York.**"), text_key("(B)"), text_key("10:30 a.m."), text_key("3 : 2")
    ('new york', 'b', '10:30 am', '3:2')
    """
    key = " ".join(plain(without_emphasis(text.strip())).split()).casefold()
    key = _INITIALS.sub(lambda letters: letters[0].replace(".", ""), key)
    key = _unwrapped(_SPACE_AROUND.sub(lambda found: found[1] or "", key))
    return key


def _unwrapped(key: str) -> str:
    """Without quotes, brackets and emphasis around the whole text, and without a full stop."""
    while True:
        bare = without_emphasis(key.strip())
        bare = bare.rstrip(" .,;:!").lstrip(" :") or bare
        if not any(bracket in bare for bracket in "([]"):
            bare = bare.rstrip(")") or bare  # B)
        closing = _PAIRS.get(bare[:1])
        if closing and len(bare) > 2 and bare.endswith(closing):
            inner = bare[1:-1]
            if bare[0] not in inner and closing not in inner:
                bare = inner
        if bare == key:
            return key
        key = bare
