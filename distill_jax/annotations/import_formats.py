"""Common layouts of files with answers, recognised by their keys.

Each format says which keys its rows have, and how a row becomes generations: the prompt, and the
text that was written. To add one, write such a function and a line in FORMATS.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from distill_jax.annotations import predictions
from distill_jax.annotations.generation import Generation, Malformed, Row
from distill_jax.records import Step
from distill_jax.teacher.answer_text import answer_text
from distill_jax.teacher.message import Message, read_content, read_message, read_reasoning
from distill_jax.teacher.reply import parse_turns
from distill_jax.text.formats import MARKER


class Format(NamedTuple):
    """A layout: rows have at least these keys."""

    name: str
    keys: tuple[str, ...]
    generations: Callable[[Row], Iterable[Generation]]

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.keys)})"


def recognise(rows: Sequence[Row]) -> Format | None:
    """The first of FORMATS whose keys more than half of the rows have."""
    for form in FORMATS:
        if 2 * sum(all(key in row for key in form.keys) for row in rows) > len(rows):
            return form
    return None


def _own(row: Row) -> list[Generation]:
    steps = row["steps"]
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise Malformed("field 'steps' is not a list of objects")
    source = row.get("source")
    own = source if isinstance(source, dict) and isinstance(source.get("kind"), str) else None
    read = tuple(
        Step(_text_or_none(step, "subquestion"), _text(step, "solution")) for step in steps
    )
    prompt = _text(row, "question") if "question" in row else ""
    answer = row["answer"]
    # Kept as it was written: an answer such as `-` is right in our files, and none in prose.
    answer = " ".join(answer.split()) or None if isinstance(answer, str) else _answer(answer)
    return [Generation(prompt, "", answer, read, source=own)]


def _fine_tune_cot(row: Row) -> list[Generation]:
    # itsnamgyu/reasoning-teacher, src/data/completion_dataset.py: zero-shot CoT has two calls.
    text = _text(row, "completion")
    reasons = [_finish(row, "reasoning_finish_reason") or "", _finish(row) or ""]
    if "reasoning_completion" in row:
        last = text.strip().partition("\n")[0]
        text = f"{_text(row, 'reasoning_completion')}\nTherefore, the answer is {last}"
    elif "-->" in text:  # the template of its students
        rationale, _, last = text.rpartition("-->")
        text = f"{rationale}\n{MARKER} {last.strip().removesuffix('END')}"
    reason = next((each for each in reasons if each not in ("", "stop")), reasons[1])
    return [Generation(_text(row, "question"), text, finish_reason=reason or None)]


def _open_r1(row: Row) -> list[Generation]:
    prompt = _text(row, "problem" if "problem" in row else "question")
    texts, reasons = row["generations"], row.get("finish_reasons")
    if not isinstance(texts, list):
        raise Malformed("field 'generations' is not a list")
    reasons = reasons if isinstance(reasons, list) else []
    reasons = [reason if isinstance(reason, str) else "" for reason in reasons]
    reasons += [None] * (len(texts) - len(reasons))
    return [
        Generation(prompt, text if isinstance(text, str) else "", finish_reason=reason)
        for text, reason in zip(texts, reasons, strict=False)
    ]


def _mentor_kd(row: Row) -> list[Generation]:
    # 2hojae/mentor-kd, scripts/data/augment_train_data.py: `answer` is the known one, and
    # `completion` what the model said; without it `initial_correct` tells whether they agree.
    answer = _answer(row["completion"] if "completion" in row else row["answer"])
    if "completion" not in row and row.get("initial_correct") is False:
        answer = ""
    return [Generation(_text(row, "input"), _text(row, "chain"), answer or "")]


def _messages(row: Row) -> list[Generation]:
    return [_last_exchange(row["messages"], "role", "content", _CHAT, row)]


def _conversations(row: Row) -> list[Generation]:
    sides = ("human", "user"), ("gpt", "assistant")
    return [_last_exchange(row["conversations"], "from", "value", sides, row)]


def _prompt_completion(row: Row) -> list[Generation]:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        return [_last_exchange([*prompt, *completion], "role", "content", _CHAT, row)]
    return [_generation(row, _text(row, "prompt"), _text(row, "completion"))]


def _alpaca(row: Row) -> list[Generation]:
    given = row.get("input") or ""
    prompt = _text(row, "instruction") + (f"\n{given}" if isinstance(given, str) else "")
    return [_generation(row, prompt, _text(row, "output"))]


def _fields(prompt: str, text: str) -> Callable[[Row], list[Generation]]:
    """Rows that name what was asked and what was written by these two keys."""

    def generations(row: Row) -> list[Generation]:
        return [_generation(row, _text(row, prompt), _text(row, text))]

    return generations


PREDICTIONS = Format("predictions of distill_jax", predictions.KEYS, predictions.generations)
STEP_BY_STEP = Format(
    "Distilling step-by-step", ("input", "completion"), _fields("input", "completion")
)
FORMATS = (
    Format("annotations of distill_jax", ("answer", "steps"), _own),
    PREDICTIONS,
    Format(
        "Fine-tune-CoT",
        ("sample_index", "completion_index", "question", "completion"),
        _fine_tune_cot,
    ),
    Format("open-r1", ("problem", "generations"), _open_r1),
    Format("open-r1", ("question", "generations"), _open_r1),
    Format("NeMo-Skills", ("problem", "generation"), _fields("problem", "generation")),
    Format("NeMo-Skills", ("question", "generation"), _fields("question", "generation")),
    Format("distilabel", ("instruction", "generation"), _fields("instruction", "generation")),
    Format("Mentor-KD", ("input", "chain", "answer"), _mentor_kd),
    Format("chat messages", ("messages",), _messages),
    Format("ShareGPT", ("conversations",), _conversations),
    Format("prompt and completion", ("prompt", "completion"), _prompt_completion),
    Format("alpaca", ("instruction", "output"), _alpaca),
    Format("GSM8K", ("question", "answer"), _fields("question", "answer")),
)


_CHAT = ("user",), ("assistant",)


def _last_exchange(
    messages: Any, who: str, what: str, sides: tuple[Sequence[str], Sequence[str]], row: Row
) -> Generation:
    """The last question and, below it, the last answer.

    If all messages that answer ask and answer in turn themselves, they are the steps, and the first
    message that asks has the problem; what is said between them ("Go on.") is left out.

    `sides`: the names of those who ask, and of those who answer.
    """
    asking, answering = sides
    asked: str | None = None
    first: str | None = None
    written: Message | None = None
    turns: list[str] = []
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            raise Malformed("a message is not an object")
        if message.get(who) in asking:
            asked, written = read_content(message.get(what)).text, None
            first = asked if first is None else first
        elif message.get(who) in answering:
            written = read_message(message, what)
            turns.append(written.text or "")
    dialogue = parse_turns(turns)
    if first is not None and dialogue is not None:
        text, answer = "\n".join(turns), dialogue.answer or ""
        return Generation(first, text, answer, dialogue.steps, finish_reason=_finish(row))
    if asked is None or written is None or (written.text is None and not written.reasoning):
        raise Malformed(f"no message of {answering[-1]} below one of {asking[-1]}")
    return _generation(row, asked, written.text or "", written.reasoning)


def _generation(row: Row, prompt: str, text: str, thought: str = "") -> Generation:
    """The one sample of a row."""
    reason = _finish(row)
    return Generation(prompt, text, finish_reason=reason, thought=thought or read_reasoning(row))


def _text(row: Row, field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise Malformed(f"field {field!r} is missing or not text")
    return value


def _text_or_none(row: Row, field: str) -> str | None:
    return None if row.get(field) is None else _text(row, field)


def _finish(row: Row, *fields: str) -> str | None:
    """Why the teacher stopped; "" if the field is null; None if there is none."""
    for field in fields or ("finish_reason", "stop_reason"):
        if field in row:
            return row[field] if isinstance(row[field], str) else ""
    return None


def _answer(value: Any) -> str | None:
    """A field with an answer: text, a number, true or false."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return answer_text(str(value)) if isinstance(value, str | int | float) else None
