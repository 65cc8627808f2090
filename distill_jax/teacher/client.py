"""One request to an OpenAI-compatible server, until it is answered or given up.

Nothing is assumed of a server but one text per request: `n`, `seed`, `stop` and `response_format`
are ignored by some, so that several samples are several requests and texts are cut here.
"""

import asyncio
import email.utils
import json
import random
import time
from typing import Any, NamedTuple

import openai

from distill_jax.errors import PeerGone, UserError
from distill_jax.teacher.pace import Pace
from distill_jax.teacher.settings import TeacherSettings

LONGEST_WAIT_S = 600.0  # that a server may ask for
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0  # between attempts
_UNASKED_REFUSALS = 3  # so many refused requests, and none answered: the config is wrong
_GONE_AFTER = 5  # so many questions in a row during none of which any was answered


class Answer(NamedTuple):
    """What a server wrote.

    finish_reason  "stop", "length", "content_filter", ... as the server says; "" where it does not
    prompt_tokens  and completion_tokens: as the server counts; 0 where it does not
    attempts       requests that were sent for it
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    attempts: int


class AskingFailed(Exception):
    """This one request was not answered, after all attempts; others may be."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class _Passing(Exception):
    """What may be better at the next attempt. `wait_s`: what the server asked to wait, or None."""

    def __init__(self, detail: str, wait_s: float | None = None, no_connection: bool = False):
        super().__init__(detail)
        self.wait_s, self.no_connection = wait_s, no_connection


class Client:
    """Sends requests, as fast as it may; tries again what may pass.

    `requests` counts all that were sent. At most 1 + settings.retries per question.
    """

    def __init__(self, settings: TeacherSettings):
        self._settings = settings
        self._openai = openai.AsyncOpenAI(
            base_url=settings.url(),
            api_key=settings.key(),
            timeout=settings.timeout_s,
            max_retries=0,  # ours know of the other requests
        )
        chat, text = self._openai.chat.completions, self._openai.completions
        self._create: Any = (chat if settings.api == "chat" else text).with_raw_response.create
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._answered_at = float("-inf")  # by time.monotonic()
        self._refused = 0
        self._given_up = 0  # questions in a row, see _GONE_AFTER
        self.requests = 0

    async def close(self) -> None:
        """Close the connections."""
        await self._openai.close()

    async def ask(self, request: dict[str, Any], tokens: float) -> Answer:
        """The answer to a request, which is about `tokens` tokens long with its answer.

        Raises AskingFailed where this request got none; PeerGone where the server is gone: several
        requests in a row got none, or it could never be reached; UserError where the key, model or
        address is wrong.
        """
        began = time.monotonic()
        last = _Passing("")
        for attempt in range(1, self._settings.retries + 2):
            await self._pace.turn(tokens)
            sent = time.monotonic()
            self.requests += 1
            try:
                text, reason, usage = await self._send(request)
            except _Passing as passing:
                last = passing
                await self._before_next(attempt, passing)
                continue
            self._answered_at, self._given_up = time.monotonic(), 0
            return Answer(text, reason, *usage, round(self._answered_at - sent, 3), attempt)
        # Some questions fail for ever by themselves, and are the last of a run that still wait.
        self._given_up += self._answered_at < began
        unreachable = last.no_connection and not self._any_answer()
        if unreachable or self._given_up >= _GONE_AFTER:
            raise PeerGone(
                f"the teacher at {self._settings.url()} does not answer ({last}; "
                f"{self._settings.retries + 1} attempts in {time.monotonic() - began:.0f} s): what "
                "it answered is kept; run the same command again when it is back"
            )
        raise AskingFailed(
            "no answer", f"{last}, at the last of {self._settings.retries + 1} attempts"
        )

    def _any_answer(self) -> bool:
        return self._answered_at > float("-inf")

    async def _before_next(self, attempt: int, passing: _Passing) -> None:
        if passing.wait_s is not None:
            if passing.wait_s > LONGEST_WAIT_S:
                raise PeerGone(
                    f"the teacher asks to wait {passing.wait_s:.0f} s ({passing}): what it "
                    "answered is kept; run the same command again then"
                )
            self._pace.wait(passing.wait_s)
        elif attempt <= self._settings.retries:
            pause = min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))

    async def _send(self, request: dict[str, Any]) -> tuple[str, str, tuple[int, int]]:
        try:
            raw = await self._create(**_known_and_extra(request))
        except openai.APITimeoutError:
            raise _Passing(f"no answer within {self._settings.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            detail = f"no connection: {_one_line(error.__cause__ or error)}"
            raise _Passing(detail, no_connection=True) from None
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        try:
            return _read(raw.http_response.content)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            body = _one_line(raw.http_response.content[:80])
            detail = f"an answer that is none ({type(error).__name__}): {body}"
            raise _Passing(detail) from None

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status, detail = error.status_code, f"{error.status_code} {_one_line(error.message)}"
        if status in (408, 409, 425, 429) or status >= 500:
            return _Passing(detail, _retry_after(error.response.headers))
        if status in (401, 403):
            return UserError(f"the teacher refuses the key in OPENAI_API_KEY: {detail}")
        self._refused += 1
        wrong = status == 404 or self._refused >= _UNASKED_REFUSALS
        if wrong and not self._any_answer():
            return UserError(
                f"the teacher at {self._settings.url()} refuses the requests ({detail}): look at "
                "config.teacher.model, base_url, api, max_tokens_name and extra"
            )
        return AskingFailed("refused", detail)


def _known_and_extra(request: dict[str, Any]) -> dict[str, Any]:
    """The request for the SDK: parameters of servers other than OpenAI's go beside the others."""
    known = (
        "model", "messages", "prompt", "temperature", "top_p", "max_tokens",
        "max_completion_tokens", "stop",
    )  # fmt: skip
    extra = {key: value for key, value in request.items() if key not in known}
    return {key: request[key] for key in known if key in request} | {"extra_body": extra}


def _read(body: bytes) -> tuple[str, str, tuple[int, int]]:
    answer = json.loads(body)
    choice = answer["choices"][0]
    content = choice["message"].get("content") if "message" in choice else choice["text"]
    reason = choice.get("finish_reason") or ""
    if content is None and reason != "content_filter":
        raise ValueError("no content")
    usage = answer.get("usage") or {}
    counts = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return str(content or ""), str(reason), (int(counts[0]), int(counts[1]))


def _retry_after(headers: Any) -> float | None:
    """Seconds to wait by retry-after-ms or retry-after (seconds or an HTTP date), or None."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        text = headers.get("retry-after")
        if text is None:
            return None
        try:
            return max(0.0, float(text))
        except ValueError:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _one_line(what: object) -> str:
    text = what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)
    return " ".join(text.split())[:200]
