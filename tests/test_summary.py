"""report.json worked out by hand."""

import dataclasses
import json

import pytest

from distill_jax.dialogues.votes import combine
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.evaluation.summary import (
    Circumstances,
    asked,
    closing_lines,
    cost_line,
    summarise,
)
from distill_jax.records import Cost, Prediction, Turn

SETTINGS = {
    "task": "distill_jax.tasks.arithmetic",
    "split": "dev",
    "checkpoint_steps": {"decomposer": 20, "solver": 30},
    "identity": {"scheme": "socratic"},
    "seed": 3,
    "seconds": 1.5,
    "sampling": {"temperature": 0.0},
}


def prediction(number, scores, status="finished", tokens=(), steps=None):
    strict, flexible, normalised = scores
    turns = tuple(Turn("solver", "text", count, -1.0) for count in tokens)
    return Prediction(
        id=f"test/{number}",
        question="q",
        answer="1",
        completion="c",
        turns=turns,
        prediction="1",
        correct=normalised,
        scores={"strict": strict, "flexible": flexible, "normalised": normalised},
        status=status,
        attributes={} if steps is None else {"steps": steps},
        cost=Cost(100 + number, sum(tokens), 1_000_000 * sum(tokens)),
    )


PREDICTIONS = [
    prediction(0, (True, True, True), tokens=(5, 6), steps=3),
    prediction(1, (False, True, True), tokens=(4,), steps=2),
    prediction(2, (False, True, False), "turn_cap", tokens=(1, 1, 1), steps=3),
    prediction(3, (False, False, False), "unparsed", steps=10),
    prediction(4, (True, True, True), tokens=(2,)),
]


def test_by_hand():
    summary = summarise(PREDICTIONS, {}, Circumstances(**SETTINGS))
    assert (summary["n"], summary["accuracy"]) == (5, 0.6)
    assert summary["accuracy_interval"] == list(wilson_interval(3, 5))
    assert summary["accuracy_interval_method"] == "Wilson 95 %"
    steps = SETTINGS | {"sampling": {**SETTINGS["sampling"], "given": "history"}}
    steps = summarise(PREDICTIONS, {}, Circumstances(**steps))
    assert steps["accuracy_interval_method"].startswith("Wilson 95 % (too narrow:")
    assert summary["headline_extractor"] == "normalised"
    assert summary["scores"] == {
        "strict": {"accuracy": 0.4, "interval": list(wilson_interval(2, 5))},
        "flexible": {"accuracy": 0.8, "interval": list(wilson_interval(4, 5))},
        "normalised": {"accuracy": 0.6, "interval": list(wilson_interval(3, 5))},
    }
    assert summary["status"] == {"finished": 3, "turn_cap": 1, "unparsed": 1}
    assert summary["right_by_status"] == {"finished": 3}
    assert summary["turns"] == {"mean": 7 / 5}
    assert summary["tokens"] == {"generated": 20, "mean": 4.0}
    assert summary["cost"] == {"prompt_tokens": 510, "tokens": 20, "flops": 20_000_000}
    assert summary["checkpoint_rule"] == "last"
    for key, value in SETTINGS.items():
        assert summary[key] == value
    assert json.loads(json.dumps(summary)) == summary


def test_right_answers_of_stopped_dialogues_are_told():
    """An end without a readable answer is an end; reports of before say nothing of it."""
    limit = [prediction(5, (True, True, True), status) for status in ("turn_cap", "unparsed")]
    summary = summarise(PREDICTIONS + limit, {}, Circumstances(**SETTINGS)) | {"problems": 7}
    summary["sampling"]["given"] = ""
    (line,) = (line for line in closing_lines(summary) if "stopped" in line)
    assert line.startswith("1 of the right answers are of dialogues that a limit stopped: ")
    del summary["right_by_status"]
    assert not any("stopped" in line for line in closing_lines(summary))


def test_by_steps_counts_only_problems_that_say_their_steps():
    rows = summarise(PREDICTIONS, {}, Circumstances(**SETTINGS))["by_steps"]
    assert [(row["steps"], row["correct"], row["n"]) for row in rows] == [
        (2, 1, 1),
        (3, 1, 2),
        (10, 0, 1),
    ]
    assert rows[1]["accuracy"] == 0.5
    assert rows[1]["interval"] == list(wilson_interval(1, 2))


def test_a_guesser_is_excluded_only_below_the_interval():
    low, high = wilson_interval(3, 5)  # about 0.23 to 0.88
    accuracies = {"below": low - 0.01, "on the edge": low, "inside": 0.6, "above": high + 0.01}
    guessers = {
        name: {"accuracy": accuracy, "correct": 1, "interval": [0.0, 1.0]}
        for name, accuracy in accuracies.items()
    }
    summary = summarise(PREDICTIONS, guessers, Circumstances(**SETTINGS))
    excluded = {name: entry["excluded"] for name, entry in summary["guessers"].items()}
    assert excluded == {"below": True, "on the edge": False, "inside": False, "above": False}
    assert summary["guessers"]["inside"]["correct"] == 1
    assert "excluded" not in guessers["inside"]


def test_without_predictions():
    guessers = {"last number": {"accuracy": 0.0, "correct": 0, "interval": [0.0, 1.0]}}
    summary = summarise([], guessers, Circumstances(**SETTINGS, checkpoint_rule="best on dev"))
    assert (summary["n"], summary["accuracy"]) == (0, 0.0)
    assert summary["accuracy_interval"] == [0.0, 1.0]
    assert not summary["guessers"]["last number"]["excluded"]
    assert list(summary["scores"]) == ["strict", "flexible", "normalised"]
    assert summary["by_steps"] == []
    assert summary["turns"] == {"mean": 0.0}
    assert summary["cost"] == {"prompt_tokens": 0, "tokens": 0, "flops": 0}
    assert cost_line(summary) == (
        "cost per problem: 0.0 prompt tokens read, 0.0 tokens written, 0 FLOPs"
    )
    assert summary["checkpoint_rule"] == "best on dev"


def voted(number, outcomes):
    """Right samples say 1, wrong ones 0; every sample writes 5 tokens in 2 turns."""
    rows = [prediction(number, (False, right, right), tokens=(2, 3)) for right in outcomes]
    return combine([dataclasses.replace(row, prediction=str(int(row.correct))) for row in rows])


def test_votes_by_hand():
    rows = [
        voted(0, (True, True, False, False, True)),
        voted(1, (False, False, True, False, False)),
        voted(2, (False, False, False, False, False)),
    ]
    summary = summarise(rows, {}, Circumstances(**SETTINGS))
    headline = {"accuracy": 1 / 3, "interval": list(wilson_interval(1, 3))}
    assert summary["samples"] == 5
    assert summary["votes"] == summary["scores"]["normalised"] == headline
    assert (summary["accuracy"], summary["accuracy_interval"]) == tuple(headline.values())
    assert summary["sample_accuracy"] == 4 / 15
    # Of 5 samples 3, 1 and 0 are right: without C(2, k), C(4, k) and C(5, k) of the C(5, k) draws.
    expected = {"1": 3 / 5 + 1 / 5, "2": 9 / 10 + 4 / 10, "4": 1 + 4 / 5, "5": 2}
    assert list(summary["pass_at_k"]) == list(expected)
    for k, total in expected.items():
        assert summary["pass_at_k"][k] == pytest.approx(total / 3, rel=1e-15)
    assert summary["tokens"] == {"generated": 75, "mean": 25.0}
    # Of five samples each, of problems 0, 1 and 2.
    assert summary["cost"] == {"prompt_tokens": 1515, "tokens": 75, "flops": 75_000_000}
    assert summary["turns"] == {"mean": 2.0}
    assert summary["status"] == {"finished": 3}
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize(("n", "ks"), [(2, "1 2"), (3, "1 2 3"), (8, "1 2 4 8")])
def test_which_k(n, ks):
    summary = summarise([voted(0, [True] * n)], {}, Circumstances(**SETTINGS))
    assert summary["pass_at_k"] == dict.fromkeys(ks.split(), 1.0)


def test_what_the_terminal_says():
    more = {"problems": 2, "sampling": {"given": ""}}
    summary = summarise(
        [voted(0, (True, False)), voted(1, (False, False))], {}, Circumstances(**SETTINGS)
    )
    low, high = wilson_interval(1, 2)
    one = "accuracy 50.0% (95 % interval 9.5% to 90.5%) on"
    assert f"accuracy 50.0% (95 % interval {low:.1%} to {high:.1%}) on" == one
    passes = ", majority of 2 dialogues each; pass@1 25.0%, pass@2 50.0%"
    # Two samples of problem 0 and two of problem 1, of 5 tokens each.
    cost = "201.0 prompt tokens read, 10.0 tokens written, 1e+07 FLOPs"
    assert closing_lines(summary | more) == [
        f"{one} 2 dev problems{passes}",
        f"cost per problem: {cost}",
    ]
    steps = {"problems": 1, "sampling": {"given": "history"}, "values_filled_in": 0}
    result = summary | more | steps | {"ended_in_given": 3}
    assert closing_lines(result) == [
        f"{one} 2 gold steps of 1 dev problems{passes}",
        f"cost per gold step: {cost}",
        "calculator: 0 values filled in",
        "warning: 3 of 4 dialogues ended in what was given and have no answer: raise "
        "config.sampling.max_tokens and max_turns, if the context is long enough",
    ]
    assert len(closing_lines(result | {"ended_in_given": 0})) == 3
    assert asked(31, 12, "test", "subquestions") == "12 test problems"


def test_one_sample_adds_nothing():
    assert not {"samples", "votes", "sample_accuracy", "pass_at_k"} & set(
        summarise(PREDICTIONS, {}, Circumstances(**SETTINGS))
    )


@pytest.mark.parametrize("other", [(True,), (True, True, True)])
def test_different_numbers_of_samples_are_refused(other):
    rows = [voted(0, (True, False)), voted(1, other)]
    for order in (rows, rows[::-1]):
        with pytest.raises(ValueError, match="numbers of samples"):
            summarise(order, {}, Circumstances(**SETTINGS))


@pytest.mark.parametrize("extra", ["exact", "zz"])
def test_extractors_of_a_users_own_task(extra):
    row = prediction(0, (True, True, True))
    rows = [row, Prediction(**{**vars(row), "scores": {"normalised": True, extra: True}})]
    summary = summarise(rows, {}, Circumstances(**SETTINGS))
    assert list(summary["scores"]) == ["strict", "flexible", "normalised", extra]
    assert summary["scores"][extra]["accuracy"] == 0.5
