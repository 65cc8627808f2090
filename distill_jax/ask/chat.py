"""OpenAI's chat completions, answered by the pair of students.

The last message, of the user, is the question; messages before it are not read, since students
were trained on single questions. The assistant's message is the dialogue, a turn a line; beside it
stands `dialogue`: {"answer", "status", "note", "turns": [records.Turn], "percentile",
"unfamiliar"}, the last two as in `run.students.Solution`. Streamed, a chunk is a turn, and the last
one has `dialogue`.
"""

import dataclasses
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from distill_jax.ask.guard import Refused, read_json
from distill_jax.ask.line import Asked, Event, Line
from distill_jax.ask.question import check_question, drawing
from distill_jax.errors import UserError
from distill_jax.run.students import Students


@dataclasses.dataclass(frozen=True)
class ChatRequest:
    """A body that was checked."""

    asked: Asked
    stream: bool
    include_usage: bool


def routes(line: Line, name: str) -> list[Route]:
    """`/v1/models` with one model, `name`, and `/v1/chat/completions`."""
    model = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "distill-jax"}

    async def models(request: Request) -> Response:
        del request
        return JSONResponse({"object": "list", "data": [model]})

    async def one_model(request: Request) -> Response:
        _check_model(request.path_params["model"], name)
        return JSONResponse(model)

    async def completions(request: Request) -> Response:
        chat = check_body(await read_json(request), name, line.students)
        line.check_room()
        reply = Reply(name, chat, line.students)
        if chat.stream:
            chunks = reply.stream(line.events(chat.asked, request))
            return StreamingResponse(chunks, media_type="text/event-stream")
        async for event in line.events(chat.asked, request):
            if event["event"] == "error":
                raise Refused(400 if event["user"] else 500, event["message"])
            if event["event"] == "end":
                return JSONResponse(reply.whole(event))
        return Response(status_code=499)  # the client has gone: nobody reads this

    return [
        Route("/v1/models", models),
        Route("/v1/models/{model}", one_model),
        Route("/v1/chat/completions", completions, methods=["POST"]),
    ]


def check_body(body: Any, name: str, students: Students) -> ChatRequest:
    """What is asked for; raises Refused where the students cannot do it."""
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    _check_model(body.get("model"), name)
    question = _question(body.get("messages"))
    try:
        asked = Asked(check_question(question, students), (), drawing(body))
    except UserError as error:
        message = str(error)
        key = message.partition(":")[0]
        raise Refused(400, message, key if key in body else "messages") from None
    if body.get("n") not in (None, 1):
        raise Refused(400, "n: one dialogue a request; send several with different seeds", "n")
    most = students.sampling.max_tokens
    for key in ("max_tokens", "max_completion_tokens"):
        value = body.get(key)
        if value is not None and not (isinstance(value, int) and value >= most):
            raise Refused(
                400,
                f"{key}: dialogues have at most {most} tokens, and no other number at a request: "
                f"leave it out, or start the server with --config.sampling.max_tokens=N",
                key,
            )
    options = body.get("stream_options")
    usage = isinstance(options, dict) and options.get("include_usage") is True
    return ChatRequest(asked, body.get("stream") is True, usage)


def _check_model(model: Any, name: str) -> None:
    if model is None:
        raise Refused(400, f"model is missing: {name!r}", "model")
    if model != name:
        message = f"there is no model {str(model)[:100]!r} here, only {name!r}"
        raise Refused(404, message, "model", "model_not_found")


def _question(messages: Any) -> str:
    """The text of the last message; raises Refused where it is none of a user."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages: a list with at least one message is needed", "messages")
    last = messages[-1]
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


class Reply:
    """The answer to one request, in OpenAI's shape."""

    def __init__(self, name: str, chat: ChatRequest, students: Students):
        self._chat, self._roles = chat, students.roles
        self._prompt_tokens = students.count_tokens(chat.asked.question)
        self._about = {
            "id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name
        }  # fmt: skip

    def whole(self, end: Event) -> dict[str, Any]:
        """A `chat.completion`."""
        message = {"role": "assistant", "content": self._text(end["turns"]), "refusal": None}
        choice = {
            "index": 0, "message": message, "finish_reason": _finish(end), "logprobs": None
        }  # fmt: skip
        return {
            **self._about, "object": "chat.completion", "choices": [choice],
            "usage": self._usage(end), "dialogue": _dialogue(end),
        }  # fmt: skip

    async def stream(self, events: AsyncIterator[Event]) -> AsyncIterator[str]:
        """Server-sent events; who waits is told by comments, which clients pass over."""
        yield self._chunk({"role": "assistant", "content": ""})
        told, turns = 0, []
        async for event in events:
            if event["event"] == "waiting" and event["ahead"]:
                yield f": {event['ahead']} before this one\n\n"
            elif event["event"] == "turn" and event["ended"]:
                text = "".join(piece for piece, _ in event["pieces"])
                turns.append({"role": event["role"], "text": text})
            elif event["event"] == "error":
                yield _sent(Refused(500, event["message"]).body())
                return
            elif event["event"] == "end":
                turns = event["turns"]  # the last one may have been stopped
            content = self._text(turns)
            if len(content) > told:
                yield self._chunk({"content": content[told:]})
                told = len(content)
            if event["event"] == "end":
                yield self._chunk({}, _finish(event), dialogue=_dialogue(event))
                if self._chat.include_usage:
                    yield _sent({**self._chunk_head(), "choices": [], "usage": self._usage(event)})
                yield "data: [DONE]\n\n"

    def _chunk_head(self) -> dict[str, Any]:
        return {**self._about, "object": "chat.completion.chunk"}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _sent({**self._chunk_head(), "choices": [choice], **more})

    def _text(self, turns: Sequence[dict[str, Any]]) -> str:
        """A turn a line, without the empty one that ends a dialogue; a lone role needs no name."""
        if len(self._roles) == 1:
            return "\n".join(turn["text"] for turn in turns)
        return "\n".join(f"{turn['role']}: {turn['text']}" for turn in turns if turn["text"])

    def _usage(self, end: Event) -> dict[str, int]:
        written = sum(turn["tokens"] for turn in end["turns"])
        prompt = self._prompt_tokens
        return {
            "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written
        }  # fmt: skip


def _finish(end: Event) -> str:
    return "stop" if end["status"] in ("finished", "unparsed") else "length"


def _dialogue(end: Event) -> dict[str, Any]:
    keys = ("answer", "status", "note", "turns", "percentile", "unfamiliar")
    return {key: end[key] for key in keys}


def _sent(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
