"""OpenAI's chat completions, answered by the pair of students.

The last message, of the user, is the question: the students were trained on single questions. The
assistant's message is the dialogue (choice.py); beside it is `dialogue`: {"answer", "status",
"note", "turns": [records.Turn], "percentile", "unfamiliar"}, the last two as in
`run.students.Solution`, `dialogues` if several were asked for, and `warnings` about parts of
the request without effect. In a stream, a chunk is a token; the first chunk has the warnings, and
the last one of a dialogue has `dialogue`.

In a cascade the message is the dialogue of whoever answered, so that it has one answer, and the
tokens of the small students are sent as soon as it is known that nobody else is asked; until then a
stream has comments. `dialogue.cascade` says who answered, why, and what it cost (ask/line.py).
"""

import contextlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from distill_jax.ask.chat_request import ChatRequest, check_body, check_model
from distill_jax.ask.choice import Choice, Token
from distill_jax.ask.guard import Refused, read_json
from distill_jax.ask.line import Event, Line
from distill_jax.run.cascade import Cascade


def routes(line: Line, name: str) -> list[Route]:
    """`/v1/models` with one model, `name`, and `/v1/chat/completions`."""
    model = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "distill-jax"}

    async def models(request: Request) -> Response:
        del request
        return JSONResponse({"object": "list", "data": [model]})

    async def one_model(request: Request) -> Response:
        check_model(request.path_params["model"], name)
        return JSONResponse(model)

    async def completions(request: Request) -> Response:
        chat = check_body(await read_json(request), name, line.students)
        line.check_room()
        reply = Reply(name, chat, line, request)
        if chat.stream:
            return StreamingResponse(reply.stream(), media_type="text/event-stream")
        return await reply.whole()

    return [
        Route("/v1/models", models),
        Route("/v1/models/{model}", one_model),
        Route("/v1/chat/completions", completions, methods=["POST"]),
    ]


class Reply:
    """The answer to one request, in OpenAI's shape."""

    def __init__(self, name: str, chat: ChatRequest, line: Line, request: Request):
        self._chat, self._line, self._request = chat, line, request
        self._prompt_tokens = line.students.count_tokens(chat.question)
        self._about = {
            "id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name
        }  # fmt: skip
        self._cascades: dict[int, Event] = {}  # of each choice, who answers and the costs so far
        self._warnings = {"warnings": list(chat.warnings)} if chat.warnings else {}

    async def whole(self) -> Response:
        """A `chat.completion`. Raises Refused if the students cannot answer."""
        choices, done = [], []
        for number in range(self._chat.choices):
            choice = self._begin()
            async with contextlib.aclosing(self._events(number, choice)) as events:
                async for event, _ in events:
                    if event["event"] == "error":
                        raise _refused(event)
            if choice.finish is None:
                return Response(status_code=499)  # the client is gone, so nobody reads this
            done.append(choice)
            message = {"role": "assistant", "content": choice.text, "refusal": None}
            choices.append(self._choice(number, choice.tokens, choice.finish, message=message))
        dialogues = [self._dialogue(number, choice.end) for number, choice in enumerate(done)]
        return JSONResponse(
            {
                **self._about, "object": "chat.completion", "choices": choices,
                "usage": self._usage(done), **self._warnings,
                **({"dialogue": dialogues[0]} if len(dialogues) == 1 else {"dialogues": dialogues}),
            }
        )  # fmt: skip

    async def stream(self) -> AsyncGenerator[str, None]:
        """Server-sent events. Comments, which clients ignore, tell them that they have to wait."""
        done = []
        for number in range(self._chat.choices):
            choice = self._begin()
            start = self._choice(number, delta={"role": "assistant", "content": ""})
            yield self._chunk([start], **({} if number else self._warnings))
            async with contextlib.aclosing(self._events(number, choice)) as events:
                async for event, tokens in events:
                    if event["event"] == "waiting" and event["ahead"]:
                        yield f": {event['ahead']} before this one\n\n"
                    elif event["event"] == "asks":
                        yield ": the small students are unsure, others are asked\n\n"
                    elif event["event"] == "error":
                        yield _sent(_refused(event).body())
                        return
                    for token in tokens:
                        if token.text or self._chat.logprobs:
                            said = self._choice(number, [token], delta={"content": token.text})
                            yield self._chunk([said])
            if choice.finish is None:
                return  # the client has gone
            done.append(choice)
            last = self._choice(number, finish=choice.finish, delta={})
            yield self._chunk([last], dialogue=self._dialogue(number, choice.end))
        if self._chat.include_usage:
            yield self._chunk([], usage=self._usage(done))
        yield "data: [DONE]\n\n"

    def _begin(self) -> Choice:
        return Choice(self._line.students.roles, self._chat.stop, self._chat.most_tokens)

    async def _events(
        self, number: int, choice: Choice
    ) -> AsyncGenerator[tuple[Event, list[Token]], None]:
        """The events of a dialogue and the tokens that each brought, until the choice has ended:
        then the device is free for the next one."""
        asked = self._chat.asked(number, self._line.students)
        holding = isinstance(self._line.students, Cascade)
        held: dict[int, Event] = {}  # the turns of students who may not be those that answer
        async with contextlib.aclosing(self._line.events(asked, self._request)) as events:
            async for event in events:
                if event["event"] == "turn" and holding:
                    held[event["index"]] = event
                    continue
                if event["event"] == "turn":
                    held = {}  # others answer
                elif event["event"] == "asks":
                    holding = False
                    self._cascades[number] = event | {"answered_by": event["who"]}
                elif event["event"] == "end":
                    self._cascades[number] = event.get("cascade", {})
                    for turn in held.values():
                        yield turn, choice.take(turn)
                if choice.finish is None:
                    yield event, choice.take(event)
                if choice.finish is not None:
                    return

    def _choice(
        self, number: int, tokens: Sequence[Token] = (), finish: str | None = None, **more: Any
    ) -> dict[str, Any]:
        logprobs = {"content": [*map(_logprob, tokens)], "refusal": None}
        known = all(token.log_probability is not None for token in tokens)
        return {
            "index": number, **more, "finish_reason": finish,
            "logprobs": logprobs if self._chat.logprobs and tokens and known else None,
        }  # fmt: skip

    def _chunk(self, choices: Sequence[dict[str, Any]], **more: Any) -> str:
        return _sent({**self._about, "object": "chat.completion.chunk", "choices": choices, **more})

    def _usage(self, choices: Sequence[Choice]) -> dict[str, int]:
        prompt = self._prompt_tokens
        written = sum(self._written(number, choice) for number, choice in enumerate(choices))
        return {
            "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written
        }  # fmt: skip

    def _written(self, number: int, choice: Choice) -> int:
        """Tokens of the message; in a cascade those of everyone who was asked."""
        facts = self._cascades.get(number)
        if not facts:
            return choice.written
        tokens = {who: cost["tokens"] for who, cost in facts["costs"].items()}
        return sum(tokens.values()) + max(0, choice.written - tokens.get(facts["answered_by"], 0))

    def _dialogue(self, number: int, end: Event) -> dict[str, Any]:
        keys = ("answer", "status", "note", "turns", "percentile", "unfamiliar")
        facts = self._cascades.get(number)
        said = ("answered_by", "by", "uncertainty", "threshold", "costs", "unanswered", "first")
        more = {"cascade": {key: facts[key] for key in said if key in facts}} if facts else {}
        return {key: end[key] for key in keys} | more


def _refused(error: Event) -> Refused:
    return Refused(400 if error["user"] else 500, error["message"])


def _logprob(token: Token) -> dict[str, Any]:
    """The log-probability of the written token; others are not known."""
    return {
        "token": token.text, "logprob": token.log_probability,
        "bytes": list(token.text.encode()), "top_logprobs": [],
    }  # fmt: skip


def _sent(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
