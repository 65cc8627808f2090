"""A student of this project as the teacher of the next ones, through a real server."""

import importlib.util
import json
import pathlib
import socket
import subprocess
import sys

import pytest
from experiment_runs import ROOT, environment

from distill_jax.tasks import arithmetic


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("fastapi") is None, reason="needs the extra [serving]: fastapi"
)
def test_train_export_serve_annotate_train_evaluate(tmp_path):
    """The script as README prints it, with a teacher that gets some problems right, not all."""
    pytest.importorskip("torch")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {
        "task_options.train_problems": 240,
        "data.dev_problems": 20,
        "train.token_budget": 100_000,
        "evaluation.problems": 20,
    }
    options = [f"--dir={tmp_path}", "--teacher_tokens=800000", f"--port={port}"]
    done = subprocess.run(
        ["launch/student_as_teacher.sh", *options, f"--python={sys.executable}", "--"]
        + [f"--config.{key}={value}" for key, value in keys.items()],
        cwd=ROOT,
        env=environment(flags=""),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    gold = {a.question: a for a in arithmetic.load_annotations("train", train_problems=240, seed=1)}
    read = lambda name: [  # noqa: E731
        json.loads(line) for line in (tmp_path / "student" / name).read_text().splitlines()
    ]
    kept = read("annotations.jsonl") + read("annotations.dev.jsonl")
    rejected = read("annotations.rejected.jsonl")
    # Every problem ends once; what is kept has the known answer and the student's own words.
    assert len({row["id"] for row in kept + rejected}) == len(kept) + len(rejected) == 240
    assert len(kept) >= 24 and {row["reason"] for row in rejected} >= {"wrong answer"}
    for row in kept:
        assert row["answer"] == gold[row["question"]].answer
        assert row["source"]["model"] == str(tmp_path / "export/solver")
        assert row["source"]["prompt"] == "generic/student"
    said = [[step["solution"] for step in row["steps"]] for row in kept]
    told = [[step.solution for step in gold[row["question"]].steps] for row in kept]
    assert sum(a == b for a, b in zip(said, told, strict=True)) > len(kept) / 2
    report = json.loads((tmp_path / "student/report.json").read_text())
    assert report["n"] == 20 and pathlib.Path(tmp_path / "student/report.html").exists()
