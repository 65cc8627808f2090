"""The web page: its files, what it says about the students, and dialogues as JSON lines."""

import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from distill_jax.ask.guard import Refused, read_json
from distill_jax.ask.line import Asked, Line
from distill_jax.ask.question import check_question, drawing
from distill_jax.errors import UserError
from distill_jax.run.cascade import Cascade

FILES = pathlib.Path(__file__).with_name("page")
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def routes(line: Line, name: str) -> list[Route]:
    """The page at `/`; `/about`; `/solve` with {"question", "said", "who", "temperature"}."""
    students = line.students

    async def about(request: Request) -> Response:
        del request
        facts = {
            "name": name,
            "roles": students.roles,
            "steps": students.steps,
            "example": students.example,
            "temperature": students.sampling.temperature,
            "asks": "",
        }
        if isinstance(students, Cascade):
            facts |= {"asks": students.text, "name": students.rule.first}
        return JSONResponse(facts)

    async def solve(request: Request) -> Response:
        asked = _asked(await read_json(request), line)
        line.check_room()

        async def lines() -> AsyncIterator[str]:
            async for event in line.events(asked, request):
                yield json.dumps(event) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    files = [
        Route("/" if path.name == "index.html" else f"/{path.name}", _file(path))
        for path in sorted(FILES.iterdir())
        if path.suffix in KINDS
    ]
    return [*files, Route("/about", about), Route("/solve", solve, methods=["POST"])]


def _file(path: pathlib.Path):
    async def send(request: Request) -> Response:
        del request
        return FileResponse(path, media_type=KINDS[path.suffix])

    return send


def _asked(body: Any, line: Line) -> Asked:
    """The page's request; Refused (400) if it is something else."""
    try:
        said = [(str(turn["role"]), str(turn["text"])) for turn in body.get("said", [])]
        question = check_question(body["question"], line.students)
        return Asked(question, said, drawing(body), str(body.get("who", "")))
    except UserError as error:
        raise Refused(400, str(error)) from None
    except (TypeError, KeyError, AttributeError) as error:
        raise Refused(400, f"not what the page sends ({type(error).__name__})") from None
