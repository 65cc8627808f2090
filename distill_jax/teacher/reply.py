"""Reads a teacher's reply: subquestions with their solutions, or the steps of a chain.

Prompts ask for this format:

    Q: How many clips did she sell in May?
    A: She sold 48/2 = <<48/2=24>>24 clips in May.
    #### 24

Models write it in many ways; `parse_pairs` says which of them are read. Only arithmetic is
evaluated, by text/calculator.py. Nothing here raises, and everything is linear in the text.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from distill_jax.records import Step
from distill_jax.teacher.answer_text import answer_text
from distill_jax.teacher.final_answer import Ending, split_answer
from distill_jax.teacher.labels import Pair, pairs_from_labels, plain, without_bold
from distill_jax.teacher.sentences import sentence_spans
from distill_jax.teacher.thoughts import split_thought
from distill_jax.text.exact_values import parse_value

_FENCE = re.compile(r"^[ \t]*+(?:```|~~~)[^\n]*+\n?", re.MULTILINE)
_ANSWER_TAG = re.compile(r"^[ \t]*+<answer>", re.MULTILINE | re.IGNORECASE)
# Left over from the templates of prompts; `<br>` is a line break.
_TAG = re.compile(
    r"</?(?:solution(?: path)?|answer|final answer|calculation|step ?[0-9]{0,2})>",
    re.IGNORECASE,
)
_BREAK = re.compile(r"(?:<br ?/?>|\r|\n)\s*+", re.IGNORECASE)
_STARS = re.compile(r"[ \t]\*\*(?=[ \t]|$)")  # between question and solution, as in GSM8K
_CHATTER = re.compile(
    r"\W*(?:sure|certainly|of course|absolutely|okay|ok|here(?:'s| is| are)|below (?:is|are)|"
    r"let's (?:break|solve|work|go))\b.{0,200}[:!]\W*",
    re.IGNORECASE,
)
_ASKS = re.compile(r"\?[^\w?]*+$")
# A question may follow a calculation without a full stop, or a full stop without a space.
_NEXT_QUESTION = re.compile(r"(?<=[\w%])[ ]++(?=(?:How|What|Which) [a-z])|\.(?=(?:How|What) [a-z])")
_TWO_WORDS = re.compile(r"[^\W\d_]\W+[^\W\d_]")


@dataclasses.dataclass(frozen=True)
class Reply:
    """Steps, () if none could be read, and the final answer, None if there is none."""

    steps: tuple[Step, ...]
    answer: str | None


def parse_pairs(text: str) -> Reply:
    """Pairs of a subquestion and its solution, and the final answer (see final_answer.py).

    These forms are read, in this order of preference:

    - JSON: a list, or an object with "steps", of {"subquestion" or "question", "solution" or
      "answer"}; also in a fence and with words around it
    - labels at the beginning of a line: `Q:`/`A:`, `Q1.`, `**Question 1:**`, `Sub-question 1)`,
      `Solution:` and the like, in bold, numbered, as headings or bullets; a solution may go on
      below, and follow its question without a label
    - lines `question ** solution`, as in GSM8K
    - running text and numbered questions, as `parse_dialogue` reads them

    Thoughts (`<think>...</think>` and the other marks of teacher/thoughts.py) are dropped; after a
    thought that is never closed, nothing is read. A question without a solution is left out. Text
    that only states the final answer is removed, unless the last question has no other solution:
    then it is `The answer is 72.`, and `72` for `#### 72`. A last solution that is only a number,
    yes or no is the final answer too.
    """
    return _marked(text) or parse_dialogue(text)


def parse_dialogue(text: str) -> Reply:
    """Pairs of running text in which questions and answers alternate, and the final answer.

    Every sentence that ends in a question mark is a question; the text up to the next one is its
    answer. Questions in a row are one. Text before the first question is left out.
    """
    ending = split_answer(without_bold(_FENCE.sub("", _visible(text))))
    body = _NEXT_QUESTION.sub(lambda match: match[0].rstrip(" ") + "\n", ending.body)
    questions: list[str] = []
    spans: list[tuple[int, int]] = []  # of the solutions
    for start, end in sentence_spans(body):
        sentence = body[start:end]
        if not _is_question(sentence):
            if questions:
                first = spans[-1][0] if spans[-1][1] else start
                spans[-1] = first, end
        elif questions and not spans[-1][1]:
            questions[-1] += " " + plain(sentence, question=True)
        else:
            questions.append(sentence)
            spans.append((0, 0))
    solutions = [body[start:end] for start, end in spans]
    return _reply(map(Pair, questions, solutions), ending)


def parse_turns(turns: Sequence[str]) -> Reply | None:
    """Pairs of messages that ask and answer in turn, and the final answer; None if they do not.

    The first message asks, every second one ends in a question mark and the others do not. A last
    one that follows an answer belongs to it, so that it may state the final answer.

    >>> parse_turns(["How many in 2 bags?", "2*3 = 6", "The answer is 6."])
    Reply(steps=(Step(subquestion='How many in 2 bags?', solution='2*3 = 6'),), answer='6')
    """
    said = [_FENCE.sub("", _visible(turn)).strip() for turn in turns]
    if len(said) % 2 and len(said) > 1 and not _is_question(said[-1]):
        said[-2:] = ["\n".join(said[-2:])]
    asked = [_is_question(text) for text in said]
    if not said or asked != [True, False] * (len(said) // 2):
        return None
    ending = split_answer(without_bold(said[-1]))
    pairs = [Pair(*said[place : place + 2]) for place in range(0, len(said), 2)]
    return _reply([*pairs[:-1], Pair(pairs[-1].question, ending.body)], ending)


def parse_chain(text: str) -> Reply:
    """One step per line that is not empty, as it is written, and the final answer.

    Thoughts, fences, lines with only punctuation, an opening such as `Sure! Here is my solution:`,
    and text that only states the final answer are left out.
    """
    ending = split_answer(_FENCE.sub("", _visible(text)))
    lines = [line.strip() for line in ending.body.split("\n") if re.search(r"\w", line)]
    if len(lines) > 1 and _CHATTER.fullmatch(lines[0]):
        lines = lines[1:]
    return Reply(tuple(Step(None, line) for line in lines), ending.answer)


def with_thought(reply: Reply, thought: str) -> Reply:
    """The reply with the thought before it as its steps, one per line.

    The answer is that of the reply, or else the thought's. A reply without a thought stays.
    """
    chain = parse_chain(thought)
    return Reply(chain.steps, reply.answer or chain.answer) if chain.steps else reply


def has_pairs(text: str) -> bool:
    """Whether a text is marked as pairs, or begins with a question as a dialogue does."""
    if _marked(text) is not None:
        return True
    start = without_bold(_visible(text)[:1000])
    return any(_is_question(start[slice(*span)]) for span in sentence_spans(start)[:1])


def _marked(text: str) -> Reply | None:
    """The pairs of all styles but running text; None if it is none of them."""
    text = _visible(text)
    found = _json_value(text)
    if found is not None:
        return _from_json(*found)
    text = _FENCE.sub("", text)
    if text.lstrip()[:1] in ("{", "["):  # JSON that is cut off
        return Reply((), None)
    ending = split_answer(without_bold(text), bare_label=False)
    labelled = pairs_from_labels(ending.body, final=ending.answer is None)
    if labelled is not None:
        pairs, answer = labelled
        return _reply(pairs, ending if answer is None else ending._replace(answer=answer))
    lines = [line for line in text.split("\n") if line.strip()]
    if 2 * sum(len(_STARS.findall(line)) == 1 for line in lines) < max(1, len(lines)):
        return None
    ending = split_answer(text)
    return _reply((_starred(line) for line in ending.body.split("\n")), ending)


def _visible(text: str) -> str:
    """The text without thoughts; "" if the thought is not closed."""
    text = split_thought(text).said.encode("utf-8", "replace").decode()  # no lone surrogates
    text = _BREAK.sub("\n", text)
    return _TAG.sub("", _ANSWER_TAG.sub("Final answer: ", text))


def _reply(pairs: Iterable[Pair], ending: Ending) -> Reply:
    cleaned = [Pair(plain(pair.question, question=True), plain(pair.solution)) for pair in pairs]
    if cleaned and not cleaned[-1].solution:
        cleaned[-1] = Pair(cleaned[-1].question, plain(ending.said))
    steps = tuple(Step(*pair) for pair in cleaned if pair.question and pair.solution)
    answer = ending.answer
    if answer is None and steps and "=" not in steps[-1].solution:
        value = answer_text(steps[-1].solution) or ""
        known = parse_value(value) is not None or value.lower() in ("yes", "no", "true", "false")
        answer = value if known else None
    return Reply(steps, answer)


def _starred(line: str) -> Pair:
    parts = _STARS.split(line, maxsplit=1)
    return Pair(parts[0], parts[1]) if len(parts) == 2 else Pair("", line)


def _is_question(sentence: str) -> bool:
    return bool(_ASKS.search(sentence) and _TWO_WORDS.search(sentence))


def _json_value(text: str) -> tuple[Any, str] | None:
    """(the first JSON value with pairs, the text below it), or None."""
    for start in sorted(text.find(bracket) for bracket in "[{"):
        try:
            value, end = json.JSONDecoder().raw_decode(text, max(start, 0))
        except (ValueError, RecursionError):
            continue
        if start >= 0 and _json_pairs(value):
            return value, text[end:]
    return None


def _json_pairs(value: Any) -> list[Pair]:
    steps = value.get("steps") if isinstance(value, dict) else value
    rows = [row for row in steps if isinstance(row, dict)] if isinstance(steps, list) else []
    return [
        Pair(_field(row, "subquestion", "question"), _field(row, "solution", "answer"))
        for row in rows
        if _field(row, "subquestion", "question")
    ]


def _from_json(value: Any, below: str) -> Reply:
    *pairs, last = _json_pairs(value)
    ending = split_answer(last.solution)
    given = _field(value, "final_answer", "answer") if isinstance(value, dict) else ""
    answer = answer_text(given) or split_answer(below).answer or ending.answer
    return _reply([*pairs, Pair(last.question, ending.body)], ending._replace(answer=answer))


def _field(row: dict[str, Any], *names: str) -> str:
    """The first of these fields that has text or a number, as text."""
    for name in names:
        value = row.get(name)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str) or (isinstance(value, int | float) and value == value):
            return str(value)
    return ""
