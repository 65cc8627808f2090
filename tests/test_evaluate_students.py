"""Evaluation of a finished run: other samples, tasks and checkpoints, resuming, the Python face."""

import json
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from experiment_runs import ROOT, command, environment, run

import distill_jax
from distill_jax.dialogues.sampler import drawing_seed
from distill_jax.errors import UserError
from distill_jax.evaluation import results
from distill_jax.evaluation.familiarity import mean_log_probability, percentile
from distill_jax.run import experiment
from distill_jax.run.run import stored_run
from distill_jax.sampling.dialogues import Dialogue, WrittenTurn
from distill_jax.sampling.turn_rules import FREE_TURN, HOLD
from distill_jax.tasks import arithmetic
from distill_jax.workdir import Workdir


@pytest.fixture(scope="module")
def workdir(tiny_copy):
    """A run of two tiny students: their answers are wrong, but they are answers."""
    return tiny_copy


def evaluate(workdir, **overrides):
    """(report.json, predictions) of an evaluation in this process."""
    before = set((workdir / "evaluations").iterdir())
    changed = {key.replace("__", "."): str(value) for key, value in overrides.items()}
    experiment.evaluate(str(workdir), changed | {"mesh.data": "8"})
    [new] = set((workdir / "evaluations").iterdir()) - before
    files = ["predictions.jsonl", "report.html", "report.json"]
    assert sorted(path.name for path in new.iterdir()) == files
    lines = (new / "predictions.jsonl").read_text().strip().split("\n")
    return json.loads((new / "report.json").read_text()), [json.loads(line) for line in lines]


def test_samples_are_voted_on(workdir, capsys):
    report, predictions = evaluate(
        workdir, sampling__samples=4, sampling__temperature=0.8, sampling__top_p=0.9
    )
    assert report["samples"] == 4 and set(report["pass_at_k"]) == {"1", "2", "4"}
    assert report["sampling"]["slots"] == 8
    assert len(predictions) == 12 and all(len(p["samples"]) == 4 for p in predictions)
    assert report["accuracy"] == report["votes"]["accuracy"]
    output = capsys.readouterr().out
    assert f"4 dialogues each; pass@1 {report['pass_at_k']['1']:.1%}, pass@2 " in output
    [directory] = (path.parent for path in workdir.glob("evaluations/*/report.json")
                   if json.loads(path.read_text()) == report)  # fmt: skip
    assert f"evaluation: {directory}\n" in output
    assert f"python -m distill_jax.evaluate --workdir {workdir} --list\n" in output
    assert "calculator" not in output
    # Two students read every prompt, four times.
    students = distill_jax.load(workdir, mesh__data=8)
    read = {p["id"]: 8 * students.count_tokens(p["question"]) for p in predictions}
    for prediction in predictions:
        costs = [sample["cost"] for sample in prediction["samples"]]
        assert prediction["cost"] == {key: sum(each[key] for each in costs) for key in costs[0]}
        assert prediction["cost"]["prompt_tokens"] == read[prediction["id"]]
        assert [each["tokens"] for each in costs] == [s["tokens"] for s in prediction["samples"]]
        assert prediction["answered_by"] == "students"
    cost = report["cost"]
    assert cost == {key: sum(p["cost"][key] for p in predictions) for key in cost}
    assert (cost["prompt_tokens"], cost["tokens"]) == (
        sum(read.values()), report["tokens"]["generated"]
    )  # fmt: skip
    assert f"{cost['tokens'] / 12:.1f} tokens written, {cost['flops'] / 12:.3g} FLOPs\n" in output


def test_another_seed_draws_anew(workdir):
    drawn = {"sampling__temperature": 1.5, "evaluation__problems": 6}
    texts = []
    for seed in (0, 1, 2):
        report, predictions = evaluate(workdir, sampling__seed=seed, **drawn)
        assert (report["sampling"]["seed"], report["seed"]) == (seed, 0)
        texts.append([turn["text"] for p in predictions for turn in p["turns"]])
    assert texts[0] != texts[1] != texts[2] != texts[0]
    assert [drawing_seed(run, 0) for run in (0, 7)] == [0, 7]  # as before there was a second one
    seeds = [drawing_seed(run, sampling) for run in range(3) for sampling in range(3)]
    assert len(set(seeds)) == 9 and all(0 <= seed < 2**32 for seed in seeds)


def test_given_subquestions_are_what_the_decomposer_says(workdir):
    _, predictions = evaluate(workdir, sampling__given="subquestions", sampling__max_turns=20)
    gold = {a.id: a for a in arithmetic.load_annotations("test", **options(workdir))}
    several = 0
    for prediction in predictions:
        said = [turn["text"] for turn in prediction["turns"] if turn["role"] == "decomposer"]
        asked = [step.subquestion for step in gold[prediction["id"]].steps]
        if prediction["status"] in ("finished", "unparsed"):
            assert said == [*asked, ""]
        assert said[: len(asked)] == asked[: len(said)]
        several += len(said) > 1
    assert several
    _, first = evaluate(workdir, sampling__given="subquestions", sampling__given_steps=1)
    for one, other in zip(first, predictions, strict=True):
        assert one["turns"][0]["text"] == other["turns"][0]["text"]


def test_nothing_given_is_an_empty_turn(workdir, capsys):
    report, predictions = evaluate(workdir, sampling__given="nothing", sampling__calculator=True)
    for prediction in predictions:
        said = [turn["text"] for turn in prediction["turns"] if turn["role"] == "decomposer"]
        assert said and not any(said)
        solutions = [turn["text"] for turn in prediction["turns"] if turn["role"] == "solver"]
        assert prediction["status"] != "finished" or "####" in solutions[-1]
        assert not any("####" in text for text in solutions[:-1])
    # The solver of this task writes no marks.
    assert "calculator: 0 values filled in\n" in capsys.readouterr().out
    assert report["values_filled_in"] == 0


def test_asked_students_answer_without_subquestions_too(workdir):
    """As in an evaluation; also after turns that were said."""
    _, predictions = evaluate(workdir, sampling__given="nothing", evaluation__problems=6)
    students = distill_jax.load(workdir, sampling__given="nothing", mesh__data=8)
    asked = [prediction["question"] for prediction in predictions]
    texts = lambda turns: [turn.text for turn in turns]  # noqa: E731
    written = [[turn["text"] for turn in prediction["turns"]] for prediction in predictions]
    assert [texts(each.turns) for each in students.solve(asked)] == written
    whole = distill_jax.load(workdir, mesh__data=8)
    assert [texts(e.turns) for e in whole.solve(asked, given="nothing")] == written
    assert [texts(e.turns) for e in whole.solve(asked)] != written
    silent = ("decomposer", "")
    one = students.solve(asked, said=[[silent]] * len(asked))
    assert [texts(each.turns) for each in one] == written
    [on] = students.solve(asked[:1], said=[[silent, ("solver", "3 = 3")]])
    assert [turn.text for turn in on.turns if turn.role == "decomposer"][:2] == ["", ""]
    assert [turn.text for turn in on.turns if turn.role == "solver"][1]
    [ended] = students.solve(asked[:1], said=[[silent, ("solver", "#### 3")]])
    assert (ended.answer, ended.status) == ("3", "finished")
    assert texts(ended.turns) == ["", "#### 3", ""]
    with pytest.raises(UserError, match="no gold steps to give"):
        whole.solve(asked, given="subquestions")


def test_history_is_graded_step_by_step(workdir, capsys):
    report, predictions = evaluate(workdir, sampling__given="history", evaluation__problems=5)
    assert report["n"] == len(predictions) > 5
    first, second = predictions[:2]
    assert (first["id"], second["id"]) == ("arithmetic/test/0/step/1", "arithmetic/test/0/step/2")
    assert [turn["role"] for turn in second["turns"][:3]] == ["decomposer", "solver", "decomposer"]
    # The gold solution stands in the history of the second step, and its value is the first answer.
    assert second["turns"][1]["text"].endswith(first["answer"])
    steps = f"on {len(predictions)} gold steps of 5 test problems"
    assert report["problems"] == 5 and capsys.readouterr().out.count(steps) == 2


def test_given_turns_are_cut_by_the_dialogues_cap_alone(workdir, capsys):
    """A cap of a few tokens per turn holds for what the solver writes itself."""
    given = {"sampling__given": "history", "evaluation__problems": 8}
    report, predictions = evaluate(workdir, sampling__max_turn_tokens=3, **given)
    gold = {a.id: a for a in arithmetic.load_annotations("test", **options(workdir))}
    whole = 0
    for prediction in predictions:
        own, turns = own_turn(prediction), prediction["turns"]
        if len(turns) > own:
            steps = gold[prediction["id"].rpartition("/step/")[0]].steps
            texts = [text for step in steps for text in (step.subquestion, step.solution)]
            assert [turn["text"] for turn in turns[:own]] == texts[:own]
            assert turns[own]["tokens"] <= 3
            whole += turns[0]["tokens"] > 3
    assert whole > 5 and f"{report['ended_in_given']} of" not in capsys.readouterr().out
    report, predictions = evaluate(workdir, sampling__max_tokens=20, **given)
    ended = [p for p in predictions if len(p["turns"]) <= own_turn(p)]
    assert report["ended_in_given"] == len(ended) > 0
    # Else the gold solution of the step before would have been graded.
    assert any(len(p["turns"]) > 1 for p in ended)
    assert all(p["prediction"] is None and not p["correct"] for p in ended)
    warning = f"warning: {len(ended)} of {report['n']} dialogues ended in what was given"
    assert warning in capsys.readouterr().out


def own_turn(prediction):
    """The index of the turn that the solver writes itself, of a step of a history."""
    return 2 * int(prediction["id"].rpartition("/")[2]) - 1


def options(workdir):
    return json.loads((workdir / "config.json").read_text())["config"]["task_options"]


def test_another_task_and_another_checkpoint(workdir, tmp_path):
    (tmp_path / "test.jsonl").write_text('{"question": "What is 2 and 3?", "answer": "5"}\n')
    steps = {"decomposer": 40, "solver": 60}
    report, predictions = evaluate(
        workdir,
        evaluation__task="distill_jax.tasks.jsonl",
        evaluation__task_options=f"directory={tmp_path}",
        evaluation__checkpoint="decomposer=40,solver=60",
    )
    assert report["checkpoint_steps"] == steps and report["task"] == "distill_jax.tasks.jsonl"
    assert [p["question"] for p in predictions] == ["What is 2 and 3?"]


def test_how_sure_they_are_among_what_was_evaluated(workdir, tmp_path):
    report = json.loads((workdir / "report.json").read_text())
    problems = arithmetic.load("test", **options(workdir))[: report["n"]]
    questions = [p.question for p in problems]
    students = distill_jax.load(workdir, mesh__data=8)
    solutions = students.solve(questions)
    shares = sorted(s.percentile for s in solutions)
    # Between two of 12 dialogues lie 100 / 11 per cent, give or take one for rounding.
    np.testing.assert_allclose(shares, np.linspace(0, 100, report["n"]), atol=1.01)
    least = min(solutions, key=lambda s: s.percentile)
    assert least.unfamiliar and least.unfamiliar in least._repr_html_()
    assert not max(solutions, key=lambda s: s.percentile).unfamiliar
    # What was given is left out, however improbable it is.
    [begun] = students.solve([least.question], said=[[("decomposer", "Zoe?")]])
    known = report["log_probability_quantiles"]
    assert begun.percentile == percentile(mean_log_probability(begun.turns[1:]), known)
    [drawn] = students.solve(questions[:1], temperature=0.7)
    assert drawn.percentile is None and not drawn.unfamiliar
    copy = shutil.copytree(workdir, tmp_path / "w", ignore=shutil.ignore_patterns("report.json"))
    [unknown] = distill_jax.load(copy, mesh__data=8).solve(questions[:1])
    assert unknown.percentile is None and not unknown.unfamiliar


def test_harder_problems_of_the_own_task(workdir):
    report, predictions = evaluate(workdir, evaluation__task_options__difficulty="hard")
    own = options(workdir)
    asked = arithmetic.load("test", **{**own, "difficulty": "hard"})
    assert [p["question"] for p in predictions] == [p.question for p in asked[:12]]
    assert report["evaluation"]["task_options"] == ["difficulty=hard"]
    name = evaluations_like(workdir, report)[0]
    page = (name / "report.html").read_text()
    assert "<title>socratic on arithmetic, difficulty=hard</title>" in page
    assert predictions[0]["id"] in page
    # The gold steps of the harder problems are found again.
    assert set(results.read_evaluation(name).gold) == {p["id"] for p in predictions}
    # The same evaluation in other words: nothing is asked again.
    experiment.evaluate(
        str(workdir), {"evaluation.task_options": "difficulty=hard", "mesh.data": "8"}
    )
    assert evaluations_like(workdir, report) == [name]


def evaluations_like(workdir, report):
    paths = workdir.glob("evaluations/*/report.json")
    return [p.parent for p in paths if json.loads(p.read_text()) == report]


def test_short_names_of_tasks(workdir, tmp_path, monkeypatch):
    stored = Workdir(workdir)
    identity = stored_run(stored, {}).identity()
    run = stored_run(stored, {"task": "arithmetic", "evaluation.task": "arithmetic"})
    assert run.identity() == identity
    assert run.config.evaluation.task == run.evaluated.name == "distill_jax.tasks.arithmetic"
    assert run.evaluated.options == {}  # named: its own defaults, not the run's options
    # A module of one's own comes first.
    (tmp_path / "svamp.py").write_text("load = load_annotations = grade = lambda split: []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "svamp", raising=False)
    assert stored_run(stored, {"evaluation.task": "svamp"}).evaluated.name == "svamp"
    del sys.modules["svamp"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"evaluation.checkpoint": "7"}, "has checkpoints of steps 40, 60"),
        ({"evaluation.checkpoint": "newest"}, "choose last, best, a step"),
        (
            {"evaluation.task_options.size": "3"},
            "config.evaluation.task_options has size, which distill_jax.tasks.arithmetic does not "
            "take: it takes difficulty, seed",
        ),
        (
            {"evaluation.task_options.test_problems": "many"},
            "config.evaluation.task_options.test_problems='many' is not of type int",
        ),
        ({"evaluation.task_options": "hard"}, "write key=value,key=value, or set config.eval"),
        ({"evaluation.task": "no_task"}, "config.evaluation.task='no_task': no such module"),
        (
            {"evaluation.task": "jsonl", "evaluation.task_options": "folder=3"},
            "config.evaluation.task_options has folder, which",
        ),
        ({"evaluation.task": "distill_jax.tasks.jsonl"}, "lacks directory"),
        # A task names its option; told is where it was set.
        (
            {"evaluation.task_options.difficulty": "harder"},
            "config.evaluation.task_options.difficulty='harder': choose easiest",
        ),
        (
            {"evaluation.task": "svamp", "evaluation.task_options": "protocol=of_mine"},
            "config.evaluation.task_options.protocol: svamp has no protocol",
        ),
        ({"sampling.given_steps": "2"}, "needs config.sampling.given=subquestions"),
        (
            {"mesh.data": "1", "mesh.tensor": "8", "sampling.max_turns": "3"},
            "does not divide by 8 devices (config.mesh: tensor)",
        ),
        ({"sampling.samples": "3"}, "set config.sampling.temperature, e.g. 0.7"),
        ({"sampling.seed": "-1"}, "config.sampling.seed=-1: must be at least 0"),
        ({"sampling.top_p": "0"}, "config.sampling.top_p=0.0"),
        ({"sampling.given": "answers"}, "choose"),
    ],
)
def test_mistakes_are_one_line(workdir, overrides, message):
    with pytest.raises(UserError, match=re.escape(message)):
        experiment.evaluate(str(workdir), {"mesh.data": "8"} | overrides)


def test_a_killed_evaluation_goes_on_without_losing_or_repeating_a_problem(workdir, tmp_path):
    settings = [
        "--workdir", workdir, "--config.sampling.samples=8", "--config.sampling.temperature=1.0",
        "--config.evaluation.problems=40", "--config.sampling.slots=2", "--config.seed=0",
    ]  # fmt: skip
    before = set((workdir / "evaluations").iterdir())
    process = subprocess.Popen(
        command("evaluate", *settings), cwd=ROOT, env=environment(), stdout=subprocess.PIPE
    )
    partial = None
    while partial is None or partial.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        time.sleep(0.01)
        [*new] = set((workdir / "evaluations").iterdir()) - before
        files = list(new[0].glob("partial-0.jsonl")) if new else []
        partial = files[0] if files else None
    process.kill()
    process.wait()
    directory = partial.parent
    assert not (directory / "report.json").exists()
    with partial.open("a") as file:
        file.write('{"sample": 3, "id": "arithmetic/te')  # as a kill in the middle of a line
    kept = partial.read_text().split("\n")[:-1]
    done = run("evaluate", *settings)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} of 320 dialogues are there already" in done.stdout
    files = ["predictions.jsonl", "report.html", "report.json"]
    assert sorted(p.name for p in directory.iterdir()) == files
    resumed = (directory / "predictions.jsonl").read_text()
    rows = [json.loads(line) for line in resumed.strip().split("\n")]
    assert [row["id"] for row in rows] == [f"arithmetic/test/{i}" for i in range(40)]
    # The kept ones are there as they were, and the whole equals one that was not interrupted.
    for line in kept:
        row = json.loads(line)
        sample = rows[int(row["id"].split("/")[-1])]["samples"][row["sample"]]
        assert [turn["text"] for turn in sample["turns"]] == [t["text"] for t in row["turns"]]
    cost = json.loads((directory / "report.json").read_text())["cost"]
    (directory / "report.json").unlink()
    (directory / "predictions.jsonl").unlink()
    assert run("evaluate", *settings).returncode == 0
    assert json.loads((directory / "report.json").read_text())["cost"] == cost
    assert (directory / "predictions.jsonl").read_text() == resumed
    assert "nothing left to do" in run("evaluate", *settings).stdout
    broken = rows[0] | {"cost": {"prompt_tokens": -1}}
    (directory / "predictions.jsonl").write_text(json.dumps(broken) + "\n")
    refused = run("evaluate", *settings)
    assert refused.returncode == 2
    assert "predictions.jsonl:1: not a prediction (cost.prompt_tokens=-1: " in refused.stderr


def test_the_python_face(workdir):
    students = distill_jax.load(workdir, mesh__data=8, evaluation__checkpoint="60")
    assert students.roles == ("decomposer", "solver")
    assert students.steps == {"decomposer": 60, "solver": 60}
    questions = ["Ann has 3 bags.", "Ben has 2 hats and 1 cap.", "Ann has 3 bags."]
    one, two, same = students.solve(questions)
    assert one == same and one.question == questions[0] and sum(two.votes.values()) == 1
    # As in the evaluation, which was greedy.
    headline = (workdir / "report.json").read_text()
    [path] = [
        path for path in (workdir / "evaluations").iterdir()
        if (path / "report.json").read_text() == headline
    ]  # fmt: skip
    first = json.loads((path / "predictions.jsonl").read_text().split("\n")[0])
    [solution] = students.solve([first["question"]])
    assert [turn.text for turn in solution.turns] == [turn["text"] for turn in first["turns"]]
    assert (solution.answer, solution.status) == (first["prediction"], first["status"])
    several, other = (
        students.solve(questions[:1], samples=5, temperature=1.0, seed=seed)[0] for seed in (1, 2)
    )
    assert sum(several.votes.values()) == 5 and next(iter(several.votes)) == several.answer
    assert several != other
    # As config.sampling.seed; 0 is what the run draws with anyway.
    sampled = {"samples": 5, "temperature": 1.0}
    assert distill_jax.load(workdir, mesh__data=8, sampling__seed=2).solve(
        questions[:1], **sampled
    ) == [other]
    again = students.solve(questions[:1], seed=0, **sampled)
    assert again == students.solve(questions[:1], **sampled) != [other]
    said = [("decomposer", "How many bags?"), ("solver", "3 = 3")]
    [edited] = students.solve(questions[:1], said=[said])
    assert [(turn.role, turn.text) for turn in edited.turns[:2]] == said
    assert students.solve([]) == []
    # Turns of a solution go in as they are.
    [again] = students.solve(questions[:1], said=[edited.turns[:2]])
    assert again == edited
    # A cap on turns is for what the students write themselves.
    long = [("decomposer", "How many bags are there in the end?"), said[1]]
    [solution] = students.solve(questions[:1], said=[long], max_turn_tokens=2)
    assert [(turn.role, turn.text) for turn in solution.turns[:2]] == long
    assert all(turn.tokens <= 2 for turn in solution.turns[2:]) and len(solution.turns) > 2
    with pytest.raises(UserError, match="questions is a list"):
        students.solve(questions[0])
    for settings, message in (
        ({"top_q": 3}, "did you mean sampling.top_p"),
        ({"said": [[("solver", "3")]]}, "it is the turn of decomposer"),
        ({"said": []}, "said has 0 beginnings for 1 questions"),
        ({"slots": -1}, "must be at least 0"),
        ({"seed": -1}, "config.sampling.seed=-1: must be at least 0"),
        ({"said": [said], "max_turns": 2}, "tokens in 2 turns leave no room to go on"),
        ({"said": [said], "max_tokens": 4}, "raise max_tokens .now 4. or max_turns"),
        ({"given": "history"}, "write turns with solve.said="),
        ({"samples": 2, "temperature": 0.0}, "at temperature 0 would all be the same"),
        ({"said": [["solver: 3"]]}, "a list of turns for each question"),
    ):
        with pytest.raises(UserError, match=message):
            students.solve(questions[:1], **settings)


def test_another_setting_from_python(workdir, capsys):
    settings = {"mesh__data": 8, "sampling__given": "subquestions", "evaluation__problems": 7}
    results = distill_jax.evaluate_run(workdir, **settings)
    assert results.report["sampling"]["given"] == "subquestions"
    assert len(results.predictions) == results.report["n"] == 7
    gold = {a.id: a for a in arithmetic.load_annotations("test", **options(workdir))}
    for prediction in results.predictions:
        asked = prediction.turns[0]
        assert asked.text == gold[prediction.id].steps[0].subquestion
    assert "nothing left to do" not in capsys.readouterr().out
    again = distill_jax.evaluate_run(workdir, **settings)
    assert again.predictions == results.predictions
    assert "nothing left to do" in capsys.readouterr().out
    # The headline stays what it was.
    headline = distill_jax.read_run(workdir)
    assert headline.report == json.loads((workdir / "report.json").read_text())
    assert len(headline.predictions) == 12
    with pytest.raises(UserError, match=r"did you mean sampling\.given"):
        distill_jax.evaluate_run(workdir, sampling__givn="nothing")


def test_loading_says_nothing(workdir):
    """libtpu, where it is installed on a machine without TPU, would log errors."""
    script = "import sys, distill_jax\ndistill_jax.load(sys.argv[1]).solve(['What is 2 and 3?'])"
    env = {key: value for key, value in environment().items() if key != "JAX_PLATFORMS"}
    done = subprocess.run(
        [sys.executable, "-c", script, workdir], env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_held_rows_go_on_with_a_value_an_empty_turn_or_the_end(workdir):
    sampler = distill_jax.load(workdir, mesh__data=8)._sampler({"calculator": True})

    def resume(text, ended):
        tokens = sampler.tokenizer.encode([text])[0]
        turn = WrittenTurn(1, tokens, len(tokens) + ended, 0.0)
        return sampler._resume(0, Dialogue([turn], "running"))

    assert sampler.tokenizer.decode(resume("half of it is <<48/2=", False)) == "24"
    assert resume("a third is <<1/3=", False) == []
    rules = sampler.rules
    assert resume("4 + 8 = 12", True) == [rules.end_of_turn, FREE_TURN, HOLD]
    assert resume("12 - 5 = 7\n#### 7", True) == [rules.end_of_text]


def test_a_directory_without_a_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is this the directory of a run"):
        distill_jax.load(tmp_path)
    done = run("evaluate", "--workdir", tmp_path)
    assert done.returncode == 2 and "is this the directory of a run" in done.stderr
