"""The data set of annotations: what `datasets` reads of it, its card, and a Hub on loopback."""

import base64
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
from typing import ClassVar

import pytest

from distill_jax import command_line, run_data
from distill_jax.annotations import hub
from distill_jax.errors import UserError
from distill_jax.run_inputs import RunInputs
from distill_jax.workdir import Workdir

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def workdir(tmp_path):
    config = command_line.load_config("configs/base.py")
    counts = {f"task_options.{split}_problems": "30" for split in ("train", "dev", "test")}
    command_line.apply_overrides(config, counts | {"data.dev_problems": "3"})
    inputs = RunInputs(config, Workdir(tmp_path / "w"))
    run_data.write_annotations(inputs, run_data.collect(inputs))
    return inputs.workdir


def test_datasets_reads_the_folder_and_the_card_counts(workdir, tmp_path):
    import datasets

    folder = tmp_path / "folder"
    folder.mkdir()
    hub.write_folder(workdir, folder)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    rows = [json.loads(line) for line in workdir.annotations.read_text().splitlines()]
    assert loaded["train"].to_list() == rows and len(rows) == 27
    assert len(loaded["validation"]) == 3
    card = (folder / "README.md").read_text()
    assert "27 annotations" in card and "| gold |  |  |  | 27 |" in card
    assert "terms of a teacher's provider apply" in card


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub's interface as an upload of small files and a download use."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        if self.path.endswith("/repos/create"):
            return self.answer({"url": "http://127.0.0.1/datasets/me/set"})
        if self.path.endswith("/validate-yaml"):
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular"} for f in json.loads(body)["files"]
            ]
            return self.answer({"files": [f | {"shouldIgnore": False} for f in files]})
        assert "/commit/" in self.path, self.path
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        where = "http://127.0.0.1/datasets/me/set/commit/" + "a" * 40
        return self.answer({"commitUrl": where, "commitOid": "a" * 40})

    def do_HEAD(self):
        self.serve_file()

    def do_GET(self):
        if "/resolve/" in self.path:
            return self.serve_file()
        return self.answer({"id": "me/set", "sha": "a" * 40, "siblings": []})

    def serve_file(self):
        content = self.files.get(self.path.rpartition("/")[2])
        self.send_response(404 if content is None else 200)
        self.send_header("content-length", str(len(content or b"")))
        self.send_header("etag", '"b"')
        self.send_header("x-repo-commit", "a" * 40)
        self.end_headers()
        if self.command == "GET" and content:
            self.wfile.write(content)

    def answer(self, value):
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def test_pushed_and_read_back_by_another_run(workdir, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever).start()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_x",
        "HF_HUB_OFFLINE": "0",
    }
    flags = [f"--config.task_options.{split}_problems=30" for split in ("train", "dev", "test")]
    start = [sys.executable, "-m", "distill_jax.annotate", "--config", "configs/base.py", *flags]
    start += ["--config.data.dev_problems=3"]
    try:
        for more in (
            ["--workdir", str(workdir.path), "--push_to", "me/set"],
            ["--workdir", str(tmp_path / "v"), "--config.data.annotations=hub:me/set"],
        ):
            done = subprocess.run(
                [*start, *more], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(Hub.files) == ["README.md", "summary.json", "train.jsonl", "validation.jsonl"]
    assert Hub.files["train.jsonl"] == workdir.annotations.read_bytes()
    read = [
        json.loads(line) for line in (tmp_path / "v/annotations.jsonl").read_text().splitlines()
    ]
    ids = {json.loads(line)["id"] for line in workdir.annotations.read_text().splitlines()}
    assert {row["id"] for row in read} <= ids and len(read) == 25  # a tenth is held out again


def test_nothing_to_push_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"run `python -m distill_jax\.annotate`"):
        hub.push(Workdir(tmp_path), "me/set")
