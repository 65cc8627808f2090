"""Where sentences end, for replies that are running text."""

import re

_CLOSING = r"[\"')\]*_\u201d\u2019]*+"  # quotes, parentheses, bold; re knows \u escapes
_END = re.compile(
    rf"(?<![.?!])[.?!]++{_CLOSING}(?=\s|$)|\?{_CLOSING}(?=[A-Z])|\n"  # linear: no run is read twice
)
_TITLE = re.compile(
    r"(?:^|[^\w.])(?:Mr|Mrs|Ms|Dr|St|Prof|Mt|Gen|Capt|Rev|Lt|Col|vs|e\.g|i\.e|cf)\.$"
)
# These may end a sentence too: what follows decides.
_EITHER = re.compile(r"(?:^|[^\w.])(?:Jr|Sr|etc|approx|a\.m|p\.m|[A-Z](?:\.[A-Z])*)\.$")
_OPENER = re.compile(
    r"\s*(?:How|What|Which|Who|Whose|When|Where|Why|Is|Are|Was|Were|Do|Does|Did|Can|Could|Would|"
    r"The|This|That|There|It|He|She|They|We|So|Then|Thus|Therefore|Hence|In|If|For|After|Now|A)\b"
)
_NUMBERING = re.compile(r"\s*\(?[0-9]{1,3}\.")  # `2.` before the text that it numbers
_LOOK_BACK = 16  # characters, more than any of the abbreviations has


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence, without the white space around it. Linear in the text.

    A sentence ends at `.`, `?` or `!` before white space, and with its line. It does not end at
    `Mr.`, `3.50`, `Samuel L. Jackson`, at a numbering `2.`, nor before a small letter.

    >>> text = "Mr. Ho has $3.50. How many?"
    >>> [text[start:end] for start, end in sentence_spans(text)]
    ['Mr. Ho has $3.50.', 'How many?']
    """
    spans, start = [], 0
    for match in _END.finditer(text):
        if match[0] == "\n" or _ends(text, start, match):
            spans.append((start, match.end()))
            start = match.end()
    spans.append((start, len(text)))
    return [span for left, right in spans if (span := _stripped(text, left, right)) is not None]


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether the end mark really ends the sentence that begins at `start`."""
    end, mark = match.end(), match[0]
    small = text[end : end + 2].lstrip(" ")[:1].islower()
    if mark[0] != "." or small:
        return not small or mark[-1] == "?"
    if end - start <= _LOOK_BACK and _NUMBERING.fullmatch(text, start, end):
        return "?" in text[max(0, start - 2) : start]  # `How many? 72.` is not a numbering
    before = text[max(start, end - _LOOK_BACK) : end]
    if _TITLE.search(before):
        return False
    return not _EITHER.search(before) or _OPENER.match(text, end) is not None


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    part = text[start:end]
    left = start + len(part) - len(part.lstrip())
    right = end - (len(part) - len(part.rstrip()))
    return (left, right) if left < right else None
