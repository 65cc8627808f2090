"""The words around a number, and whether two answers mean the same: `5 km` is `5 kilometers`.

Units are never converted. Case, plural and the spellings in the table below do not matter; no other
units are the same. docs/evaluating.md shows the table. A word may mean several things (`pound` is
money or mass): two words are the same if they share a meaning.
"""

import re
from collections.abc import Sequence

# One line per meaning; a word on several lines has several. Written in lower case, singular.
SYNONYMS = """
mm millimeter millimetre
cm centimeter centimetre
m meter metre
km kilometer kilometre
in inch "
ft foot feet '
yd yard
mi mile
mg milligram milligramme
g gram gramme gm
kg kilo kilogram kilogramme
t ton tonne
lb lbs pound
oz ounce
ml milliliter millilitre
cl centiliter centilitre
l liter litre
gal gallon
qt quart
pt pint
tbsp tablespoon
tsp teaspoon
ms millisecond
s sec second
min minute
h hr hour
d day
wk week
mo month
yr year
° deg degree
c celsius centigrade
f fahrenheit
w watt
kw kilowatt
kwh kilowatt-hour
kb kilobyte
mb megabyte
gb gigabyte
tb terabyte
% percent pct
x time
no. number
pc piece
am
pm
usd us$ dollar $ buck
aud au$ a$ dollar $
cad ca$ c$ dollar $
nzd nz$ dollar $
hkd hk$ dollar $
sgd s$ dollar $
twd nt$ dollar $
mxn mx$ peso $
php ₱ peso $
eur euro €
gbp £ pound sterling quid
jpy ¥ yen
cny rmb ¥ yuan
inr ₹ rs rupee
pkr rs rupee
myr rm ringgit
brl r$ real reais
zar r rand
sek kr krona kronor
nok kr krone kroner
dkk kr krone kroner
chf franc
pln zloty złoty
krw ₩ won
rub ₽ ruble rouble
try ₺ lira
thb ฿ baht
vnd ₫ dong
ils ₪ shekel
ngn ₦ naira
uah ₴ hryvnia
bdt tk ৳ taka
¢ c cent
"""
_IRREGULAR = {
    **{"feet": "foot", "men": "man", "women": "woman", "children": "child", "people": "person"},
    **{"mice": "mouse", "teeth": "tooth", "geese": "goose", "dice": "die", "pence": "penny"},
    **{"halves": "half", "kids": "kid", "kronor": "krona", "kroner": "krone"},
}
# Words that do not say what is counted.
_FILLERS = frozenset(
    [
        *("a", "an", "the", "of", "in", "all", "total", "altogether", "overall", "final"),
        *("about", "approximately", "approx", "roughly", "around", "exactly", "only", "just"),
        *("nearly", "almost", "so", "thus", "hence", "therefore", "then", "there", "it", "they"),
        *("we", "i", "he", "she", "you", "them", "this", "that", "these", "those"),
        *("answer", "result", "value", "number"),
    ]
)
# The text before a number, up to one of these, introduces it: `Tom has 5`, `x = 5`, `Total: 5`.
_LEAD_IN = re.compile(
    r".*(?:[=:≈→]|\b(?:is|are|was|were|be|has|have|had|equals?|costs?|needs?|takes?|gets?|gives?|"
    r"makes?|earns?|pays?|spends?|answer)\b)",
    re.IGNORECASE | re.DOTALL,
)
# A full stop after an abbreviation, `sq. ft` or `mi. per hr`, ends no clause.
_SQUARE_OR_CUBIC = re.compile(r"\b(sq|cu)\. ?(?=[a-z])", re.IGNORECASE)
_CLAUSE_END = re.compile(
    r"[.;!?](?=\s(?!per\b)|$)|,(?= )|\n| (?:because|since|so|as|which|after|and|but)\b"
)
_INITIALS = re.compile(r"\b(?:[A-Za-z]\.){2,}|\b(?:[A-Za-z]\.){1,}[A-Za-z]\b")
_POWER = {"2": "square", "3": "cubic"}
_RAISED_UNIT = re.compile(
    r"\b(mm|cm|dm|m|km|in|ft|yd|mi|inch|inches|feet|foot|meters?|metres?)\^?([23])\b"
)
_JOINED = re.compile(r"\b(sq|cu)(?:\.? (?=[a-z])|(?=(?:mm|cm|m|km|in|ft|yd|mi)\b))")
_SPELLED = (
    (re.compile(r"\bper cent\b"), "percent"),
    (re.compile(r"\bpercentage(?: points?)?\b"), "percent"),
    (re.compile(r"\b(?:kph|kmph)\b"), "km per h"),
    (re.compile(r"\bmph\b"), "mile per h"),
    (re.compile(r"\bcc\b"), "cubic cm"),
    (re.compile(r"(?<=[a-z0-9²³%]) ?/ ?(?=[a-z])|^ ?/ ?(?=[a-z])"), " per "),
)
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*|[°%\"'<>≤≥≠#+]|[$£€¥¢₹]")


def _readings() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for line in SYNONYMS.split("\n"):
        meaning, *_ = words = line.split() or [""]
        for word in words:
            table.setdefault(word, set()).add(meaning)
    return {word: frozenset(meanings) for word, meanings in table.items() if word}


_READINGS = _readings()


def same_around(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two equal numbers can mean the same, by the words around them.

    Both come from `words_around`. If one side has no words, they can; otherwise the words of one
    side must contain the other's.

    >>> same_around(words_around("", "red apples"), words_around("", "apple"))
    True
    >>> same_around(words_around("$", ""), words_around("", "dollars"))
    True
    >>> same_around(words_around("", "am"), words_around("", "pm"))
    False
    """
    fewer, more = sorted((some, others), key=len)
    left = list(more)
    for word in fewer:
        meanings = _meanings(word)
        place = next((i for i, other in enumerate(left) if meanings & _meanings(other)), None)
        if place is None:
            return False
        del left[place]
    return True


def words_around(before: str, after: str, currency: str = "") -> list[str]:
    """The words that say what a number counts, in lower case; `before` and `after` it, one line.

    >>> words_around("Tom has ", " red apples."), words_around("", " km/h")
    (['red', 'apples'], ['km/h'])
    """
    if not before and not after and not currency:
        return []
    after = _SQUARE_OR_CUBIC.sub(r"\1 ", after)
    end = _CLAUSE_END.search(after)
    after = after[: end.start()] if end else after
    before = _LEAD_IN.sub("", before)
    found = [currency.lower().strip(" .")] if currency else []
    return [*found, *_words(before), *_words(after)]


def without_unit_powers(text: str) -> str:
    """A text without the exponents of units of length, because `m^2` is not an expression.

    >>> without_unit_powers("20 m^2"), without_unit_powers("2x^2")
    ('20 m', '2x^2')
    """
    return _RAISED_UNIT.sub(r"\1", text)


def _words(text: str) -> list[str]:
    text = _INITIALS.sub(lambda letters: letters[0].replace(".", ""), text.strip(" \"'")).lower()
    text = _RAISED_UNIT.sub(lambda unit: f"{_POWER[unit[2]]} {unit[1]}", text)
    text = _JOINED.sub(lambda short: "square " if short[1] == "sq" else "cubic ", text)
    for pattern, replacement in _SPELLED:
        text = pattern.sub(replacement, text)
    text = text.replace("cubed ", "cubic ").replace("squared ", "square ")
    found = _WORD.findall(text)
    words = [word for word in found if word not in _FILLERS]
    if found and found[-1] == "in":  # `5 in` is a length, `5 in all` is not
        words.append("in")
    return _compounds(words)


def _compounds(words: list[str]) -> list[str]:
    """`square m` is one unit, and so is `km/h`: `5 m` is not `5 square m`."""
    joined: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        if word in ("square", "cubic") and i + 1 < len(words):
            word, i = f"{word} {words[i + 1]}", i + 1
        elif word == "per" and i + 1 < len(words):
            whole = f"per {words[i + 1]}"
            if joined and _is_measure(joined[-1]):
                joined[-1] = f"{joined[-1]}/{words[i + 1]}"
                i += 2
                continue
            word, i = whole, i + 1
        joined.append(word)
        i += 1
    return joined


_MEASURES = frozenset(
    [
        *("mm", "cm", "m", "km", "in", "ft", "yd", "mi", "mg", "g", "kg", "t", "lb", "oz"),
        *("ml", "cl", "l", "gal", "qt", "pt", "w", "kw", "kwh", "kb", "mb", "gb", "tb"),
    ]
)


def _is_measure(word: str) -> bool:
    return bool(_simple_meanings(word.removeprefix("square ").removeprefix("cubic ")) & _MEASURES)


def _meanings(word: str) -> frozenset[str]:
    """The possible meanings of a word or a compound, in the singular."""
    for separator in ("/", " "):
        if separator in word:
            first, _, last = word.partition(separator)
            return frozenset(
                f"{one}{separator}{other}" for one in _meanings(first) for other in _meanings(last)
            )
    return _simple_meanings(word)


def _simple_meanings(word: str) -> frozenset[str]:
    if word in _READINGS:
        return _READINGS[word]
    singular = [word, _IRREGULAR.get(word, word)]
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        singular.append(word[:-1])
        if word.endswith("es"):
            singular.append(word[:-2])
        if word.endswith("ies"):
            singular.append(word[:-3] + "y")
        if word.endswith("ves"):
            singular += [word[:-3] + "f", word[:-3] + "fe"]
    known = [_READINGS[each] for each in singular if each in _READINGS]
    return known[0] if known else frozenset(singular)
