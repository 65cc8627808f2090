"""Several evaluations of one run in one report, from directories as the commands leave them."""

import csv
import json
import shutil

import pytest
from experiment_runs import run
from run_directories import EVALUATION, SAMPLING, solved, write_run

from distill_jax import errors
from distill_jax import report as entry_point
from distill_jax.evaluation.ablations import variants, with_all_evaluations
from distill_jax.evaluation.comparison import write_comparison
from distill_jax.evaluation.runs import read_runs
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.summary import Circumstances, summarise
from distill_jax.records import to_json
from distill_jax.tasks import arithmetic
from distill_jax.workdir import read_json, write_json, write_text

PROBLEMS = arithmetic.load("test", test_problems=12)


def answers(right, problems=PROBLEMS):
    steps = [("How many?", "1 + 1 = 2")] * 2
    return [solved(problem, steps, correct=i in right) for i, problem in enumerate(problems)]


def start(path, right=range(4), **changes):
    """A run with its headline evaluation alone."""
    write_run(path, answers(right), **changes)
    shutil.rmtree(path / "evaluations" / "other-40-20-0123abcd")
    return path


def add_evaluation(workdir, digest, predictions, sampling=None, **evaluation):
    """Another evaluation of a run: what differs from the headline's settings."""
    settings = EVALUATION | evaluation
    circumstances = Circumstances(
        task="distill_jax.tasks.arithmetic",
        split=settings["split"],
        checkpoint_steps={"decomposer": 40, "solver": 20},
        identity=read_json(workdir / "report.json")["identity"],
        seed=0,
        seconds=1.0,
        checkpoint_rule=settings["checkpoint"],
        sampling=SAMPLING | (sampling or {}),
    )
    report = summarise(predictions, {}, circumstances)
    report |= {"problems": len(predictions), "evaluation": settings}
    directory = workdir / "evaluations" / f"arithmetic-test-40-{digest}"
    write_text(directory / "predictions.jsonl", "".join(to_json(p) + "\n" for p in predictions))
    write_json(directory / "report.json", report)


@pytest.fixture
def ablated(tmp_path):
    """Right: 0 to 3; with gold subquestions 0 to 8, shuffled 2 to 3, of the best checkpoint 3."""
    path = start(tmp_path / "runs" / "a")
    add_evaluation(path, "00000001", answers(range(9)), {"given": "subquestions"})
    add_evaluation(path, "00000002", answers((2, 3)), {"given": "shuffled", "slots": 4})
    both = {"calculator": True, "given": "nothing"}
    add_evaluation(path, "00000003", answers((3,)), both, checkpoint="best")
    return path


def read_csv(directory, name):
    with open(directory / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_evaluation_is_a_row_against_its_headline(ablated, tmp_path):
    out = tmp_path / "out"
    write_comparison([str(ablated)], out, all_evaluations=True)
    rows = read_csv(out, "evaluations")
    assert [row["differs in"] for row in rows] == [
        "(headline)",
        "checkpoint=best, calculator=True, given=nothing",
        "given=shuffled",
        "given=subquestions",
    ]
    assert {row["run"] for row in rows} == {"a"}
    first, best, shuffled, oracle = rows
    settings = ("given", "calculator", "samples", "checkpoint")
    assert [first[key] for key in settings] == ["nothing given", "off", "1", "last"]
    assert [best[key] for key in settings] == ["nothing", "on", "1", "best"]
    assert float(oracle["accuracy"]) == 9 / 12
    ends = [float(oracle[f"accuracy {end}"]) for end in ("low", "high")]
    assert ends == list(wilson_interval(9, 12))
    assert first["difference in points"] == first["McNemar p"] == ""
    assert float(oracle["difference in points"]) == pytest.approx(5 / 12)
    assert float(oracle["McNemar p"]) == pytest.approx(2 / 2**5)  # 5 against 0
    assert float(shuffled["difference in points"]) == pytest.approx(-2 / 12)
    names = [row["run"] for row in read_csv(out, "runs")]
    assert names[0] == "a" and names[2:] == ["a: given=shuffled", "a: given=subquestions"]
    assert {row["run"] for row in read_csv(out, "paired")} == set(names[1:])
    assert "Evaluations of one run" in (out / "comparison.html").read_text()


def test_an_ensemble_of_the_run_and_another_one_is_a_row_too(ablated, tmp_path):
    file = ablated / "evaluations" / "arithmetic-test-40-00000001" / "report.json"
    report = read_json(file)
    solver = {"steps": 20, "tokens": 1000, "parameters": 700}
    students = {f"{member}/solver": solver for member in (1, 2)}
    combination = {
        "rule": "ensemble", "settings": {"mean": "geometric"}, "students": students,
        "description": "2 students together", "members": [{"name": "a", **report}] * 2,
    }  # fmt: skip
    write_json(file, report | {"combination": combination})
    runs, _ = with_all_evaluations(read_runs([str(ablated)]))
    [together] = [each for each in runs if "combination" in each.report]
    assert together.students == list(students) and together.trained_tokens() == 2000
    write_comparison([str(ablated)], tmp_path / "out", all_evaluations=True)
    assert len(read_csv(tmp_path / "out", "evaluations")) == 4


def test_without_being_asked_only_headlines_are_compared(ablated, tmp_path):
    write_comparison([str(ablated)], tmp_path / "out")
    assert [row["run"] for row in read_csv(tmp_path / "out", "runs")] == ["a"]
    assert not (tmp_path / "out" / "tables" / "evaluations.csv").exists()


def test_seeds_are_grouped_by_what_is_given(tmp_path):
    paths = []
    for seed in (0, 1):
        path = start(tmp_path / f"run-seed{seed}", range(4 + seed), seed=seed)
        add_evaluation(path, "1", answers(range(8 + seed)), {"given": "subquestions"})
        paths.append(str(path))
    write_comparison(paths, tmp_path / "out", all_evaluations=True)
    plain, oracle = read_csv(tmp_path / "out", "seeds")
    assert (plain["arm"], oracle["arm"]) == ("run", "run: given=subquestions")
    assert (plain["n"], float(plain["mean"])) == ("2", pytest.approx(4.5 / 12))
    assert (oracle["n"], float(oracle["mean"])) == ("2", pytest.approx(8.5 / 12))
    differences = [r["difference in points"] for r in read_csv(tmp_path / "out", "evaluations")]
    # Each against its own run's headline.
    assert [bool(difference) for difference in differences] == [False, True, False, True]
    assert float(differences[1]) == float(differences[3]) == pytest.approx(4 / 12)


def test_other_problems_are_left_out_and_named(ablated, tmp_path):
    others = arithmetic.load("dev", dev_problems=5)
    add_evaluation(ablated, "00000004", answers((), others), split="dev")
    write_comparison([str(ablated)], tmp_path / "out", all_evaluations=True)
    assert len(read_csv(tmp_path / "out", "evaluations")) == 4
    said = "Left out, with other problems than the headline of their run: a: split=dev."
    assert said in (tmp_path / "out" / "comparison.md").read_text()


def test_fewer_problems_are_said(ablated, tmp_path):
    add_evaluation(ablated, "00000004", answers((0,))[:6], problems=6)
    write_comparison([str(ablated)], tmp_path / "out", all_evaluations=True)
    rows = {row["differs in"]: row for row in read_csv(tmp_path / "out", "evaluations")}
    assert float(rows["problems=6"]["accuracy"]) == 1 / 6
    assert float(rows["(headline)"]["accuracy"]) == 4 / 6
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    assert "everything here is about the 6 that all of them answered" in markdown


def test_names_that_would_be_the_same_get_the_hash():
    headline = {"evaluation": EVALUATION, "sampling": SAMPLING}
    fewer = headline | {"sampling": SAMPLING | {"slots": 4}}
    drawn = headline | {"sampling": SAMPLING | {"given": "nothing", "slots": 4}}
    again = headline | {"sampling": SAMPLING | {"given": "nothing"}}
    others = {"t-40-aaaa": drawn, "t-40-bbbb": fewer, "t-40-cccc": again, "t-40-dddd": headline}
    assert variants(headline, others) == [
        "given=nothing (aaaa)", "slots=4", "given=nothing (cccc)", "(dddd)",
    ]  # fmt: skip


def test_an_evaluation_that_is_not_finished_is_not_there(ablated, tmp_path):
    (ablated / "evaluations" / "arithmetic-test-40-00000001" / "report.json").unlink()
    write_comparison([str(ablated)], tmp_path / "out", all_evaluations=True)
    assert len(read_csv(tmp_path / "out", "evaluations")) == 3


def test_test_scores_of_epochs_are_in_a_table_of_their_own(ablated, tmp_path):
    def epoch(number, strict, cleansed):
        scores = {"strict": {"accuracy": strict}, "fine_tune_cot": {"accuracy": cleansed}}
        return {"epoch": number, "step": 10 * number, "accuracy": strict, "scores": scores}

    rows = [epoch(1, 0.1, 0.2), epoch(2, 0.0, 0.3), epoch(3, 0.2, 0.3), epoch(4, 0.9, 0.25)]
    content = {"split": "test", "problems": 300, "epochs": rows}
    (ablated / "parity_test_selection.json").write_text(json.dumps(content))
    write_comparison([str(ablated)], tmp_path / "out", all_evaluations=True)
    (row,) = read_csv(tmp_path / "out", "parity_test_selection")
    label = "best of the epochs on test (parity with Fine-tune-CoT; not a result)"
    assert row == {
        "run": "a", "extractor": "fine_tune_cot", "epochs": "4", "last epoch": "0.25",
        label: "0.3", "which": "2",
    }  # fmt: skip
    assert all("0.3" not in r.values() for r in read_csv(tmp_path / "out", "runs"))


def test_ablations_of_a_real_run(tiny_copy, tmp_path):
    """One run, evaluated four ways: one table."""
    path, out = tiny_copy, tmp_path / "out"
    for override in (
        "sampling.given=shuffled",
        "sampling.given=history",
        "evaluation.checkpoint=best",
    ):
        done = run("evaluate", "--workdir", path, f"--config.{override}")
        assert done.returncode == 0, done.stderr
    arguments = [str(path), "--output", str(out), "--evaluations=all"]
    assert errors.run_command(entry_point.main, arguments) == 0
    rows = {row["differs in"]: row for row in read_csv(out, "evaluations")}
    assert list(rows) == ["(headline)", "checkpoint=best", "given=shuffled"]
    assert "w: given=history" in (out / "comparison.md").read_text()
    reports = [read_json(file) for file in path.glob("evaluations/*/report.json")]
    (shuffled,) = (r for r in reports if r["sampling"]["given"] == "shuffled")
    assert float(rows["given=shuffled"]["accuracy"]) == shuffled["accuracy"]
    assert rows["checkpoint=best"]["checkpoint"] == "best"
