"""The calculator in an evaluation, by a solver that has learned to write marks: what it filled in
is counted, also where a killed evaluation goes on."""

import json
import re

import pytest
from experiment_runs import TINY, run

from distill_jax.run import experiment
from distill_jax.text import calculator

MARK = re.compile(r"<<([^<>=]*)=([^<>]*)>>")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(directory of a run, what it said): a chain that learns `<<3+4=7>>7` in some seconds."""
    directory = tmp_path_factory.mktemp("run")
    rows = [
        {
            "question": f"Ann has {a} pens and gets {b}. How many?",
            "answer": a + b,
            "steps": [{"subquestion": None, "solution": f"{a} + {b} = <<{a}+{b}={a + b}>>{a + b}"}],
        }
        for a in range(2, 9)
        for b in range(2, 9)
    ]
    for name, part in (("test", rows[::5]), ("train", [r for i, r in enumerate(rows) if i % 5])):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in part))
    settings = [a for a in TINY if "task_options" not in a and not a.startswith("--config=")] + [
        "--config=configs/jsonl.py",
        f"--config.task_options.directory={directory}",
        "--config.scheme=chain",
        "--config.data.templated=True",
        "--config.optimizer.solver.warmup_steps=10",
        "--config.optimizer.solver.learning_rate=1e-2",
        "--config.sampling.calculator=True",
    ]
    done = run("main", *settings, "--workdir", directory / "w")
    assert done.returncode == 0, done.stderr
    return directory / "w", done.stdout


def values(predictions):
    """The marks whose value is right. No token of this task holds both `=` and a digit, so that
    none of them was written by the solver."""
    marks = [
        mark for p in predictions for turn in p["turns"] for mark in MARK.findall(turn["text"])
    ]
    return sum(calculator.value(expression) == written for expression, written in marks)


def read(directory):
    lines = (directory / "predictions.jsonl").read_text().strip().split("\n")
    return json.loads((directory / "report.json").read_text()), [json.loads(x) for x in lines]


def test_what_was_filled_in_is_counted(finished):
    workdir, output = finished
    [directory] = (workdir / "evaluations").iterdir()
    report, predictions = read(directory)
    assert report["values_filled_in"] == values(predictions) >= 5
    assert f"calculator: {report['values_filled_in']} values filled in\n" in output


def test_what_a_killed_evaluation_had_filled_in_counts_too(finished):
    workdir, _ = finished
    changed = {"sampling.max_tokens": "40", "mesh.data": "8"}
    before = set((workdir / "evaluations").iterdir())
    experiment.evaluate(str(workdir), changed)
    [directory] = set((workdir / "evaluations").iterdir()) - before
    _, predictions = read(directory)
    kept = [{"sample": 0, "filled_in": 100, **p} for p in predictions[:3]]
    (directory / "partial-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    for name in ("report.json", "predictions.jsonl"):
        (directory / name).unlink()
    experiment.evaluate(str(workdir), changed)
    report, again = read(directory)
    assert again == predictions
    assert report["values_filled_in"] == 300 + values(predictions[3:]) > 300
