"""A run in the format and protocol of Fine-tune-CoT: epochs, test scores kept apart."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest
from experiment_runs import command, curve, environment, run, states

from distill_jax.training.optimizer import learning_rate_schedule

EPOCHS = 3
ROWS = 60  # 7.5 steps of 8 rows: epochs end at steps 8, 15 and 22
TINY = [
    "--config=configs/demo.py",
    "--config.scheme=chain",
    "--config.text_format=fine_tune_cot",
    f"--config.task_options.train_problems={ROWS}",
    "--config.task_options.test_problems=16",
    "--config.data.dev_split=",
    "--config.data.dev_problems=0",
    f"--config.train.epochs={EPOCHS}",
    "--config.train.batch_size=8",
    "--config.train.log_every=1",
    "--config.train.save_every=5",
    "--config.train.patience=0",
    "--config.optimizer.solver.learning_rate=3e-4",
    "--config.optimizer.solver.final_learning_rate=3e-4",
    "--config.optimizer.solver.warmup_steps=0",
    "--config.sampling.max_tokens=48",
    "--config.sampling.slots=8",
    "--config.model.solver.layers=1",
    "--config.model.solver.width=32",
]
PARITY = "--config.train.parity_test_selection=True"
NAME = "parity_test_selection"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("parity") / "w"
    done = run("main", *TINY, PARITY, "--workdir", path)
    assert done.returncode == 0, done.stderr
    return path


def parity(workdir):
    return json.loads((workdir / f"{NAME}.json").read_text())


def test_every_epoch_is_scored_on_test(workdir):
    found = parity(workdir)
    assert (found["split"], found["problems"]) == ("test", 16)
    assert [(row["epoch"], row["step"]) for row in found["epochs"]] == [(1, 8), (2, 15), (3, 22)]
    assert curve(workdir, f"{NAME}/accuracy") == [
        (row["step"], row["accuracy"]) for row in found["epochs"]
    ]
    for row in found["epochs"]:
        assert row["accuracy"] == row["scores"]["normalised"]["accuracy"]
        assert curve(workdir, f"{NAME}/fine_tune_cot")
    assert json.loads((workdir / "training_data.json").read_text())["solver"]["steps"] == 22
    # The last epoch's score is the evaluation's: the same parameters, problems and settings.
    report = json.loads((workdir / "report.json").read_text())
    assert report["checkpoint_rule"] == "last" and report["n"] == 16
    assert report["scores"] == found["epochs"][-1]["scores"]
    assert report["accuracy"] == found["epochs"][-1]["accuracy"]


def test_rows_are_in_the_papers_format_and_answers_are_read_back(workdir):
    shown = run("main", *TINY, "--show_batch")
    assert shown.returncode == 0, shown.stderr
    row = shown.stdout.partition("learned\n")[2].strip()
    question, _, target = row.partition(" ###[solver> ")
    assert question.endswith("?") and " --> " in target and target.endswith("<|endoftext|>]")
    assert "endofturn" not in row and "\n####" not in row
    lines = (workdir / "evaluations").glob("*/predictions.jsonl")
    predictions = [json.loads(line) for path in lines for line in path.open()]
    assert len(predictions) == 16
    assert {len(p["scores"]) for p in predictions} == {4}


def test_the_learning_rate_is_constant(workdir):
    rates = curve(workdir, "train/solver/learning_rate")
    assert [step for step, _ in rates] == list(range(1, 23))
    assert {rate for _, rate in rates} == {round(float(np.float32(3e-4)), 8)}
    schedule = learning_rate_schedule(
        steps=1760, learning_rate=3e-4, final_learning_rate=3e-4, warmup_steps=0
    )
    assert {float(schedule(step)) for step in range(0, 1761, 40)} == {float(np.float32(3e-4))}


def test_nothing_depends_on_the_scores(workdir, tmp_path):
    """The run without them: the same checkpoints, byte for byte, and the same result."""
    done = run("main", *TINY, "--workdir", tmp_path / "w")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "w" / f"{NAME}.json").exists()
    assert curve(tmp_path / "w", f"{NAME}/accuracy") == []
    ours, theirs = (states(path, 22, ("solver",)) for path in (workdir, tmp_path / "w"))
    assert ours == theirs and ours.count("\n") > 10
    losses = [curve(path, "train/solver/loss") for path in (workdir, tmp_path / "w")]
    assert losses[0] == losses[1] and len(losses[0]) == 22
    reports = [json.loads((p / "report.json").read_text()) for p in (workdir, tmp_path / "w")]
    for key in ("accuracy", "scores", "checkpoint_steps", "tokens"):
        assert reports[0][key] == reports[1][key]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_stopped_scores_every_epoch_once(workdir, tmp_path, sent):
    """Killed after an epoch was scored, before it was saved, its steps are made again, and what
    they had scored is forgotten."""
    path = tmp_path / "w"
    process = subprocess.Popen(
        command("main", *TINY, PARITY, "--workdir", path),
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (path / f"{NAME}.json").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(sent)
    assert process.wait(timeout=300) == (75 if sent == signal.SIGTERM else -signal.SIGKILL)
    done = run("main", *TINY, PARITY, "--workdir", path)
    assert done.returncode == 0, done.stderr
    assert parity(path) == parity(workdir)
    assert curve(path, f"{NAME}/accuracy") == curve(workdir, f"{NAME}/accuracy")
