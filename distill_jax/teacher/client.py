"""Sends a request to an OpenAI-compatible server until it is answered or given up.

The only assumption about a server is one text per request. Some ignore `n`, `seed`, `stop` and
`response_format`, so several samples are several requests, and texts are cut here.
"""

import asyncio
import email.utils
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import openai

from distill_jax.errors import PeerGone, UserError
from distill_jax.teacher.pace import Pace
from distill_jax.teacher.response import NoAnswer, Written, one_line, read_response
from distill_jax.teacher.settings import NO_KEY, TeacherSettings

# Variables that the HTTP library reads, in any case.
_FOR_CONNECTIONS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"),
)
LONGEST_WAIT_S = 600.0  # the longest wait that a server may ask for
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0  # between attempts
_UNASKED_REFUSALS = (
    3  # so many requests refused or not understood, and none answered: the config is wrong
)
_REFUSALS_IN_A_ROW = 10  # the same after answers: the server now refuses all of them
_GONE_AFTER = 5  # so many questions in a row failed, and no other was answered meanwhile
_SAY_EVERY_S = 1.0  # requests that were sent together time out together

# For an account that is used up, most servers send 402; some send other codes with these words:
# https://platform.openai.com/docs/guides/error-codes (429 insufficient_quota)
_NO_CREDIT_CODES = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_NO_CREDIT = re.compile(
    r"insufficient[ _](?:balance|quota|credits?|funds)|credit balance|out of credits?",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """What a server wrote: the fields of response.Written, and

    seconds   of the request that was answered
    attempts  requests that were sent for it
    """

    text: str
    reasoning: str
    refusal: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    attempts: int


class AskingFailed(Exception):
    """This request was not answered after all attempts; others may be answered."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class _Passing(Exception):
    """A failure that may pass. `wait_s`: how long the server asked to wait, or None."""

    def __init__(self, detail: str, wait_s: float | None = None):
        super().__init__(detail)
        self.wait_s = wait_s


class _NoConnection(_Passing):
    pass


class _TimedOut(_Passing):
    pass


class _NotUnderstood(_Passing):
    """Status 200 with something that is not an answer."""


def _connections(settings: TeacherSettings) -> openai.AsyncOpenAI:
    """Raises UserError if a variable cannot be a header, or names no proxy or certificate."""
    url, key = settings.url(), settings.key()
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        if not all(" " <= character <= "~" for character in os.environ.get(name, "")):
            raise UserError(
                f"{name} holds a line break or a character that is not ASCII: export it again, or "
                "unset it"
            )
    try:
        return openai.AsyncOpenAI(
            base_url=url,
            api_key=key,
            timeout=settings.timeout_s,
            max_retries=0,  # ours know of the other requests
        )
    except Exception as error:  # of ssl, of an address, of a package that a proxy needs
        names = [name for name in os.environ if name.upper() in _FOR_CONNECTIONS]
        raise UserError(
            f"no connection to a teacher can be made ({one_line(str(error))}): mend or unset "
            f"{', '.join(names) or 'the variables for proxies and certificates'}"
        ) from None


class Client:
    """Sends requests as fast as allowed, and repeats those whose failure may pass.

    `requests` counts all requests, at most 1 + settings.retries per question; `waiting` counts
    those without an answer yet.
    """

    def __init__(self, settings: TeacherSettings, say: Callable[[str], None]):
        """`say` is called with messages about time-outs."""
        self._settings, self._say = settings, say
        self._openai = _connections(settings)
        chat, text = self._openai.chat.completions, self._openai.completions
        self._create: Any = (chat if settings.api == "chat" else text).with_raw_response.create
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._answered_at = self._said_at = float("-inf")  # by time.monotonic()
        self._refused = 0  # requests in a row
        self._not_understood = 0
        self._given_up = 0  # questions in a row, see _GONE_AFTER
        self._wrong: UserError | None = (
            None  # the error that ended the asking; nothing more is sent
        )
        self.requests = self.waiting = self.answers = 0

    async def close(self) -> None:
        """Close the connections."""
        await self._openai.close()

    async def ask(self, request: dict[str, Any], tokens: float) -> Answer:
        """The answer to a request, which is about `tokens` tokens long with its answer.

        Raises AskingFailed if this request got none; PeerGone if the server is gone: several
        requests in a row got none, or it could never be reached; UserError if the key, model or
        address is wrong or the account is used up, and from then on for every request.
        """
        began = time.monotonic()
        last = _Passing("")
        for attempt in range(1, self._settings.retries + 2):
            await self._pace.turn(tokens)
            if self._wrong is not None:
                raise self._wrong
            sent = time.monotonic()
            try:
                written = await self._send(request)
            except _Passing as passing:
                last = passing
                await self._before_next(attempt, passing)
                continue
            except UserError as wrong:
                self._wrong = wrong
                raise
            self._answered_at, self._given_up, self._refused = time.monotonic(), 0, 0
            self.answers += 1
            return Answer(*written, round(self._answered_at - sent, 3), attempt)
        raise self._given_up_on(last, began)

    def _given_up_on(self, last: _Passing, began: float) -> Exception:
        if isinstance(last, _NotUnderstood) and not self.answers:
            self._wrong = self._no_openai_server(last)
            return self._wrong
        # Some questions always fail, and are the last of a run that still wait.
        self._given_up += self._answered_at < began
        unreachable = isinstance(last, _NoConnection) and not self.answers
        if not unreachable and self._given_up < _GONE_AFTER:
            return AskingFailed(
                "no answer", f"{last}, at the last of {self._settings.retries + 1} attempts"
            )
        remedy = "run the same command again when it is back"
        if isinstance(last, _TimedOut):
            remedy = f"run the same command again when it is quicker, or {self._for_slow_ones()}"
        return PeerGone(
            f"the teacher at {self._settings.shown_url()} does not answer ({last}; "
            f"{self._settings.retries + 1} attempts in {time.monotonic() - began:.0f} s): what "
            f"it answered is kept; {remedy}"
        )

    async def _before_next(self, attempt: int, passing: _Passing) -> None:
        if isinstance(passing, _TimedOut):
            self._say_who_waits(passing, attempt)
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

    def _say_who_waits(self, timed_out: _TimedOut, attempt: int) -> None:
        """Print one line for requests that time out together."""
        now = time.monotonic()
        if now - self._said_at < _SAY_EVERY_S:
            return
        self._said_at = now
        waiting = self.waiting + 1  # including the one that has just timed out
        self._say(
            f"{timed_out} (attempt {attempt} of {self._settings.retries + 1}): {waiting} "
            f"{'requests wait' if waiting > 1 else 'request waits'}, {self.answers:,} answered so "
            f"far; if the teacher is slow, {self._for_slow_ones()}"
        )

    def _for_slow_ones(self) -> str:
        return (
            f"raise --config.teacher.timeout_s={self._settings.timeout_s:g}, or lower "
            f"--config.teacher.concurrency={self._settings.concurrency}"
        )

    async def _send(self, request: dict[str, Any]) -> Written:
        self.requests += 1
        self.waiting += 1
        try:
            raw = await self._create(**_known_and_extra(request))
            return read_response(self._without_key(raw.http_response.text).encode())
        except openai.APITimeoutError:
            raise _TimedOut(f"no answer within {self._settings.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            detail = one_line(self._without_key(str(error.__cause__ or error)))
            raise _NoConnection(f"no connection: {detail}") from None
        except openai.APIStatusError as error:
            wait_s = _retry_after(error.response.headers)
            raise self._refusal(error.status_code, error.message, error.code, wait_s) from None
        except NoAnswer as none:
            raise self._not_an_answer(none) from None
        finally:
            self.waiting -= 1

    def _not_an_answer(self, none: NoAnswer) -> Exception:
        if none.status in (401, 402, 403):  # a body that says that it is an error
            return self._refusal(none.status, str(none), None, None)
        self._not_understood += 1
        passing = _NotUnderstood(f"status 200 with {none}")
        if self.answers or self._not_understood < _UNASKED_REFUSALS:
            return passing
        return self._no_openai_server(passing)

    def _no_openai_server(self, detail: object) -> UserError:
        return UserError(
            f"the teacher at {self._settings.shown_url()} does not answer as an OpenAI server does "
            f"({detail}): look at config.teacher.base_url, which usually ends in /v1, and api"
        )

    def _refusal(self, status: int, message: str, code: object, wait_s: float | None) -> Exception:
        detail = f"{status} {one_line(self._without_key(message))}"
        used_up = status == 402 or code in _NO_CREDIT_CODES
        if used_up or (status < 500 and _NO_CREDIT.search(message)):
            return UserError(
                f"the account at {self._settings.shown_url()} is used up ({detail}): what was "
                "answered is kept; add credit and run the same command again"
            )
        if status in (408, 409, 425, 429) or status >= 500:
            return _Passing(detail, wait_s)
        # If other requests with this key were answered, 403 is about this request (moderation).
        if status == 401 or (status == 403 and not self.answers):
            return UserError(f"the teacher refuses the key in OPENAI_API_KEY: {detail}")
        self._refused += 1
        unasked = not self.answers and (status == 404 or self._refused >= _UNASKED_REFUSALS)
        if unasked or self._refused >= _REFUSALS_IN_A_ROW:
            return UserError(
                f"the teacher at {self._settings.shown_url()} refuses the requests ({detail}): "
                "look at config.teacher.model, base_url, api, max_tokens_name, temperature, top_p "
                "and extra"
            )
        return AskingFailed("refused", detail)

    def _without_key(self, text: str) -> str:
        """The text without the key, which some servers repeat if they do not know it."""
        key = self._settings.key()
        return text if key == NO_KEY else text.replace(key, "(the key)")


def _known_and_extra(request: dict[str, Any]) -> dict[str, Any]:
    """The request for the SDK, which needs parameters of other servers than OpenAI's separately."""
    known = (
        "model", "messages", "prompt", "temperature", "top_p", "max_tokens",
        "max_completion_tokens", "stop",
    )  # fmt: skip
    extra = {key: value for key, value in request.items() if key not in known}
    return {key: request[key] for key in known if key in request} | {"extra_body": extra}


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
