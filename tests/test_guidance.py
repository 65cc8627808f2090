"""A planner, a decomposer and a solver: trained, evaluated, given the gold plan, exported."""

import json
import re

import pytest
from experiment_runs import TINY, one_error_line, run

import distill_jax
from distill_jax.errors import UserError
from distill_jax.export import export_students
from distill_jax.run import experiment
from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.tasks import arithmetic
from distill_jax.text import plan
from distill_jax.workdir import Workdir

GUIDED = [
    *TINY,
    "--config=configs/guided_tiny.py",
    "--config.train.steps=0",
    "--config.train.token_budget=120_000",
    "--config.train.eval_every=1000",
    "--config.model.planner.layers=1",
    "--config.model.planner.width=32",
    "--config.sampling.max_turn_tokens=24",
    "--config.sampling.max_tokens=128",
]
# Enough to learn where a turn ends.
for student in ("planner", "decomposer", "solver"):
    GUIDED += [
        f"--config.optimizer.{student}.{k}" for k in ("warmup_steps=5", "learning_rate=0.01")
    ]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A tiny run: what it says is wrong, but it is said."""
    path = tmp_path_factory.mktemp("run") / "w"
    done = run("main", *GUIDED, "--workdir", path)
    assert done.returncode == 0, done.stderr
    return path


def evaluate(workdir, **overrides):
    """Predictions of an evaluation in this process."""
    before = set((workdir / "evaluations").iterdir())
    changed = {key.replace("__", "."): str(value) for key, value in overrides.items()}
    experiment.evaluate(str(workdir), changed | {"mesh.data": "8"})
    [new] = set((workdir / "evaluations").iterdir()) - before
    return [json.loads(line) for line in (new / "predictions.jsonl").open()]


def said(prediction, role):
    return [turn["text"] for turn in prediction["turns"] if turn["role"] == role]


@pytest.fixture(scope="module")
def headline(workdir):
    """The predictions of the run's own evaluation."""
    report = (workdir / "report.json").read_text()
    [path] = [p for p in workdir.glob("evaluations/*/report.json") if p.read_text() == report]
    return [json.loads(line) for line in (path.parent / "predictions.jsonl").open()]


@pytest.fixture(scope="module")
def gold(workdir):
    options = json.loads((workdir / "config.json").read_text())["config"]["task_options"]
    return {a.id: a for a in arithmetic.load_annotations("test", **options)}


def test_three_students_share_the_budget(workdir):
    facts = json.loads((workdir / "training_data.json").read_text())
    assert set(facts) == {"planner", "decomposer", "solver"}
    for student in facts.values():
        assert student["rows"] == 300 and abs(student["tokens"] - 40_000) < 700
    # The planner reads the question alone.
    assert facts["planner"]["seq_len"] < facts["solver"]["seq_len"] < facts["decomposer"]["seq_len"]
    html = (workdir / "report.html").read_text()
    assert all(name in html for name in facts)


def test_the_planner_speaks_first_and_once(headline):
    assert len(headline) == 12
    for prediction in headline:
        roles = [turn["role"] for turn in prediction["turns"]]
        expected = ["planner"] + ["decomposer", "solver"] * 20
        assert roles == expected[: len(roles)]
    assert max(len(prediction["turns"]) for prediction in headline) > 2


def test_the_gold_plan_is_given(workdir, gold):
    predictions = evaluate(workdir, sampling__given="plan")
    assert len(predictions) == 12
    for prediction in predictions:
        equations = plan.equations(gold[prediction["id"]].steps)
        assert said(prediction, "planner") == [equations] and " | " in equations
        assert len(prediction["turns"]) > 1


def test_given_subquestions_come_with_the_gold_plan(workdir, gold):
    predictions = evaluate(workdir, sampling__given="subquestions")
    for prediction in predictions:
        steps = gold[prediction["id"]].steps
        asked = [step.subquestion for step in steps]
        assert said(prediction, "planner") == [plan.equations(steps)]
        questions = said(prediction, "decomposer")
        assert questions[: len(asked)] == asked[: len(questions)]
    [first, second, *_] = evaluate(workdir, sampling__given="history", evaluation__problems=2)
    steps = gold["arithmetic/test/0"].steps
    assert [turn["text"] for turn in second["turns"][:4]] == [
        plan.equations(steps), steps[0].subquestion, steps[0].solution, steps[1].subquestion
    ]  # fmt: skip
    assert second["turns"][4]["role"] == "solver" and first["id"].endswith("/step/1")


def test_without_subquestions_the_planner_still_speaks(workdir, headline):
    silent = evaluate(workdir, sampling__given="nothing")
    assert any(said(prediction, "decomposer") for prediction in silent)
    for prediction, free in zip(silent, headline, strict=True):
        assert not any(said(prediction, "decomposer"))
        # In its own words, as where nothing is given.
        assert said(prediction, "planner") == said(free, "planner")


def test_a_person_may_plan(workdir):
    students = distill_jax.load(workdir, mesh__data=8)
    assert students.roles == ("planner", "decomposer", "solver")
    plan_, question = ("planner", "4 - 3 | 1 + 7"), ("decomposer", "How many at first?")
    [planned, asked] = students.solve(
        ["Ann has 4 bags."] * 2, said=[[plan_], [plan_, question, ("solver", "4 - 3 = 1")]]
    )
    assert [turn.role for turn in planned.turns[:2]] == ["planner", "decomposer"]
    assert (planned.turns[0].role, planned.turns[0].text) == plan_
    assert [turn.role for turn in asked.turns[1:4]] == ["decomposer", "solver", "decomposer"]
    with pytest.raises(UserError, match="the turn of planner, not of 'decomposer'"):
        students.solve(["Q?"], said=[[question]])
    with pytest.raises(UserError, match="the turn of decomposer, not of 'planner'"):
        students.solve(["Q?"], said=[[plan_, question, ("solver", "1"), plan_]])


def test_every_student_is_exported(workdir, tmp_path):
    options = export_students.Options(tmp_path / "out", dtype=None, gguf=False, push_to_hub="")
    export_students.export(str(workdir), options, {})
    names = ("planner", "decomposer", "solver")
    cards = {name: (tmp_path / "out" / name / "README.md").read_text() for name in names}
    assert all("planner (once), decomposer, solver" in text for text in cards.values())
    assert "writes as: planner\n" in cards["planner"]
    config = json.loads((tmp_path / "out" / "planner" / "generation_config.json").read_text())
    assert len(config["suppress_tokens"]) == 1  # only a decomposer ends the text


def test_the_rows_are_shown():
    shown = run("main", *GUIDED, "--show_batch").stdout
    assert re.search(r"student planner as planner: .*\n.*\[planner>\d+ [-+*/] \d+ \| ", shown)
    assert "student decomposer as decomposer" in shown and "student solver as solver" in shown
    operators = run("main", *GUIDED, "--show_batch", "--config.scheme=socratic_operators").stdout
    assert re.search(r"\[planner>[-+*/]( [-+*/])*<\|endofturn\|>\]", operators)


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "train.jsonl").write_text(
        "".join(
            json.dumps({"question": f"Is {i} a number?", "answer": "yes",
                        "steps": [{"subquestion": "Is it?", "solution": "It is."}]}) + "\n"
            for i in range(40)
        )
    )  # fmt: skip
    (tmp_path / "test.jsonl").write_text('{"question": "Is a cat a number?", "answer": "no"}\n')
    scheme = ["--config.scheme=socratic_operators", "--workdir", tmp_path / "w"]
    done = run(
        "main", "--config=configs/jsonl.py", f"--config.task_options.directory={tmp_path}", *scheme
    )
    assert "config.scheme='socratic_operators': no solution of" in one_error_line(done)
    assert not (tmp_path / "w").exists()
    done = run("main", *GUIDED, *scheme, "--config.reads.decomposer=solver")
    assert "nobody reads the planner: add it to config.reads.decomposer" in one_error_line(done)


def test_a_plan_needs_a_planner(tmp_path):
    config = command_line.load_config("configs/demo.py")
    command_line.apply_overrides(config, {"sampling.given": "plan"})
    with pytest.raises(UserError, match="given='plan' needs a planner: scheme 'socratic' has none"):
        make_run(config, Workdir(tmp_path))


def test_a_run_without_a_planner_has_the_identity_it_had_before(tmp_path):
    config = command_line.load_config("configs/demo.py")
    identity = make_run(config, Workdir(tmp_path)).identity()
    assert identity["reads.decomposer"] == ["solver"]
    assert not [key for key in identity if "planner" in key]
    command_line.apply_overrides(config, {"scheme": "socratic_equations"})
    guided = make_run(config, Workdir(tmp_path)).identity()
    assert guided["reads.decomposer"] == ["planner", "solver"] and "model.planner.layers" in guided
