"""The web page and OpenAI's interface on one socket."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from distill_jax.ask import chat, page
from distill_jax.ask.guard import LOOPBACK, Guard, Refused
from distill_jax.ask.line import Line
from distill_jax.ask.question import Answering
from distill_jax.errors import Interrupted
from distill_jax.run.cascade import Cascade, OtherStudents

MOST_CONNECTIONS = 100
SECONDS_TO_END = 5


def make_app(students: Answering, name: str, hosts: frozenset[str] | None) -> Starlette:
    """The application; `hosts` as in Guard."""
    line = Line(students)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        line.close()

    async def refuse(request: Request, error: Exception) -> Response:
        del request
        assert isinstance(error, HTTPException)
        refused = error if isinstance(error, Refused) else Refused(error.status_code, error.detail)
        return JSONResponse(refused.body(), error.status_code, error.headers)

    return Starlette(
        routes=[*page.routes(line, name), *chat.routes(line, name)],
        exception_handlers={HTTPException: refuse},
        middleware=[Middleware(Guard, hosts=hosts)],
        lifespan=lifespan,
    )


def serve(students: Answering, name: str, listening: socket.socket) -> None:
    """Answer until a signal arrives. Compiles for a first question before it prints its address."""
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if students.example:
        print("compiling ...", flush=True)
        _compile(students)
    config = uvicorn.Config(
        make_app(students, name, LOOPBACK if address.is_loopback else None),
        log_level="warning",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_END,
        server_header=False,
    )
    shown = f"[{host}]" if address.version == 6 else host
    print(f"page: http://{shown}:{port}/", flush=True)
    print(f"OpenAI's interface: http://{shown}:{port}/v1, model {name!r}; Ctrl-C ends", flush=True)
    with contextlib.suppress(Interrupted):  # uvicorn has handled the signal, and raises it again
        uvicorn.Server(config).run(sockets=[listening])


def _compile(students: Answering) -> None:
    """Everything that the first question needs; no teacher is asked."""
    if not isinstance(students, Cascade):
        students.solve([students.example], slots=1)
        return
    students.first.solve([students.example], slots=1, **students.rule.sampling)
    if isinstance(students.others, OtherStudents):
        for _ in students.others.answer([students.example], slots=1, look=True):
            pass
