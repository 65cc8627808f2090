"""How the tests run the server of distill_jax.ask, as a process and in this one, and call it."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time

from experiment_runs import ROOT, command, environment


@contextlib.contextmanager
def process(workdir, *arguments):
    """The port of a server in a process of its own; Ctrl-C must end it with 0."""
    arguments = ("--workdir", workdir, "--serve", "--port", "0", *arguments)
    running = subprocess.Popen(
        command("ask", *arguments), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        for line in running.stdout:
            if found := re.search(r"^page: http://127\.0\.0\.1:(\d+)/$", line):
                break
        assert found, "the server did not start"
        yield int(found[1])
        running.send_signal(signal.SIGINT)
        assert running.wait() == 0
    finally:
        running.kill()
        running.wait()


@contextlib.contextmanager
def thread(app):
    """The port of a server of `app` in a thread."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    running = threading.Thread(target=server.run, args=([listening],))
    running.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        running.join()


def send(port, method, path, body=None, **headers):
    """(status, headers, body as text) of one request; `body` becomes JSON unless it is bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        headers = {"Content-Type": "application/json", **headers}
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()


def open_dialogue(port, question):
    """A connection to /solve whose answer is read line by line: (connection, next_event)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"question": question})
    connection.request("POST", "/solve", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    return connection, lambda: json.loads(response.readline())
