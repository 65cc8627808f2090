"""One spelling for text that can be written in several ways: Unicode characters, LaTeX, markup.

Both sides of a comparison go through this, so that `⅜`, `\\frac{3}{8}` and `3/8` are the same text;
digits of other scripts, curly quotes and NFD become ASCII and NFC. No number is read here, and
nothing is evaluated.
"""

import re
import unicodedata

_LONGEST = 200  # characters between two braces of LaTeX, or two dollar signs
_DEPTH = 8  # braces in braces


def _characters(kind: str, first: int, last: int) -> dict[str, str]:
    """{character: its digits} of a kind of decomposition, `<super>` or `<fraction>`."""
    found = {}
    for code in range(first, last):
        tag, *parts = unicodedata.decomposition(chr(code)).split() or [""]
        if tag == kind:
            text = "".join(chr(int(part, 16)) for part in parts)
            found[chr(code)] = text.replace("\u2044", "/").replace("\u2212", "-")
    return found


_FRACTIONS = _characters("<fraction>", 0xBC, 0x218A)
_SUPERSCRIPTS = {
    sign: text
    for sign, text in _characters("<super>", 0xB2, 0x2080).items()
    if text in "0123456789+-"
}
_SUBSCRIPTS = {chr(0x2080 + digit): str(digit) for digit in range(10)}
_RAISED = re.compile(f"[{re.escape(''.join(_SUPERSCRIPTS))}]+")
_BUILT = re.compile(  # a fraction of small digits, `³⁄₈`
    f"([{re.escape(''.join(_SUPERSCRIPTS))}]+)[\u2044/]([{''.join(_SUBSCRIPTS)}]+)"
)
_VULGAR = re.compile(
    rf"(?:(?P<whole>[0-9])[ \u00a0]?)?(?P<sign>[{''.join(_FRACTIONS)}])(?P<more>[0-9])?"
)
_LOWERED = re.compile(f"(?<=[0-9])[{''.join(_SUBSCRIPTS)}]+")
_LOWER = str.maketrans(_SUBSCRIPTS)
# Dashes between a word and the text that it announces: `Answer \u2014 5`.
_DASH = re.compile(r"(?<=[^\W\d_]) [\u2013\u2014] ")

_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    **dict.fromkeys("\u2018\u2019\u201b\u02bc\u2032\uff07\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\uff02", '"'),
    **dict.fromkeys("\u2044\u2215\uff0f", "/"),
    **dict.fromkeys("\u00ba\u02da", "°"),
    "\u2236": ":",
    "\u066b": ".",
    "\u066c": ",",
    "\u3002": ".",
    "\u22c5": "·",
    "\u2022": "·",
}
_TABLE = str.maketrans(_SIGNS)

_WRAPPER = re.compile(
    r"\\(?:boxed|fbox|text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|"
    rf"operatorname|emph|bm|boldsymbol)\*? *\{{([^{{}}]{{0,{_LONGEST}}})\}}"
)
_PIECE = rf"(?: *\{{([^{{}}]{{0,{_LONGEST}}})\}}| *([0-9]))"
_LATEX_FRACTION = re.compile(rf"([0-9])? *\\[dtc]?frac{_PIECE}{_PIECE}(?=([0-9])?)")
_REPEATING = re.compile(rf"\\overline *\{{([^{{}}]{{0,{_LONGEST}}})\}}")
_ROOT = re.compile(rf"\\sqrt *\{{([^{{}}]{{0,{_LONGEST}}})\}}|\\sqrt\b")
_EXPONENT = re.compile(rf"\^ *\{{([^{{}}]{{0,{_LONGEST}}})\}}")
_DEGREES = re.compile(r"\^? *(?:\\circ\b|\{ *\\circ *\}|\\degree\b)")
_SPACES = re.compile(r"\\(?:[,;: ]|quad\b|qquad\b|thinspace\b)")
_NOTHING = re.compile(r"(?:\\(?:!|left\b|right\b|big\b|Big\b|displaystyle\b|[()\[\]]))+")
_NAMES = {
    **{"times": "×", "cdot": "·", "div": "÷", "pm": "±", "approx": "≈", "sim": "~"},
    **{"leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠", "lt": "<", "gt": ">"},
    **{"pi": "π", "infty": "∞", "ldots": "...", "dots": "...", "cdots": "..."},
    **{"pounds": "£", "euro": "€", "cent": "¢", "percent": "%", "minus": "-"},
}
_NAME = re.compile(rf"\\({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![A-Za-z]) ?")
_ESCAPED = re.compile(r"\\([$%#&_])")
_SIMPLE = re.compile(r"[-+]?[0-9][0-9,.]*")
# `$72$` is a formula, `$72` are dollars.
_FORMULA = re.compile(rf"(?<!\w)\$\$?(?=[^$\s])([^$\n]{{0,{_LONGEST}}})(?<=[^$\s])\$\$?(?![0-9])")
_SPACED_FORMULA = re.compile(rf"\$\$([^$]{{0,{_LONGEST}}})\$\$")

_BOLD = re.compile(r"(?<![\w)\s])\*\*|(?<!\S)\*\*(?=\S)|\*\*(?![\w(\s-])|(?<=[\w).])\*\*(?=\s)")
_EMPHASIS = re.compile(r"\A[*_]+(?=[^\W_]{3})|(?<=[^\W_]{3})[*_]+\Z")
_CODE = re.compile(r"`")
_UNDERLINED = re.compile(r"(?<!\w)__(?=\S)|(?<=\S)__(?!\w)")
_TAG = re.compile(
    r"</?(?:answer|final[ _]answer|b|strong|i|em|u|code|p|br|span)[ /]*>", re.IGNORECASE
)
_RAISED_TAG = re.compile(r"<sup>([-+]?[0-9]{1,4})</sup>", re.IGNORECASE)


def plain(text: str) -> str:
    """The text with one spelling for characters, LaTeX and Markdown's bold and code.

    >>> plain("１，０００"), plain("10³"), plain("3⅜"), plain("-\\\\$72"), plain("**it’s**")
    ('1,000', '10^3', '3 3/8', '-$72', "it's")
    >>> plain("$1\\\\frac{1}{2}$"), plain("1.5 \\\\times 10^{3}"), plain("1{,}000")
    ('1 1/2', '1.5 × 10^3', '1,000')
    """
    if not text.isascii():
        text = plain_characters(text)
    if "\\" in text or "{" in text or "$" in text:
        text = without_latex(text)
    if "*" in text or "_" in text or "`" in text or "<" in text:
        text = without_markup(text)
    return text


def plain_characters(text: str) -> str:
    """Digits of any script, dashes, quotes and spaces as ASCII has them; the rest as NFKC.

    Superscript digits become `^3`, characters such as `⅜` become `3/8`, and marks for the direction
    of writing are removed.
    """
    text = "".join(map(_character, text))
    text = _DASH.sub(": ", text).translate(_TABLE)
    text = _BUILT.sub(_built, text)
    text = _VULGAR.sub(_vulgar, text)
    text = _RAISED.sub(lambda run: "^" + "".join(_SUPERSCRIPTS[sign] for sign in run[0]), text)
    text = _LOWERED.sub(lambda run: "_" + run[0], text).translate(_LOWER)
    # Other characters for numbers (circled ones) never join the digits beside them.
    text = "".join(f" {sign} " if unicodedata.category(sign) == "No" else sign for sign in text)
    return unicodedata.normalize("NFKC", text).translate(_TABLE)


def without_latex(text: str) -> str:
    """Numbers, units and words of LaTeX as plain text; other commands stay as they are."""
    text = _ESCAPED.sub(_escaped, text)
    text = _SPACED_FORMULA.sub(r"\1", text)
    if text.count("$") > 1:
        text = _FORMULA.sub(r"\1", text)
    text = text.replace(_DOLLAR, "$")
    if "\\" not in text and "{" not in text:
        return text
    text = _SPACES.sub("\u2009", text.replace("{,}", ",").replace("\\\\", " "))
    text = _NOTHING.sub(_nothing, _DEGREES.sub("°", text))
    text = _NAME.sub(lambda name: _NAMES[name[1]] + " ", text) if "\\" in text else text
    for _ in range(_DEPTH):
        before = text
        text = _EXPONENT.sub(_exponent, text)
        text = _LATEX_FRACTION.sub(_latex_fraction, text)
        text = _REPEATING.sub(r"(\1)", text)
        text = _ROOT.sub(lambda root: "√" if root[1] is None else f"√({root[1]})", text)
        text = _WRAPPER.sub(r"\1", text)
        if text == before:
            break
    return text.replace("\u2009", " ")


def _nothing(commands: re.Match[str]) -> str:
    """A space if there is a digit on both sides, which would be another number without it."""
    before, after = commands.string[: commands.start()][-1:], commands.string[commands.end() :][:1]
    return "\u2009" if before.isdecimal() and after.isdecimal() else ""


def without_markup(text: str) -> str:
    """Without Markdown's bold and code and without HTML's tags of that kind; `2 ** 3` stays."""
    text = _TAG.sub("", _RAISED_TAG.sub(r"^\1", text)) if "<" in text else text
    return _UNDERLINED.sub("", _CODE.sub("", _BOLD.sub("", text)))


def without_emphasis(text: str) -> str:
    """Without stars and underscores at either end of words: `*Paris*`, `yes_`; `A*` stays.

    >>> without_emphasis("*Paris*"), without_emphasis("yes_"), without_emphasis("A*")
    ('Paris', 'yes', 'A*')
    """
    if len(text) > 2 and text[0] in "*_" and text[0] == text[-1]:
        text = text.strip(text[0])
    return _EMPHASIS.sub("", text)


_DOLLAR = "\ue000"  # of private use: a dollar sign that does not enclose a formula


def _escaped(sign: re.Match[str]) -> str:
    return _DOLLAR if sign[1] == "$" else sign[1]


def _character(sign: str) -> str:
    if sign < "\x80":
        return sign
    category = unicodedata.category(sign)
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    if category == "Zs":
        return " "
    return "" if category == "Cf" else sign


def _built(fraction: re.Match[str]) -> str:
    over = "".join(_SUPERSCRIPTS[sign] for sign in fraction[1])
    under = "".join(_SUBSCRIPTS[sign] for sign in fraction[2])
    before = fraction.string[: fraction.start()][-1:]
    return f" {over}/{under}" if before.isdigit() else f"{over}/{under}"


def _vulgar(fraction: re.Match[str]) -> str:
    text = _FRACTIONS[fraction["sign"]]
    more = fraction["more"] or ""
    if more and not text.endswith("/"):  # `⅟` comes before its denominator
        more = " " + more
    return f"{fraction['whole']} {text}{more}" if fraction["whole"] else f"{text}{more}"


def _latex_fraction(found: re.Match[str]) -> str:
    digit, over, over_digit, under, under_digit, following = found.groups()
    over = (over if over is not None else over_digit).strip()
    under = (under if under is not None else under_digit).strip()
    plain_parts = _SIMPLE.fullmatch(over) and _SIMPLE.fullmatch(under)
    if not plain_parts or (digit and over[0] in "+-"):
        return f"{digit or ''}({over})/({under})"
    space = " " if following else ""
    return f"{digit} {over}/{under}{space}" if digit else f"{over}/{under}{space}"


def _exponent(found: re.Match[str]) -> str:
    inner = found[1].strip()
    return f"^{inner}" if re.fullmatch(r"[-+]?[0-9]+|[A-Za-z]", inner) else f"^({inner})"
