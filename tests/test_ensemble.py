"""Students of several runs that answer together."""

import csv
import json
import shutil

import pytest

import distill_jax
from distill_jax.errors import UserError
from distill_jax.evaluation import comparison


@pytest.fixture(scope="module")
def runs(tiny_run, tmp_path_factory):
    """A run and a copy of it, which is another run with the same students."""
    directory = tmp_path_factory.mktemp("runs")
    return [shutil.copytree(tiny_run[0], directory / name) for name in ("one", "two")]


def test_copies_of_one_run_together_answer_as_it_does_alone(runs, tmp_path):
    one, two = runs
    alone = json.loads((one / "report.json").read_text())
    again = distill_jax.evaluate_run(str(one), evaluation__ensemble=(str(two),))
    expected = distill_jax.read_run(str(one)).predictions
    assert [p.completion for p in again.predictions] == [p.completion for p in expected]
    for mine, theirs in zip(again.predictions, expected, strict=True):
        assert mine.answered_by == "ensemble"
        assert mine.cost.flops == 2 * theirs.cost.flops
        assert mine.cost.tokens == theirs.cost.tokens
        total = sum(turn.log_probability for turn in theirs.turns)
        assert sum(turn.log_probability for turn in mine.turns) == pytest.approx(total, abs=1e-3)
    members = again.report["combination"]["members"]
    assert [member["name"] for member in members] == ["one", "two"]
    assert again.report["accuracy"] == alone["accuracy"]
    [both] = [
        path.parent
        for path in (one / "evaluations").glob("*/report.json")
        if "combination" in json.loads(path.read_text())
    ]
    comparison.write_comparison([str(one), str(both)], tmp_path, names=["one", "both"])
    with (tmp_path / "tables" / "settings.csv").open() as file:
        of_one, of_both = csv.DictReader(file)
    for name in ("parameters", "tokens trained"):
        assert int(of_both[name]) == 2 * int(of_one[name]) > 0
    assert of_both["sampling"] == "2 students together, arithmetic mean"


def test_a_question_that_any_member_was_trained_on_is_named(runs):
    one, two = runs
    asked = distill_jax.read_run(str(one)).predictions[0]
    path = two / "annotations.jsonl"
    before = path.read_text()
    path.write_text(before + json.dumps(TRAINED_ON | {"question": asked.question}) + "\n")
    try:
        again = distill_jax.evaluate_run(
            str(one), evaluation__ensemble=(str(two),), evaluation__problems=2
        )
    finally:
        path.write_text(before)
    assert [p.trained_on for p in again.predictions] == ["arithmetic/train/mine", ""]


TRAINED_ON = {"id": "arithmetic/train/mine", "answer": "1", "source": {"kind": "gold"},
              "steps": [{"subquestion": "How many?", "solution": "1"}]}  # fmt: skip


def test_what_cannot_answer_together_is_refused(runs):
    one, two = runs
    with pytest.raises(UserError, match="named twice, or is the run that is evaluated"):
        distill_jax.evaluate_run(str(one), evaluation__ensemble=(str(one),))
    with pytest.raises(UserError, match="choose last or best"):
        distill_jax.evaluate_run(
            str(one), evaluation__ensemble=(str(two),), evaluation__checkpoint="40"
        )
    config = json.loads((two / "config.json").read_text())
    config["config"]["reads"]["decomposer"] = []
    (two / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="differs in its views"):
        distill_jax.evaluate_run(str(one), evaluation__ensemble=(str(two),))
