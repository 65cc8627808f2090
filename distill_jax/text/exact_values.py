"""Exact values from text: a single number, or all numbers of a running text.

A number is read as its whole value or not at all, and never as a part of it. `3 dozen` is 36,
`minus 5` is -5, `10^3` is 1000; `2020-01-02`, `10:30`, `5-1/2` and `0x1F` are not numbers.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from distill_jax.text.spelling import plain

# Longer numbers are refused: int() is quadratic in the digits and Python limits str() to 4300.
_LONGEST = 2000  # characters
_MAX_EXPONENT = 1000
_LIMIT = 10**300  # of numerator and denominator
_NEAR = 60  # so many characters around a number show whether it is only a part

_SPACE = "[ \u00a0\u2009\u202f]"  # space, no-break space, thin space, narrow no-break space
_SYMBOL = "$£¥¢฿\u20a0-\u20cf"
_CODES = (
    "USD|EUR|GBP|JPY|CNY|RMB|INR|AUD|CAD|NZD|HKD|SGD|CHF|SEK|NOK|DKK|PLN|CZK|HUF|MXN|BRL|ZAR|KRW|"
    "TRY|THB|RUB|PHP|IDR|MYR|VND|ILS|AED|SAR|NGN|KES|EGP|PKR|BDT"
)

# Possessive quantifiers and bounded repeats: matching stays linear in the length of the text.
_PART = r"[0-9]++(?:[eE][-+]?[0-9]++)?+"
# Everything without spaces is one candidate (`1,23`, `2020/12/25`); _value judges it as a whole.
_GLUED = rf"(?:(?<![\w.])\.)?{_PART}(?:(?:[.,/_']|\^[-+]?+){_PART})*+"
_SPACED = (  # 1 234 567.8
    rf"[1-9][0-9]{{0,2}}(?:{_SPACE}[0-9]{{3}}(?![0-9])){{1,20}}+(?:\.[0-9]++)?+"
    rf"(?![.,/_^eE]?[0-9])(?!{_SPACE}[0-9])"
)
# 5 1/2, 5 and 1/2
_MIXED = (
    rf"[0-9]++(?:,[0-9]{{3}})*+{_SPACE}{{1,2}}(?:(?:and|&){_SPACE})?[0-9]++/[0-9]++"
    r"(?![.,/_^]?[0-9])"
)
# 1.5 × 10^3
_SCIENTIFIC = (
    rf"[0-9]++(?:,[0-9]{{3}})*+(?:\.[0-9]++)?+{_SPACE}?[xX×*·]{_SPACE}?10\^[-+]?[0-9]++"
    r"(?![.,/_^]?[0-9])"
)
_CURRENCY = (
    rf"(?:(?<![^\W_])(?P<currency>{_CODES}|R[sp]\.?|RM|[Kk]r\.?|Tk|(?:US|CA|AU|NZ|HK|NT|MX|[ACRS])?"
    rf"[{_SYMBOL}]){_SPACE}?(?P<inner_sign>[-+])?)"
)
# Digits that belong to a word (`mp3`, `m^2`) are not numbers; the factors of `20x8` are.
_START = r"(?<![^\W_])(?<!\^)(?<!\^[-+(])(?<![0-9][.,/_'])|(?<=[0-9][xX])"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\]}}%^{_SYMBOL}])[-+])?(?:{_CURRENCY}|{_START})"
    rf"(?P<body>{_SCIENTIFIC}|{_SPACED}|{_MIXED}|{_GLUED})"
)
_INTEGER = (  # 1,234,567 or 1'234'567 or 12,34,567
    r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})++|[1-9][0-9]{0,2}(?:'[0-9]{3})++|"
    r"[1-9][0-9]?(?:,[0-9]{2}){1,9},[0-9]{3}|[0-9]++)"
)
_DECIMAL = re.compile(rf"(?P<whole>{_INTEGER})?(?:\.(?P<part>[0-9]+))?(?:[eE](?P<e>[-+]?[0-9]+))?")
_FRACTION = re.compile(rf"(?:(?P<whole>{_INTEGER}) )?(?P<over>{_INTEGER})/(?P<under>{_INTEGER})")
_POWER_OF_TEN = re.compile(rf"{_SPACE}?[xX×*·]{_SPACE}?10\^")

_MULTIPLIERS = {
    **{"dozen": 12, "gross": 144, "hundred": 100, "thousand": 10**3, "lakh": 10**5},
    **{"million": 10**6, "crore": 10**7, "billion": 10**9, "trillion": 10**12},
    **{"mn": 10**6, "mln": 10**6, "bn": 10**9, "tn": 10**12},
    **{"百": 100, "千": 10**3, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8},
}
_WORDS = "dozen|gross|hundred|thousand|lakh|million|crore|billion|trillion"
_MULTIPLIER = re.compile(
    rf"(?:{_SPACE}|-)?(?P<word>(?i:{_WORDS}))s?(?![^\W_])|(?P<letters>mn|mln|bn|tn)(?![^\W_])|"
    r"(?P<sign>[百千万萬億亿])|(?P<k> ?k|K)(?![^\W_])|(?P<m>M)(?![^\W_])|"
    r"(?P<money> ?[mMbBtT])(?![^\W_])"
)
_AND_A_HALF = re.compile(
    r" and (?:(?:a |one )?(?P<one>half|third|quarter|fourth)|(?P<two>two)[- ]thirds|"
    r"(?P<three>three)[- ](?:quarters|fourths))\b"
)
_SHARES = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)}
_SHARES["fourth"] = _SHARES["quarter"]

# What makes a number a part of something else, before it and after it.
_BEFORE = re.compile(
    r"(?:[0-9%)][ ]?[-+*/×÷·^±][ ]?|[0-9](?::| : |[xX])|[0-9]\.\(|√ ?\(?|"
    r"\b(?:half|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?|twice|double|triple|"
    r"square root|cube root|root|sqrt|square|cube|log|ln|sin|cos|tan)"
    r"(?: (?:of|the|a|an)){0,2} ?\(?|"
    rf"\b(?:{_WORDS})s?(?: and)? |"
    r"[0-9] ?(?:hours?|hrs?|h|minutes?|mins?|feet|foot|ft|'|pounds?|lbs?|dollars?|euros?|years?|"
    r"months?|weeks?|days?|meters?|metres?|m|km|kg|liters?|litres?),?(?: and)? |"
    r"[0-9] (?:out of|of|in|to|over|per|plus|minus|times|divided by) )[$£€]?$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\^|_[0-9]|√|\u0305|\u0304| ?π| pi\b|[-:][0-9]|[inz](?![^\W_])|[eE](?![^\W_])|"
    rf"[ -](?:hal(?:f|ves)|thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|"
    r"hundredths?|thousandths?|millionths?)\b(?![ -](?:place|grade|floor|time|day|of [A-Z]))|"
    rf" (?:of )?(?:a|an|one) (?:{_WORDS})\b|"
    r"[^.;!?]{0,30} and (?:a |one )(?:half|third|quarter)\b|"
    r"\) ?\^| ?[×÷*·±^][ ]?[(0-9]"
)
_BELOW_ZERO = re.compile(r"[^.;!?0-9]{0,20} below zero\b", re.IGNORECASE)
# `= - 5` and `- 5` are negative, `total - 5` might be.
_LOOSE_SIGN = re.compile(
    r"(?P<lead>(?:^|[=:(<>≈~,]|\b(?:is|are|equals|be|of))[ ]*)(?P<sign>[-+])[ ]+$"
)
_SIGN_WORD = re.compile(r"\b(?P<word>minus|negative)[ ]+\(?$", re.IGNORECASE)
_MAY_BE_NEGATIVE = re.compile(
    r"(?:^|[=:(<>≈~,]|\b(?:is|are|was|were|be|equals?|of|to|answer))[ ]*$", re.IGNORECASE
)
_SIGN_APART = re.compile(r"-[ \"'(\[{]+$")
# What may come before a single number.
_NO_WORDS = re.compile(r"[-+ =≈~(\[\"':]*(?:(?:minus|negative) +\(?)?", re.IGNORECASE)
_SPACED_SLASH = re.compile(r"(?<=[0-9]) ?/ ?(?=[0-9])")
_SPACED_POWER = re.compile(r"(?<=[0-9]) ?(?:\^|\*\*) ?(?=[-+]?[0-9])")


class Number(NamedTuple):
    """A number in a text: its value, or None if it cannot be read, and its parts."""

    value: Fraction | None
    start: int  # of sign and currency
    end: int  # after multiplier and fraction
    currency: str  # written before it: "$", "Rs.", ""


def parse_value(text: str) -> Fraction | None:
    """The exact value of a text that is one number, with or without currency and unit.

    Understands `1,234.5`, `1 234`, `1'234`, `1,00,000`, `-$5`, `minus 5`, `5 km`, `50%` (= 50),
    `1/2`, `5 1/2`, `½`, `3.5e2`, `1.5 × 10^3`, `10³`, `72k`, `1.5 million`, `3 dozen`, LaTeX, and
    digits of any script. None for anything else: words before it, a second number, bad grouping,
    a part of a number, division by zero, and values too large to matter (more than
    300 digits).
    """
    found = single_number(text)
    if found is None or found[1].value is None:
        return None
    text, number = found
    return number.value if _NO_WORDS.fullmatch(text, 0, number.start) else None


def single_number(text: str) -> tuple[str, Number] | None:
    """(text as it was read, its one number), with any words around it; None for several."""
    text = _SPACED_SLASH.sub("/", _SPACED_POWER.sub("^", plain(text)))
    matches = list(_NUMBER.finditer(text))
    return (text, _whole(text, matches[0])) if len(matches) == 1 else None


def last_number(text: str) -> tuple[str, Number] | None:
    """(text as it was read, its last number); None if there is none."""
    text = plain(text)
    matches = list(_NUMBER.finditer(text))
    return (text, _whole(text, matches[-1])) if matches else None


def extract_numbers(text: str) -> list[Fraction]:
    """All numbers of a running text in order, without badly grouped ones (`1,23`).

    A space joins digits that look like a thousands group: `$400 000` is one number. Words that
    multiply are ignored: `3 dozen` gives 3, because the text may calculate with it.
    """
    values = [_value(match) for match in _NUMBER.finditer(plain(text))]
    return [value for value in values if value is not None]


def format_value(value: Fraction) -> str:
    """Canonical text: `7`, `-0.5`, or `1/3` if the decimals never end. No exponents.

    `parse_value` reads it back as the same value. Raises ValueError if Python refuses to print
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


def _whole(text: str, match: re.Match[str]) -> Number:
    """A candidate as an answer: no value if it is only a part of a larger expression."""
    value, end = _read(text, match)
    start = match.start()
    number = Number(value, start, end, match["currency"] or "")
    if value is None:
        return number
    before, after = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    if after and (_AFTER.match(after) or _hexadecimal(match["body"], after)):
        return number._replace(value=None)
    sign = _sign(before, match) if before else 1
    if sign and after and _BELOW_ZERO.match(after):
        sign = -sign if value > 0 and sign > 0 else 0
    return number._replace(value=sign * value if sign else None)


def _sign(before: str, match: re.Match[str]) -> int:
    """-1 or 1, from the text before a number and its own sign; 0 if that is not clear."""
    own = match["sign"] or match["inner_sign"]
    if (word := _SIGN_WORD.search(before)) is not None:
        known = word["word"].lower() == "negative"
        known = known or _MAY_BE_NEGATIVE.search(before[: word.start("word")])
        return -1 if known and not own else 0
    if (loose := _LOOSE_SIGN.search(before)) is not None:
        return 0 if own else (-1 if loose["sign"] == "-" else 1)
    if (apart := _SIGN_APART.search(before)) is not None:
        word = before[: apart.start()].rstrip()
        return -1 if not own and not word else 0
    return 0 if _BEFORE.search(before) else 1


def _hexadecimal(body: str, after: str) -> bool:
    return body == "0" and re.match(r"[xXbBoO][0-9A-Fa-f]", after) is not None


def _read(text: str, match: re.Match[str]) -> tuple[Fraction | None, int]:
    """(value, end) of a candidate with its multipliers, without the text around it."""
    value, end = _value(match), match.end()
    if value is None or end == len(text) or text[end] in ".)\n,;":
        return value, end
    value, end = _with_fraction(value, text, end)
    money = bool(match["currency"])
    while (found := _MULTIPLIER.match(text, end)) is not None:
        factor = _factor(found, money=money)
        if factor is None:
            break
        value, end = value * factor, found.end()
    return (value if max(abs(value.numerator), value.denominator) <= _LIMIT else None), end


def _with_fraction(value: Fraction, text: str, end: int) -> tuple[Fraction, int]:
    found = _AND_A_HALF.match(text, end)
    if found is None or value.denominator != 1:
        return value, end
    share = _SHARES[found["one"]] if found["one"] else Fraction(2, 3)
    share = Fraction(3, 4) if found["three"] else share
    return (value + share if value >= 0 else value - share), found.end()


def _factor(found: re.Match[str], *, money: bool) -> int | None:
    if word := found["word"] or found["letters"] or found["sign"]:
        return _MULTIPLIERS[word.lower()]
    if found["k"]:
        return 10**3
    if found["m"]:
        return 10**6
    letter = found["money"].strip().lower()
    return {"m": 10**6, "b": 10**9, "t": 10**12}[letter] if money else None


def _value(match: re.Match[str]) -> Fraction | None:
    """The value of a candidate found by _NUMBER, None if it is not well formed."""
    body = match["body"]
    if len(body) > _LONGEST:
        return None
    value = Fraction(int(body)) if body.isdigit() else _composed(body)
    if value is None or max(abs(value.numerator), value.denominator) > _LIMIT:
        return None
    negative = (match["sign"] == "-") != (match["inner_sign"] == "-")
    return -value if negative else value


def _composed(body: str) -> Fraction | None:
    if (times := _POWER_OF_TEN.search(body)) is not None:
        factor, power = _decimal(body[: times.start()]), _power("10", body[times.end() :])
        return None if factor is None or power is None else factor * power
    if "^" in body:
        return _power(*body.split("^", 1))
    body = re.sub(f"{_SPACE}+(?:(?:and|&){_SPACE})?", " " if "/" in body else "", body)
    return _fraction(body) if "/" in body else _decimal(body)


def _power(base: str, exponent: str) -> Fraction | None:
    number = _decimal(base)
    if number is None or not re.fullmatch(r"[-+]?[0-9]{1,4}", exponent):
        return None
    # The size is known before it is computed.
    digits = len(str(max(abs(number.numerator), number.denominator)))
    if digits * abs(int(exponent)) > 2 * _MAX_EXPONENT or (not number and int(exponent) <= 0):
        return None
    return number ** int(exponent)


def _decimal(body: str) -> Fraction | None:
    match = _DECIMAL.fullmatch(body)
    if match is None:
        return None
    exponent = match["e"] or "0"
    if len(exponent) > 9 or abs(int(exponent)) > _MAX_EXPONENT:
        return None
    whole = (match["whole"] or "0").replace(",", "").replace("'", "")
    return Fraction(f"{whole}.{match['part'] or '0'}") * Fraction(10) ** int(exponent)


def _fraction(body: str) -> Fraction | None:
    match = _FRACTION.fullmatch(body)
    if match is None:
        return None
    over, under = (_integer(match[name]) for name in ("over", "under"))
    if under == 0:
        return None
    if match["whole"] is None:
        return Fraction(over, under)
    return _integer(match["whole"]) + Fraction(over, under) if over < under else None


def _integer(text: str) -> int:
    return int(text.replace(",", "").replace("'", ""))
