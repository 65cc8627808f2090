"""A message of a model, in the shapes that servers and files give it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# The fields in which servers send thoughts: vLLM, SGLang, llama.cpp and DeepSeek; OpenRouter, Groq,
# Ollama and newer vLLM; files.
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


class Message(NamedTuple):
    """What a message says. `text` is None if it has no content at all (a tool call, a refusal)."""

    text: str | None
    reasoning: str = ""
    refusal: str = ""


def read_message(message: Mapping[str, Any], content: str = "content") -> Message:
    """The text, the thought beside it, and the words of a refusal.

    The field `content` is text, or a list of parts: {"type": "text", "text": ...} is text,
    {"type": "thinking" or "reasoning", ...} is a thought, other parts (images) are left out.

    >>> read_message({"content": [{"type": "text", "text": "4 + 5 = 9"}], "reasoning": "Hm."})
    Message(text='4 + 5 = 9', reasoning='Hm.', refusal='')
    """
    read = read_content(message.get(content))
    refusal = message.get("refusal")
    return Message(
        read.text,
        read.reasoning or read_reasoning(message),
        refusal if isinstance(refusal, str) and refusal else read.refusal,
    )


def read_content(value: Any) -> Message:
    """Text, or parts as `read_message` describes them."""
    if value is None:
        return Message(None)
    parts = list(_parts(value))
    text, reasoning, refusal = (
        "".join(each for kind, each in parts if kind == wanted)
        for wanted in ("text", "reasoning", "refusal")
    )
    return Message(text, reasoning, refusal)


def read_reasoning(row: Mapping[str, Any]) -> str:
    """The thought, if it has its own field."""
    found = (
        "".join(text for kind, text in _parts(row.get(field)) if kind != "refusal")
        for field in _REASONING_FIELDS
    )
    return next(filter(None, found), "")


def _parts(value: Any) -> Iterable[tuple[str, str]]:
    """(text, reasoning or refusal; the text) of content, whatever its nesting."""
    if isinstance(value, str):
        yield "text", value
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, str | dict):  # no lists inside lists, which could be deep
                yield from _parts(each)
    elif isinstance(value, dict):
        kind = str(value.get("type", "text"))
        if kind == "refusal":
            yield "refusal", _text_of(value, "refusal", "text")
        elif "think" in kind or "reason" in kind:
            yield "reasoning", _text_of(value, "thinking", "reasoning", "text", "summary")
        elif kind in ("text", "output_text"):
            yield "text", _text_of(value, "text")


def _text_of(part: Mapping[str, Any], *fields: str) -> str:
    """The text in the first of these fields that exists; the texts of a list are joined."""
    value = next((part[field] for field in fields if part.get(field)), "")
    if isinstance(value, list):
        texts = [each.get("text") if isinstance(each, dict) else each for each in value]
        return "".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""
