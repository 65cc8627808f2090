"""The body of a server's response: an answer, or something else."""

import json
from typing import Any, NamedTuple

from distill_jax.teacher.message import Message, read_message


class NoAnswer(Exception):
    """A body with status 200 that is not an answer. `status`: the one in the body, or 0."""

    def __init__(self, detail: str, status: int = 0):
        super().__init__(detail)
        self.status = status


class Written(NamedTuple):
    """An answer as a server gives it.

    text               "" if there is none: finish_reason or refusal says why
    reasoning          the thought, if the server gives it in a separate field
    refusal            the model's words, if it refuses in a separate field
    finish_reason      "stop", "length", ... as the server says; "" if there is none
    prompt_tokens      and completion_tokens: as the server counts; 0 if it does not
    """

    text: str
    reasoning: str
    refusal: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def read_response(body: bytes) -> Written:
    """The answer in a body of the chat or of the completions interface.

    An answer without text is an answer, and is not asked for again. Raises NoAnswer for everything
    else: HTML, an error, no choices, half a body.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise NoAnswer(f"no JSON: {one_line(body[:80])}") from None
    if not isinstance(answer, dict):
        raise NoAnswer(f"no object: {one_line(body[:80])}")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _without_choices(answer, body)
    choice = choices[0]
    if isinstance(choice.get("message"), dict):
        message = read_message(choice["message"])
    elif "text" in choice and isinstance(choice["text"], str | None):
        message = Message(choice["text"])
    else:
        raise NoAnswer(f"neither message nor text: {one_line(body[:80])}")
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Written(
        message.text or "",
        message.reasoning,
        message.refusal,
        str(choice.get("finish_reason") or ""),
        _count(counts.get("prompt_tokens")),
        _count(counts.get("completion_tokens")),
    )


def one_line(what: object) -> str:
    """At most 200 characters on one line."""
    text = what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)
    return " ".join(text.split())[:200]


def _without_choices(answer: dict[str, Any], body: bytes) -> NoAnswer:
    error = answer.get("error")
    if not error:
        return NoAnswer(f"no choices: {one_line(body[:80])}")
    if not isinstance(error, dict):
        return NoAnswer(f"an error: {one_line(error)}")
    said = one_line(error.get("message") or error)
    return NoAnswer(f"an error: {said}", _count(error.get("code")))


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value == value and value > 0 else 0
