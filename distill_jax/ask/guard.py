"""Which requests are answered: those of the page and of programs, with small JSON bodies; and what
browsers may do.

A page of another site cannot read answers (no CORS header is sent), and here it cannot ask either:
requests with a foreign Origin are refused, and so are foreign Host names, with which a site could
make a browser believe that this server is its own (DNS rebinding).
"""

import json
import urllib.parse
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024  # of a body
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Checks every request to the application."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None):
        """`hosts`: names by which the server may be called; None = any, for one on a network."""
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(Headers(scope=scope))
        app = PlainTextResponse(refusal, 403) if refusal else self._app
        await app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers) -> str:
        """Why a request is refused; "" if it is answered."""
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return "this server answers to localhost and 127.0.0.1 only\n"
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            return "this server answers its own page and programs, not pages of other sites\n"
        return ""


def _host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None if there is none."""
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _place(origin: str) -> str | None:
    """Name and port of an Origin header; None if it is not an address."""
    try:
        return urllib.parse.urlsplit(origin).netloc.lower()
    except ValueError:
        return None


class Refused(HTTPException):
    """A request that is not answered, and why, in OpenAI's shape."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ):
        super().__init__(status, message)
        self._param, self._code = param, code

    def body(self) -> dict[str, Any]:
        """{"error": ...}"""
        kind = "invalid_request_error" if self.status_code < 500 else "server_error"
        return {
            "error": {
                "message": self.detail, "type": kind, "param": self._param, "code": self._code
            }
        }  # fmt: skip


async def read_json(request: Request) -> Any:
    """The body of a request.

    Raises Refused: 415 if it does not say that it is JSON, 413 if it is longer than MOST_BYTES, 400
    if it is not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "the body must be JSON, with Content-Type: application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise Refused(413, f"the body is longer than {MOST_BYTES} bytes: shorten it")
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON ({error})") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
