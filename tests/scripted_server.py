"""A server of OpenAI's interface on loopback that does what a script says, real faults included.

`ScriptedServer(reply)`: `reply(request, number)` gets the parsed body and how often a request with
this body has come before, and returns an `Act`. The server is a thread with an event loop of its
own; HTTP/1.1 with keep-alive, enough of it for an OpenAI client.
"""

import asyncio
import collections
import dataclasses
import json
import threading


@dataclasses.dataclass
class Act:
    """What the server does with one request.

    text           the answer's content: text, a list of parts, None; with status 200 in a
                   well-formed body
    message        more fields of the message, such as "reasoning_content"
    body           instead of it: the body as it is
    drop           close the connection without an answer
    wait_s         before answering
    """

    text: str | list | None = ""
    message: dict = dataclasses.field(default_factory=dict)
    status: int = 200
    finish_reason: str | None = "stop"
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    drop: bool = False
    wait_s: float = 0.0


class ScriptedServer:
    """A context manager; `url` inside it. `bodies` holds all requests in the order they came."""

    def __init__(self, reply, keep_bodies=True):
        self._reply, self._keep = reply, keep_bodies
        self.bodies = []
        self.requests = 0
        self.keys = collections.Counter()
        self.url = ""

    def __enter__(self):
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)))
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *exception):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _main(self, started):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        started.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _serve(self, reader, writer):
        self._open.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        lengths = [line.split(":")[1] for line in head if line.startswith("content-length:")]
        content = await reader.readexactly(int(lengths[0]))
        self.requests += 1
        number = self.keys[content] if self._keep else 0
        request = json.loads(content)
        if self._keep:
            self.keys[content] += 1
            self.bodies.append(request)
        act = self._reply(request, number)
        if act.wait_s:
            await asyncio.sleep(act.wait_s)
        if act.drop:
            writer.transport.abort()
            return False
        body = act.body if act.body is not None else _body(request, act)
        headers = {"content-type": "application/json", "content-length": len(body), **act.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {act.status} X\r\n{lines}\r\n".encode() + body)
        await writer.drain()
        return True


def _body(request, act):
    if act.status != 200:
        return json.dumps({"error": {"message": f"scripted {act.status}"} | act.message}).encode()
    choice = {"index": 0, "finish_reason": act.finish_reason}
    if "messages" in request:
        choice["message"] = {"role": "assistant", "content": act.text} | act.message
    else:
        choice["text"] = act.text
    usage = {"prompt_tokens": 100, "completion_tokens": len(act.text or "") // 4}
    answer = {"id": "x", "object": "y", "created": 0, "model": request["model"]}
    return json.dumps(answer | {"choices": [choice], "usage": usage}).encode()


def question_of(request):
    """The last message, or the prompt."""
    return request["messages"][-1]["content"] if "messages" in request else request["prompt"]
