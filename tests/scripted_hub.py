"""A Hugging Face Hub on loopback, which the real client speaks to."""

import base64
import contextlib
import hashlib
import http.server
import json
import threading


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub's interface as an upload of small files and a download use."""

    repositories: dict[str, dict[str, bytes]]  # {"datasets/me/set": {path: content}}

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        if self.path.endswith("/repos/create"):
            asked = json.loads(body)
            kind = {"dataset": "datasets/", "model": ""}[asked["type"]]
            return self.answer(
                {"url": f"{self.url()}/{kind}{asked['organization']}/{asked['name']}"}
            )
        if self.path.endswith("/validate-yaml"):
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular"} for f in json.loads(body)["files"]
            ]
            return self.answer({"files": [f | {"shouldIgnore": False} for f in files]})
        assert "/commit/" in self.path, self.path
        name = self.path.removeprefix("/api/").partition("/commit/")[0]
        files = self.repositories.setdefault(name, {})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        where = f"{self.url()}/{name.removeprefix('models/')}/commit/" + "a" * 40
        return self.answer({"commitUrl": where, "commitOid": "a" * 40})

    def do_HEAD(self):
        self.serve_file()

    def do_GET(self):
        if "/resolve/" in self.path:
            return self.serve_file()
        if "/tree/" in self.path:  # of a folder that nobody uploads
            return self.answer({"error": "not found"}, 404)
        name = self.path.removeprefix("/api/").partition("/revision/")[0]
        return self.answer({"id": name.partition("/")[2], "sha": "a" * 40, "siblings": []})

    def serve_file(self):
        name, _, path = self.path.removeprefix("/").partition("/resolve/")
        files = self.repositories.get(
            name if name.startswith("datasets/") else f"models/{name}", {}
        )
        content = files.get(path.partition("/")[2])
        self.send_response(404 if content is None else 200)
        self.send_header("content-length", str(len(content or b"")))
        self.send_header("etag", f'"{hashlib.sha1(content or b"").hexdigest()}"')
        self.send_header("x-repo-commit", "a" * 40)
        self.end_headers()
        if self.command == "GET" and content:
            self.wfile.write(content)

    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("x-error-code", "EntryNotFound")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def running_hub(home):
    """(what is uploaded, by repository; the environment that leads a client there)."""
    repositories = {}
    handler = type("Handler", (Hub,), {"repositories": repositories})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield (
            repositories,
            {
                "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
                "HF_HOME": str(home),
                "HF_TOKEN": "hf_x",
                "HF_HUB_OFFLINE": "0",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
