"""A student that plans the size of its steps: trained, asked with a given size and with its own."""

import json

import pytest
from experiment_runs import run

from distill_jax.evaluation import comparison
from distill_jax.run import experiment
from distill_jax.workdir import Workdir

TINY = [
    "--config=configs/step_size.py",
    "--config.task_options.operators=3,5",
    "--config.task_options.step_sizes=1,2",
    "--config.task_options.train_problems=200",
    "--config.task_options.held_out_problems=24",
    "--config.evaluation.task_options.operators=3,5,2",
    "--config.model.solver.layers=1",
    "--config.model.solver.width=16",
    "--config.model.solver.context=96",
    "--config.data.dev_problems=0",
    "--config.train.eval_every=0",
    "--config.train.steps=30",
    "--config.optimizer.solver.warmup_steps=5",
    "--config.optimizer.solver.learning_rate=0.01",
    "--config.sampling.max_turn_tokens=40",
    "--config.sampling.max_tokens=48",
    "--config.sampling.slots=8",
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A tiny run: what it computes is wrong, but it is written as planned."""
    path = tmp_path_factory.mktemp("run") / "w"
    done = run("main", *TINY, "--workdir", path)
    assert done.returncode == 0, done.stderr
    return path


def evaluations(workdir):
    """{the evaluation: (its report, its predictions)}."""
    return {
        path.parent: (
            json.loads(path.read_text()),
            [json.loads(line) for line in (path.parent / "predictions.jsonl").open()],
        )
        for path in workdir.glob("evaluations/*/report.json")
    }


@pytest.mark.slow  # its programs are compiled for this test alone
def test_the_step_size_is_given_and_then_chosen(workdir, tmp_path):
    [(directory, (report, given))] = evaluations(workdir).items()
    assert report["sampling"]["given"] == "plan" and "vote" not in report["sampling"]
    assert {p["attributes"]["size"] for p in given} == {3, 5}
    for prediction in given:
        planner, solver = prediction["turns"]
        assert (planner["role"], solver["role"]) == ("planner", "solver")
        assert planner["text"] == f"<{prediction['attributes']['step_size']}>"
    facts = json.loads(Workdir(workdir).training_data.read_text())
    assert list(facts) == ["solver"] and facts["solver"]["rows"] == 200
    # Drawn, and voted by length.
    changes = {"given": "", "samples": "3", "temperature": "0.9", "vote": "length"}
    changed = {f"sampling.{key}": value for key, value in changes.items()}
    experiment.evaluate(str(workdir), changed | {"mesh.data": "8"})
    [(free, (report, chosen))] = [e for e in evaluations(workdir).items() if e[0] != directory]
    assert report["sampling"]["vote"] == "length" and len(chosen[0]["samples"]) == 3
    roles = [[turn["role"] for turn in s["turns"]] for p in chosen for s in p["samples"]]
    assert all(each in (["planner"], ["planner", "solver"]) for each in roles)
    comparison.write_comparison([str(directory), str(free)], tmp_path / "report")
    tables = {path.stem for path in (tmp_path / "report" / "tables").iterdir()}
    assert {"step_sizes", "written_text"} <= tables
