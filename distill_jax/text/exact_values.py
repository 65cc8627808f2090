"""Exact values out of text: one number by itself, or all numbers of a running text."""

import re
from fractions import Fraction

# Longer numbers are refused: int() is quadratic in the digits and Python limits str() to 4300.
_LONGEST = 2000  # characters
_MAX_EXPONENT = 1000
_LIMIT = 10**300  # of numerator and denominator

_SPACE = "[ \u00a0\u2009\u202f]"  # space, no-break space, thin space, narrow no-break space
_SYMBOL = "$£¥¢฿\u20a0-\u20cf"
_ALIKE = str.maketrans(dict.fromkeys("\u2212\u2013\ufe63\uff0d", "-") | {"\u2044": "/"})
_VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "⅛": "1/8"}

# Possessive quantifiers and bounded repeats: matching stays linear in the length of the text.
_PART = r"[0-9]++(?:[eE][-+]?[0-9]++)?+"
# All that is glued together is one candidate (`1,23`, `2020/12/25`); _value judges it as a whole.
_GLUED = rf"(?:(?<![\w.])\.)?{_PART}(?:[.,/_^]{_PART})*+"
_SPACED = (  # 1 234 567.8
    rf"[1-9][0-9]{{0,2}}(?:{_SPACE}[0-9]{{3}}(?![0-9])){{1,20}}+(?:\.[0-9]++)?+"
    rf"(?![.,/_^eE]?[0-9])(?!{_SPACE}[0-9])"
)
_MIXED = rf"[0-9]++(?:,[0-9]{{3}})*+{_SPACE}{{1,2}}[0-9]++/[0-9]++(?![.,/_^]?[0-9])"  # 5 1/2
_CURRENCY = (
    rf"(?:(?<![^\W_])(?:USD|EUR|GBP|JPY|CNY|INR|Rs\.?|(?:US|CA|AU|NZ|HK|[ACR])?[{_SYMBOL}])"
    rf"{_SPACE}?(?P<inner_sign>[-+])?)"
)
# Digits that belong to a word (`mp3`, `m^2`) are no numbers; the factors of `20x8` are.
_START = r"(?<![^\W_])(?<!\^)(?<![0-9][.,/_])|(?<=[0-9][xX])"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\]}}%^{_SYMBOL}])[-+])?(?:{_CURRENCY}|{_START})"
    rf"(?P<body>{_SPACED}|{_MIXED}|{_GLUED})"
)
_INTEGER = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})++|[0-9]++)"
_DECIMAL = re.compile(rf"(?P<whole>{_INTEGER})?(?:\.(?P<part>[0-9]+))?(?:[eE](?P<e>[-+]?[0-9]+))?")
_FRACTION = re.compile(rf"(?:(?P<whole>{_INTEGER}) )?(?P<over>{_INTEGER})/(?P<under>{_INTEGER})")
_LOOSE_SIGN = re.compile(rf"^\s*([-+])\s+(?=[0-9.{_SYMBOL}])")


def parse_value(text: str) -> Fraction | None:
    """The exact value of a text that is one number, with or without currency and unit.

    Understands `1,234.5`, `1 234`, `-$5`, `5 km`, `50%` (= 50), `1/2`, `5 1/2`, `½`, `3.5e2`.
    None for anything else: words in front, a second number, bad grouping, division by zero, and
    values too large to matter (more than 300 digits).
    """
    text = _LOOSE_SIGN.sub(r"\1", _plain(text))
    matches = list(_NUMBER.finditer(text))
    if len(matches) != 1 or text[: matches[0].start()].strip():
        return None
    return _value(matches[0])


def extract_numbers(text: str) -> list[Fraction]:
    """All numbers of a running text in order; what is badly grouped (`1,23`) is left out.

    A space joins digits that look like a thousands group: `$400 000` is one number.
    """
    values = [_value(match) for match in _NUMBER.finditer(_plain(text))]
    return [value for value in values if value is not None]


def only_number(text: str) -> Fraction | None:
    """The one number of a line, whatever words stand around it; None for several."""
    matches = list(_NUMBER.finditer(_LOOSE_SIGN.sub(r"\1", _plain(text))))
    return _value(matches[0]) if len(matches) == 1 else None


def last_number(text: str) -> Fraction | None:
    """The last number of a running text; None also if that one is badly grouped."""
    matches = list(_NUMBER.finditer(_plain(text)))
    return _value(matches[-1]) if matches else None


def format_value(value: Fraction) -> str:
    """Canonical text: `7`, `-0.5`, or `1/3` where the decimals never end. No exponents.

    `parse_value` reads it back as the same value. Raises ValueError where Python refuses to print
    the digits (more than 4300), which no value read by this module has.
    """
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def _value(match: re.Match[str]) -> Fraction | None:
    """The value of a candidate found by _NUMBER, None where it is not well formed."""
    body = match["body"]
    if len(body) > _LONGEST:
        return None
    body = re.sub(f"{_SPACE}+", " " if "/" in body else "", body)
    value = _fraction(body) if "/" in body else _decimal(body)
    if value is None or max(value.numerator, value.denominator) > _LIMIT:
        return None
    negative = (match["sign"] == "-") != (match["inner_sign"] == "-")
    return -value if negative else value


def _decimal(body: str) -> Fraction | None:
    match = _DECIMAL.fullmatch(body)
    if match is None:
        return None
    exponent = match["e"] or "0"
    if len(exponent) > 9 or abs(int(exponent)) > _MAX_EXPONENT:
        return None
    whole = (match["whole"] or "0").replace(",", "")
    return Fraction(f"{whole}.{match['part'] or '0'}") * Fraction(10) ** int(exponent)


def _fraction(body: str) -> Fraction | None:
    match = _FRACTION.fullmatch(body)
    if match is None:
        return None
    over, under = (int(match[name].replace(",", "")) for name in ("over", "under"))
    if under == 0:
        return None
    if match["whole"] is None:
        return Fraction(over, under)
    whole = int(match["whole"].replace(",", ""))
    return whole + Fraction(over, under) if over < under else None


def _plain(text: str) -> str:
    """One spelling for minus signs and fractions."""
    for sign, fraction in _VULGAR.items():
        if sign in text:
            text = re.sub(rf"(?<=[0-9]) ?{sign}", f" {fraction}", text).replace(sign, fraction)
    return text.translate(_ALIKE)
