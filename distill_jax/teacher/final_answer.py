"""The final answer at the end of a text that a model wrote.

These forms are read: `#### 72`, `\\boxed{72}`, `The answer is 72.`, `Final answer: 72` and
`Answer: 72`. The last `####` counts, wherever it is; if there is none, the last `\\boxed{}`. The
others count only at the end of the text, before closing phrases.
"""

import re
from typing import NamedTuple

from distill_jax.teacher.answer_text import LONGEST_ANSWER, answer_text
from distill_jax.teacher.sentences import sentence_spans
from distill_jax.text.formats import MARKER

_WINDOW = 2000  # the last sentences are looked for in so many characters of the last line
_BOX = "\\boxed{"
# A heading of Markdown, `#### Step 2`, is not an answer.
_HEADING = re.compile(
    r"#{4,6}[^\w\n]*+(?:(?:(?:step|part|(?:sub[- ]?)?question|q|problem)s?|answer|solution) *"
    r"#?[0-9]|(?:step|part|(?:sub[- ]?)?question|problem)s?[^\w\n]*(?:\n|$)|"
    r"(?:explanation|reasoning|solution|calculation)\b)",
    re.IGNORECASE,
)
_GOOD_WISHES = re.compile(
    r"\W*(?:please |just )?(?:let me know|i hope|hope (?:this|that|it)|feel free|"
    r"if you (?:have|need|would|want|'d)|is there anything|do you (?:have|need|want))\b",
    re.IGNORECASE,
)
_LEAD = r"(?:(?:so|thus|hence|then|and|therefore|finally|in conclusion)\b,? *){0,3}"
_ANSWER = r"(?:(?:the|my|our) +)?(?:(?:final|correct|right) +)?answer"
_ABOUT = r"(?: +(?:to|for) [^.?!:=\n]{1,80}?)?"
_VERB = r"(?: +(?:is|are|was|would be|will be|should be|must be|equals)\b(?: *:)?| *[:=])"
_START = r"(?:(?<![A-Za-z])|(?-i:(?<=[a-z])(?=The )))"  # `8 inchesThe answer is 8` occurs
_CLAUSE = re.compile(rf"{_START}{_LEAD}{_ANSWER}{_ABOUT}{_VERB}", re.IGNORECASE)
# On a line of its own before the answer: `**Final Answer**`, `Therefore, the answer is:`.
_LABEL = re.compile(rf"\W*{_LEAD}{_ANSWER}{_ABOUT}(?: +is)?\W*", re.IGNORECASE)
_BARE = re.compile(r"\W*answer\W*", re.IGNORECASE)


class Ending(NamedTuple):
    """A text taken apart.

    body    the text without the parts that only state the answer, and without `####`
    answer  one line of text, or None
    said    the removed part, as text that can be used as a solution: `The answer is 72.`, `72`
    """

    body: str
    answer: str | None
    said: str


def split_answer(text: str, *, bare_label: bool = True) -> Ending:
    """The final answer and the text without it. Linear in the text; never raises.

    A sentence that says more than the answer stays in the body: one with a reason in front
    (`Since 1 < 5, the answer is no`) or a calculation in it (`The answer is 48 + 24 = 72`).
    `bare_label` False: `Answer: 72` is not a final answer, because solutions have this label.
    """
    text, boxed = _unbox(_trimmed(text))
    start = text.rfind("\n") + 1
    mark = _last_mark(text)
    ending = None
    if mark < start:  # the last line has no mark, so it may be a label or a sentence
        ending = _from_label(text, start, bare_label) or _from_sentence(text, start, bare_label)
    if ending is None and mark >= 0:
        ending = _from_mark(text, mark)
    if ending is None and boxed is not None:
        ending = _from_box(text, *boxed)
    if ending is None:
        return Ending(without_marks(text), None, "")
    body = without_marks(_trimmed(ending.body))
    return Ending(body, ending.answer, without_marks(ending.said))


def _trimmed(text: str) -> str:
    """Without closing lines that have no letter or digit, and without `Let me know if ...!`"""
    lines = text.split("\n")
    while lines:
        last = _without_good_wishes(lines.pop())
        if re.search(r"\w", last):
            return "\n".join([*lines, last])
    return ""


def _without_good_wishes(line: str) -> str:
    end = len(line)
    window = max(0, end - _WINDOW)
    for start, _ in reversed(sentence_spans(line[window:])):
        if not _GOOD_WISHES.match(line, window + start):
            break
        end = window + start
    return line[:end].rstrip()


def _last_mark(text: str) -> int:
    """The place of the last `####` that is not a heading, or -1."""
    place = text.rfind(MARKER)
    while place >= 0:
        while place and text[place - 1] == "#":
            place -= 1
        if not _HEADING.match(text, place):
            return place
        place = text.rfind(MARKER, 0, place)
    return place


def _from_mark(text: str, place: int) -> Ending | None:
    rest, _, below = text[place:].lstrip("#").partition("\n")
    if not re.search(r"\w", rest) or _LABEL.fullmatch(rest):
        rest = below.strip().partition("\n")[0]
    if (label := _CLAUSE.match(rest.lstrip(" *_"))) is not None:
        rest = rest.lstrip(" *_")[label.end() :]
    answer = answer_text(rest)
    if answer is None:
        return None
    return _ending(text[:place], answer, rest)


def _from_label(text: str, start: int, bare_label: bool) -> Ending | None:
    """An answer on the last line, below a line that announces it."""
    above = _trimmed(text[:start])
    place = above.rfind("\n") + 1
    label = _LABEL.fullmatch(above, place)
    if label is None or (not bare_label and _BARE.fullmatch(above, place)):
        return None
    answer = answer_text(text[start:])
    return None if answer is None else _ending(text[:place], answer, text[start:])


def _from_sentence(text: str, start: int, bare_label: bool) -> Ending | None:
    """`The answer is 72.` or `Final answer: 72` as the last sentence."""
    window = max(start, len(text) - _WINDOW)
    clauses = list(_CLAUSE.finditer(text, window))
    if not clauses:
        return None
    clause = clauses[-1]
    value = text[clause.end() :].strip()
    answer = answer_text(value)
    last = sentence_spans(text[window:])[-1]
    if answer is None or clause.end() <= window + last[0]:  # another sentence follows
        return None
    before = text[start : clause.start()].rstrip(" *_#>\"'(")
    begins = not before or before[-1] in ".?!:;" or clause[0][0].isupper()
    if clause[0].rstrip()[-1] in ":=" and not re.search(r"\bis\b", clause[0]):  # a label
        bare = _BARE.fullmatch(clause[0]) is not None
        if not begins or (bare and not bare_label):
            return None
        return _ending(text[: start + len(before)], answer, value)
    said = text[clause.start() :].strip()
    if begins and "=" not in value:
        return Ending(text[: start + len(before)], answer, said)
    return Ending(text, answer, said)


def _from_box(text: str, place: int, content: str) -> Ending | None:
    answer = answer_text(content)
    if answer is None:
        return None
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line = text[start : end if end >= 0 else len(text)]
    if answer_text(line) == answer:  # only the box
        return _ending(text[:start], answer, content)
    return Ending(text[:start] + line, answer, line)


def _ending(body: str, answer: str, value: str) -> Ending:
    """Removes the label, but not a calculation after it: `#### 48 + 24 = 72`."""
    value = value.strip(" *_")
    body = body.rstrip()
    return Ending(f"{body}\n{value}".strip() if "=" in value else body, answer, value)


def _unbox(text: str) -> tuple[str, tuple[int, str] | None]:
    """The text with the content of the last `\\boxed{}` in its place, and (place, content)."""
    place = text.rfind(_BOX)
    if place < 0:
        return text, None
    depth, inside = 1, place + len(_BOX)
    for end in range(inside, min(len(text), inside + 5 * LONGEST_ANSWER)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            content = text[inside:end]
            return text[:place] + content + text[end + 1 :], (place, content)
    return text, None


def without_marks(body: str) -> str:
    """Without `####`: earlier answers are removed with their mark, headings lose it."""
    if MARKER not in body:
        return body.strip()
    lines = []
    for line in body.split("\n"):
        if _HEADING.match(line.lstrip()):
            line = line.lstrip(" \t#")
        if MARKER in line:
            line = line.partition(MARKER)[0].rstrip("# \t")
            if not line:
                continue
        lines.append(line)
    return "\n".join(lines).strip()
