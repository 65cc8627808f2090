"""Checks a request for OpenAI's chat completions, and finds the parts without effect."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.ask.guard import Refused
from distill_jax.ask.line import Asked
from distill_jax.ask.question import Answering, check_question, drawing
from distill_jax.errors import UserError
from distill_jax.records import shorten

MOST_CHOICES = 16  # of one request; they run one after another, while others wait
MOST_STOPS = 16
USED = {
    "model", "messages", "temperature", "top_p", "seed", "n", "max_tokens", "max_completion_tokens",
    "stop", "logprobs", "top_logprobs", "stream", "stream_options",
}  # fmt: skip
# Accounting for servers; no answer depends on them.
BOOKKEEPING = {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"}
# Values that ask for nothing special.
PLAIN = {"response_format": {"type": "text"}, "modalities": ["text"], "parallel_tool_calls": True}


@dataclasses.dataclass(frozen=True)
class ChatRequest:
    """A checked body.

    settings     of Students.solve (`question.RANGES`)
    choices      how many dialogues, `n`; number i has the seed of the first + i
    most_tokens  a dialogue stops after so many; None = where the students stop
    stop         texts before which a message ends
    warnings     the parts that are not used, a sentence each
    """

    question: str
    settings: Mapping[str, Any]
    choices: int
    most_tokens: int | None
    stop: tuple[str, ...]
    logprobs: bool
    stream: bool
    include_usage: bool
    warnings: tuple[str, ...]

    def asked(self, number: int, students: Answering) -> Asked:
        """The dialogue of a choice, counted from 0."""
        settings = dict(self.settings)
        if number:
            settings["seed"] = settings.get("seed", students.sampling.seed) + number
        return Asked(self.question, (), settings)


def check_body(body: Any, name: str, students: Answering) -> ChatRequest:
    """The request; raises Refused, which names what the students cannot do."""
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    check_model(body.get("model"), name)
    messages = _messages(body.get("messages"))
    question = _question(messages[-1])
    try:
        question, settings = check_question(question, students), drawing(body)
    except UserError as error:
        message = str(error)
        key = message.partition(":")[0]
        raise Refused(400, message, key if key in body else "messages") from None
    if body.get("top_logprobs"):
        message = "top_logprobs: only the token that was written is known: leave it out"
        raise Refused(400, message, "top_logprobs")
    limits = [_whole(body, key, 1) for key in ("max_tokens", "max_completion_tokens")]
    options = body.get("stream_options")
    choices = _whole(body, "n", 1, MOST_CHOICES) or 1
    return ChatRequest(
        question,
        settings,
        choices=choices,
        most_tokens=min((limit for limit in limits if limit is not None), default=None),
        stop=_stops(body.get("stop")),
        logprobs=_switch(body, "logprobs"),
        stream=_switch(body, "stream"),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        warnings=(
            *_unread(messages),
            *_unused(body),
            *_all_the_same(settings.get("temperature", students.sampling.temperature), choices),
        ),
    )


def check_model(model: Any, name: str) -> None:
    """Raise Refused if `model` is not the one that is served."""
    if model is None:
        raise Refused(400, f"model is missing: {name!r}", "model")
    if model != name:
        message = f"there is no model {str(model)[:100]!r} here, only {name!r}"
        raise Refused(404, message, "model", "model_not_found")


def _messages(messages: Any) -> list[Any]:
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages: a list with at least one message is needed", "messages")
    return messages


def _question(last: Any) -> str:
    """The text of the last message; raises Refused if it is not a user's."""
    if not isinstance(last, dict) or last.get("role") != "user":
        raise Refused(400, "messages: the last one must be of role 'user'", "messages")
    content = last.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(400, "messages: content is text, or a list of parts with text", "messages")
    return "\n".join(map(str, texts))


def _whole(body: Mapping[str, Any], key: str, low: int, high: int | None = None) -> int | None:
    """The whole number of a key, None if it has none; raises Refused out of range."""
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not int or value < low or (high is not None and value > high):
        to = "" if high is None else f" to {high}"
        said = shorten(repr(value))
        raise Refused(400, f"{key}: a whole number from {low}{to}, not {said}", key)
    return value


def _switch(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise Refused(400, f"{key}: true or false, not {shorten(repr(value))}", key)
    return bool(value)


def _stops(stop: Any) -> tuple[str, ...]:
    stops = [] if stop is None else stop if isinstance(stop, list) else [stop]
    if len(stops) > MOST_STOPS or not all(isinstance(text, str) and text for text in stops):
        message = f"stop: a text or a list of at most {MOST_STOPS}, none of them empty"
        raise Refused(400, message, "stop")
    return tuple(stops)


def _unread(messages: Sequence[Any]) -> list[str]:
    """A warning if there are messages before the last one."""
    earlier = [m.get("role") if isinstance(m, dict) else None for m in messages[:-1]]
    if not earlier:
        return []
    instructions = " (instructions have no effect)" if {"system", "developer"} & {*earlier} else ""
    return [
        f"messages: only the last one is read, as the question; {len(earlier)} before it "
        f"{'is' if len(earlier) == 1 else 'are'} not{instructions}"
    ]


def _unused(body: Mapping[str, Any]) -> list[str]:
    """A warning for every other key that would change the answer."""
    return [
        f"{_name(key)} has no effect: the students write as they were trained to"
        for key, value in body.items()
        if key not in USED | BOOKKEEPING and value and value != PLAIN.get(key)
    ]


def _all_the_same(temperature: float, choices: int) -> list[str]:
    """A warning if no token is drawn, and several dialogues are wanted."""
    if temperature or choices == 1:
        return []
    return ["n has no effect at temperature 0, where all choices are the same: give a temperature"]


def _name(key: str) -> str:
    """A client's key, to be sent back; characters that are not unicode are spelt out."""
    return shorten(key).encode("utf-8", "backslashreplace").decode()
