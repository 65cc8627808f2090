"""Evaluations after their data has changed, and of what the students were trained on."""

import dataclasses
import json
import pathlib
import shutil

import pytest
from hostile_students import QUESTION

from distill_jax.dialogues.predict import grade_again
from distill_jax.dialogues.votes import combine
from distill_jax.evaluation.runs import read_evaluation, read_predictions
from distill_jax.run import experiment, stages, stored_evaluation
from distill_jax.run.run import stored_run
from distill_jax.workdir import Workdir, read_json


@pytest.fixture(scope="module")
def trained(hostile_workdir, tmp_path_factory):
    """A copy of a run together with its data: {train,test}.jsonl beside it."""
    place = tmp_path_factory.mktemp("stored")
    for split in ("train", "test"):
        shutil.copy(hostile_workdir.parent / f"{split}.jsonl", place)
    shutil.copytree(hostile_workdir, place / "w")
    config = place / "w" / "config.json"
    config.write_text(config.read_text().replace(str(hostile_workdir.parent), str(place)))
    return place / "w"


@pytest.fixture
def workdir(trained, tmp_path):
    place = shutil.copytree(trained.parent, tmp_path / "own")
    config = place / "w" / "config.json"
    config.write_text(config.read_text().replace(str(trained.parent), str(place)))
    return place / "w"


def rewrite(path, change):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in rows), encoding="utf-8")


def evaluated(workdir, **changes):
    """(directory, report.json, predictions) after another `evaluate`."""
    overrides = {key.replace("__", "."): value for key, value in changes.items()}
    directory = experiment.evaluate(str(workdir), {"mesh.data": 8, **overrides})
    report = read_json(directory / "report.json")
    return directory, report, read_predictions(directory, report)


def written(predictions):
    return [(p.id, p.question, p.turns) for p in predictions]


def is_done(workdir):
    return stages.is_evaluated(stored_run(Workdir(workdir), {}))


def test_nothing_has_changed(workdir, capsys):
    before = {path: path.read_bytes() for path in workdir.rglob("report.*")}
    assert len(before) == 3 and is_done(workdir)
    evaluated(workdir)
    assert "nothing left to do" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


def older(workdir):
    """As an earlier version of the project wrote it, which graded otherwise."""
    directory, _ = stored(workdir)
    rewrite(directory / "predictions.jsonl", lambda row: row | {"correct": False})
    for path in (directory / "report.json", workdir / "report.json"):
        report = json.loads(path.read_text())
        del report["made_from"]
        path.write_text(json.dumps(report | {"accuracy": 0.0}))


def other_grader(workdir):
    directory, _ = stored(workdir)
    rewrite(directory / "predictions.jsonl", lambda row: row | {"correct": False})
    for path in (directory / "report.json", workdir / "report.json"):
        report = json.loads(path.read_text())
        report["made_from"]["grader"] = "0"
        path.write_text(json.dumps(report | {"accuracy": 0.0}))


def other_answers(workdir):
    rewrite(workdir.parent / "test.jsonl", lambda row: row | {"answer": "6"})


def stored(workdir):
    [directory] = (workdir / "evaluations").iterdir()
    return directory, read_json(directory / "report.json")


@pytest.mark.parametrize(
    ("change", "accuracy"), [(other_answers, 0.0), (other_grader, 1.0), (older, 1.0)]
)
def test_what_was_written_is_graded_again_without_asking(change, accuracy, workdir, capsys):
    directory, first = stored(workdir)
    said = written(read_predictions(directory, first))
    assert first["accuracy"] == 1.0 and first["trained_on"] == {}
    change(workdir)
    assert not is_done(workdir)
    # No student is there to be asked.
    shutil.rmtree(workdir / "checkpoints" / "solver" / "150" / "params")
    _, report, predictions = evaluated(workdir)
    out = capsys.readouterr().out
    assert "grading again what was written" in out and f"accuracy {accuracy:.1%}" in out
    assert f"{report['n']} of {report['n']} answers are right or wrong where they were not" in out
    assert report["accuracy"] == accuracy and written(predictions) == said
    same = ("seconds", "cost", "sampling", "checkpoint_steps", "turns")
    assert {key: report[key] for key in same} == {key: first[key] for key in same}
    # The headline was this evaluation, and still is.
    assert read_json(workdir / "report.json") == report
    assert f"{100 * accuracy:.1f}\u202f%" in (workdir / "report.html").read_text(encoding="utf-8")
    assert is_done(workdir)
    evaluated(workdir)
    assert "nothing left to do" in capsys.readouterr().out


@pytest.mark.parametrize("change", [pathlib.Path.unlink, lambda path: path.write_text("{]\n")])
def test_data_that_cannot_be_read(change, workdir, capsys):
    _, first = stored(workdir)
    change(workdir.parent / "test.jsonl")
    assert is_done(workdir)
    _, report, _ = evaluated(workdir)
    out = capsys.readouterr().out
    assert "test.jsonl" in out and "this is the old report of 20" in out
    assert report == first and "accuracy 100.0%" in out


def test_other_questions_are_asked(workdir, capsys):
    """A row more is another question, too."""
    directory, first = stored(workdir)
    path = workdir.parent / "test.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines()[:3]
    path.write_text("\n".join([*rows, rows[0].replace("What is 100", "What is 900")]) + "\n")
    assert not is_done(workdir)
    again, report, predictions = evaluated(workdir)
    assert again == directory and report["n"] == 4 < first["n"]
    assert predictions[3].question.startswith("What is 900") and predictions[3].turns
    assert "the questions are not those of" in capsys.readouterr().out
    assert read_json(workdir / "report.json") == report


def test_grading_again_changes_nothing_if_nothing_has_changed(trained):
    """Of votes too, and of dialogues that were not finished."""
    run = stored_run(Workdir(trained), {})
    directory, report = stored(trained)
    asked = stored_evaluation._asked(run, read_json(trained / "training_data.json"))
    grade = run.evaluated.grade
    for (problem, script), old in zip(
        asked.dialogues, read_predictions(directory, report), strict=True
    ):
        cut = dataclasses.replace(
            old, turns=old.turns[:1], status="turn_cap", prediction=None, correct=False,
            completion=old.turns[0].text, scores=grade("", problem.answer).scores,
        )  # fmt: skip
        for prediction in (old, cut, combine([cut, old, old], grade)):
            assert grade_again(problem, prediction, asked.reader, grade, script) == prediction


@pytest.mark.parametrize("other_task", [False, True])
def test_later_evaluations_name_what_was_trained_on(other_task, workdir, capsys):
    place = workdir.parent
    rows = (place / "train.jsonl").read_text(encoding="utf-8").splitlines()
    new = (place / "test.jsonl").read_text(encoding="utf-8").splitlines()
    known = rows[7].replace("What is", "what  IS")  # the same question as leaks.py sees it
    (place / "more").mkdir()
    name = place / "more" / "test.jsonl" if other_task else place / "other.jsonl"
    name.write_text("\n".join([new[0], known, rows[3]]) + "\n", encoding="utf-8")
    settings = {"evaluation__split": "other"}
    if other_task:
        settings = {
            "evaluation__task": "distill_jax.tasks.jsonl",
            "evaluation__task_options": f"directory={place / 'more'}",
        }
    directory, report, predictions = evaluated(workdir, **settings)
    assert [p.trained_on for p in predictions] == ["", "jsonl/train/7", "jsonl/train/3"]
    split = "test" if other_task else "other"
    named = {f"jsonl/{split}/1": "jsonl/train/7", f"jsonl/{split}/2": "jsonl/train/3"}
    assert report["trained_on"] == named and not report["training_problems"]
    said = f"trained on 2 of these 3 questions: jsonl/{split}/1 = jsonl/train/7, "
    assert said in capsys.readouterr().out
    assert read_evaluation(directory, "x").predictions == predictions


def test_training_problems_are_called_so(workdir, capsys):
    _, report, predictions = evaluated(workdir, evaluation__split="train", evaluation__problems=3)
    assert QUESTION.startswith("What is") and "on 3 training problems" in capsys.readouterr().out
    assert report["training_problems"] and report["trained_on"] == {}
    assert {p.trained_on for p in predictions} == {""}
