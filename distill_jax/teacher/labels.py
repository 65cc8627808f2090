"""Labels such as `Q:` and `**Answer 1:**` in a reply, and text without markup."""

import dataclasses
import re
from collections.abc import Iterator
from typing import NamedTuple

from distill_jax.teacher.answer_text import answer_text
from distill_jax.teacher.final_answer import without_marks


class Pair(NamedTuple):
    """A subquestion and its solution as they were read; either may be empty."""

    question: str
    solution: str


def _label(words: str, letter: str) -> str:
    """A label; its number, if it has one, is the group. A number may replace the colon."""
    return (
        rf"(?:{words}[ ]?|(?-i:{letter})(?=[0-9(:\uff1a]))"
        r"(?:\#?\(?([0-9]{1,3})(?:[.-][0-9]{1,2})?[a-d]?\)?)?"
        r"(?:[ ]?[:\uff1a]|"
        r"(?<=[0-9)])(?:\)|\.(?=\s|$)|[ ]?[-\u2013\u2014](?=\s)|[ \t]*(?=\n|$)))\s*"
    )


_QUESTION = _label(r"(?:sub[- ]?)?question", "S?Q")
_SOLUTION = _label(r"(?:sub[- ]?)?(?:answer|solution)", "S?A")
_BULLET = r"(?:[>|\u2022*_~]|\#(?=[\s#*_])|[-+\u2013](?=\s))\s*"
_NUMBERING = r"(?:\(?[0-9]{1,3}[.)](?=\s)|step[ ]?[0-9]{1,3}[ ]?[:.)])\s*"

_QUESTION_LINE = re.compile(rf"\s*(?:{_BULLET})*+(?:{_NUMBERING})?{_QUESTION}", re.IGNORECASE)
_SOLUTION_LINE = re.compile(rf"\s*(?:{_BULLET})*+(?:{_NUMBERING})?{_SOLUTION}", re.IGNORECASE)
# Labels inside a line: `Q: How many? A: 24. Q: And in all?`
_INLINE = re.compile(
    r"(?<=[.?!])[ \t]++(?=(?:(?:[Ss]ub[- ]?)?[Qq]uestion|Answer|Solution|[QA])[ ]?[0-9]{0,3}:)"
)
_NO_QUESTION = rf"(?:{_NUMBERING})?(?:{_QUESTION}|{_SOLUTION})"
_OPENING_OF_SOLUTION = re.compile(rf"(?:{_BULLET}|{_NO_QUESTION})*+", re.IGNORECASE)
_OPENING_OF_QUESTION = re.compile(
    rf"(?:{_BULLET}|{_NUMBERING}|{_QUESTION}|{_SOLUTION})*+", re.IGNORECASE
)
# `2**3` and `2 ** 3` are powers, not bold.
_BOLD = re.compile(r"(?<![\w)\s])\*\*|\*\*(?![\w(\s-])|(?<=\s)\*\*(?=\S)|(?<=[\w)])\*\*(?=\s)")
_CODE = re.compile(r"`([^`\n]++)`")
_ITALIC = re.compile(r"([*_])(?=\S)([^*_]+)(?<=\S)\1")


def without_bold(text: str) -> str:
    """Without `**` and pairs of backticks; `2 ** 3` stays."""
    return _CODE.sub(r"\1", _BOLD.sub("", text))


def plain(text: str, *, question: bool = False) -> str:
    """A subquestion (on one line) or a solution, without markup, bullets and labels."""
    lines = (_italic(line.strip()) for line in without_marks(without_bold(text)).split("\n"))
    text = (" " if question else "\n").join(line for line in lines if re.search(r"\w", line))
    opening = _OPENING_OF_QUESTION if question else _OPENING_OF_SOLUTION
    return text[opening.match(text).end() :].rstrip(" *_\t\n")  # type: ignore[union-attr]  # never None


@dataclasses.dataclass
class _Open:
    number: str | None
    question: list[str]
    solutions: list[list[str]]


def pairs_from_labels(text: str, *, final: bool) -> tuple[list[Pair], str | None] | None:
    """(pairs, final answer) of a labelled text, None if no line begins with a question's label.

    `final`: a second solution of the last question, `Answer: 72`, is read as the final answer. A
    solution belongs to the question with its number, or else to the one above it.
    """
    found: list[_Open] = []
    below: list[str] = []  # the part that a line without a label belongs to
    for line in _labelled_lines(text):
        if label := _QUESTION_LINE.match(line):
            below = [line[label.end() :]]
            found.append(_Open(label[1], below, []))
        elif found and (label := _SOLUTION_LINE.match(line)):
            below = [line[label.end() :]]
            if (owner := _owner(found, label[1])) is not None:
                owner.solutions.append(below)
        else:
            below.append(line)
    if not found:
        return None
    answer = None
    if final and len(found[-1].solutions) > 1:
        answer = answer_text("\n".join(found[-1].solutions.pop()))
    return [_pair(each) for each in found], answer


def _labelled_lines(text: str) -> Iterator[str]:
    """Lines with at most one label, at the beginning."""
    for line in text.split("\n"):
        label = _QUESTION_LINE.match(line) or _SOLUTION_LINE.match(line)
        behind = label.end() if label else 0
        first, *others = _INLINE.split(line[behind:])
        yield line[:behind] + first
        yield from others


def _owner(found: list[_Open], number: str | None) -> _Open | None:
    if number is None or found[-1].number in (None, number):
        return found[-1]
    # All questions may come before all solutions.
    return next((each for each in reversed(found) if each.number == number), None)


def _pair(each: _Open) -> Pair:
    if each.solutions:
        solution = "\n".join(line for lines in each.solutions for line in lines)
        return Pair("\n".join(each.question), solution)
    for i, line in enumerate(each.question):
        if line.rstrip(" *_\"'").endswith("?"):
            return Pair("\n".join(each.question[: i + 1]), "\n".join(each.question[i + 1 :]))
    return Pair("\n".join(each.question), "")


def _italic(line: str) -> str:
    match = _ITALIC.fullmatch(line)
    return match[2] if match else line
