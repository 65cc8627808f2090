"""Majority votes and pass@k, by hand and by enumeration; records of several samples."""

import dataclasses
import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax import records
from distill_jax.dialogues import sampler, votes
from distill_jax.dialogues.votes import combine, majority, one_spelling, pass_at_k
from distill_jax.records import Cost, Prediction, Sample, Turn
from distill_jax.tasks import jsonl


@pytest.mark.parametrize(
    ("answers", "log_probabilities", "winner"),
    [
        (["7"], [-1.0], 0),
        (["7", "8", "8"], [-0.1, -2.0, -1.0], 2),  # the most frequent; its most probable sample
        (["7", "8"], [-2.0, -1.0], 1),  # one each: the more probable
        (["7", "8", "7", "8"], [-1.0, -1.5, -4.0, -1.5], 1),  # means -2.5 and -1.5
        (["7", "8", "7", "8"], [-1.0, -2.0, -2.0, -1.0], 0),  # equal means: the first
        (["8", "7", "7"], [-9.0, -1.0, -1.0], 1),  # equally probable samples: the first
        ([None, None, "7"], [-0.1, -0.1, -9.0], 2),  # what cannot be read never wins
        ([None, None, None], [-3.0, -1.0, -2.0], 1),  # unless nothing can be
    ],
)
def test_majority_by_hand(answers, log_probabilities, winner):
    assert majority(answers, log_probabilities) == winner


ANSWERS = st.sampled_from(["7", "8", "9", None])
# Quarters: their sums are exact in any order.
LOG_PROBABILITIES = st.integers(-8, 0).map(lambda n: n / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(ANSWERS, LOG_PROBABILITIES), min_size=1, max_size=8))
def test_nothing_beats_the_winner(samples):
    answers, log_probabilities = zip(*samples, strict=True)
    winner = majority(answers, log_probabilities)

    def rank(index):
        mine = [p for a, p in samples if a == answers[index]]
        first = answers.index(answers[index])
        readable = answers[index] is not None
        return readable, len(mine), sum(mine) / len(mine), -first, samples[index][1], -index

    assert winner == max(range(len(samples)), key=rank)


def chained(steps, answer):
    """A sample that writes so many steps."""
    text = "\n".join(["1 + 1 = 2"] * steps + [f"#### {answer}"])
    turns = (Turn("planner", "<1>", 2, -0.1), Turn("solver", text, 9, -1.0))
    return Prediction("p", "Q?", "7", text, turns, answer, answer == "7", {}, "finished")


def test_the_length_filtered_vote_by_hand():
    """Of 14 chains the plain vote says 9, 5 to 4; the lengths that agree most say 7, 4 to 3."""
    lengths, answers = (3, 3, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9, 10, 10), "77779998812993"
    drawn = [chained(*row) for row in zip(lengths, answers, strict=True)]
    assert combine(drawn).prediction == "9"
    filtered = combine(drawn, rule=votes.rule_of("length", 2, 3))
    assert filtered.prediction == "7" and len(filtered.samples) == 14
    # One bucket for all lengths is the plain vote.
    assert combine(drawn, rule=votes.rule_of("length", 99, 3)).prediction == "9"
    assert votes.rule_of("majority", 2, 3) is votes.majority_sample


def test_evaluations_by_majority_are_kept_as_before_there_was_another_rule():
    settings_ = {"samples": 4, "vote": "majority", "vote_width": 2, "vote_buckets": 3}
    assert sampler.to_keep(settings_) == {"samples": 4}
    assert sampler.to_keep(settings_ | {"vote": "length"}) == settings_ | {"vote": "length"}
    # One dialogue does not vote, whatever the rule.
    assert sampler.to_keep(settings_ | {"samples": 1, "vote": "length"}) == {"samples": 1}


def test_majority_refuses():
    with pytest.raises(ValueError):
        majority([], [])
    with pytest.raises(ValueError):
        majority(["7", "8"], [-1.0])


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_draws_with_a_right_sample(n):
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        outcomes = [True] * c + [False] * (n - c)
        draws = [any(draw) for draw in itertools.combinations(outcomes, k)]
        assert pass_at_k(n, c, k) == sum(draws) / len(draws)


def test_pass_at_k_of_many_samples():
    assert pass_at_k(10_000, 1, 100) == 0.01
    assert pass_at_k(10**4, 1, 1) == 1e-4
    # As a product of small factors, the form of the paper's program.
    product = math.prod(1 - 100 / i for i in range(10_000 - 50 + 1, 10_000 + 1))
    assert pass_at_k(10_000, 50, 100) == pytest.approx(1 - product, rel=1e-12)
    assert pass_at_k(10_000, 9_950, 100) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6), (0, 0, 1)])
def test_pass_at_k_refuses(n, c, k):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(n, c, k)


def drawn(answer, log_probability=-1.0, tokens=(2, 3), number=0, status="finished"):
    """One sample as a prediction; its log probability is the same in every turn."""
    turns = tuple(Turn("solver", f"{answer}.", count, log_probability) for count in tokens)
    correct = answer == "7"
    return Prediction(
        id=f"test/{number}",
        question="q",
        answer="7",
        completion=f"so {answer} at {log_probability}",
        turns=turns,
        prediction=answer,
        correct=correct,
        scores={"strict": False, "normalised": correct},
        status=status,
        attributes={"steps": 2},
        answered_by=f"student {answer}",
        cost=Cost(10, sum(tokens), 1000 + number),
    )


def test_combine():
    drawings = [drawn("8", -0.5), drawn("7", -4.0), drawn(None, 0.0, status="unparsed")]
    drawings.append(drawn("7", -3.0, tokens=(4, 4)))
    voted = combine(drawings)
    assert dataclasses.replace(voted, samples=(), cost=drawings[3].cost) == drawings[3]
    assert voted.cost == Cost(40, 5 + 5 + 5 + 8, 4000)
    assert voted.answered_by == "student 7"
    assert [sample.index for sample in voted.samples] == [0, 1, 2, 3]
    assert [sample.prediction for sample in voted.samples] == ["8", "7", None, "7"]
    assert [sample.log_probability for sample in voted.samples] == [-1.0, -8.0, 0.0, -6.0]
    assert [sample.tokens for sample in voted.samples] == [5, 5, 5, 8]
    shared = {f.name for f in dataclasses.fields(Sample)} - {"index", "log_probability", "tokens"}
    for sample, drawing in zip(voted.samples, drawings, strict=True):
        for name in shared:
            assert getattr(sample, name) == getattr(drawing, name)


@pytest.mark.parametrize(
    ("answers", "winner", "spelled"),
    [
        (["Friday", "Thursday", "thursday.", "Friday", "**THURSDAY**"], "Thursday", 3),
        (["12", "10", "10", "12", "12"], "12", 3),
        (["12 kg", "10", "12 kilograms", "10", "12  kg"], "12 kg", 3),
        (["Room 12", "12", "12", "room 12", "Room 12"], "Room 12", 3),
        ([None, None, "yes", None], "yes", 1),
    ],
)
def test_answers_that_grade_as_equal_are_one_vote(answers, winner, spelled):
    voted = combine([dataclasses.replace(drawn(a), correct=False) for a in answers], jsonl.grade)
    assert voted.prediction == winner
    assert [sample.prediction for sample in voted.samples].count(winner) == spelled
    # What was written stays, and who comes first decides only how the answer is spelled.
    assert [s.turns for s in voted.samples] == [drawn(a).turns for a in answers]
    turned = combine([drawn(a) for a in answers[::-1]], jsonl.grade)
    assert jsonl.grade(f"#### {turned.prediction}", winner).scores["normalised"]


def test_numbers_with_other_words_are_other_answers():
    """Three of four say 10 am, and the surest one says 10 pm."""
    said = [("10 pm", -0.1), ("10 am", -2.0), ("10 am", -2.0), ("10 AM", -2.0)]
    graded = [jsonl.grade(f"So\n#### {text}", "10 am") for text, _ in said]
    drawings = [
        dataclasses.replace(
            drawn(grade.prediction, log_probability), correct=grade.scores["normalised"]
        )
        for grade, (_, log_probability) in zip(graded, said, strict=True)
    ]
    voted = combine(drawings, jsonl.grade)
    assert (voted.prediction, voted.correct) == ("10 am", True)
    # Where the known answer has no words, those of answers do not part them.
    assert jsonl.grade("#### 7 apples", "7").prediction == "7"


def test_numbers_are_not_graded_to_be_told_apart():
    def never(completion, answer):
        raise AssertionError(completion, answer)

    answers = [str(n % 7 - 3) for n in range(100)]
    assert one_spelling(answers, never) == answers


@given(st.lists(st.sampled_from(["Ann", "ann", "ANN.", "Ben", "5", "5.0", "+5", "6", None])))
def test_one_spelling_is_the_slow_obvious_way(answers):
    """Each answer as the first of the list that is equal to it."""

    def equal(a, b):
        both = jsonl.grade(f"#### {a}", b), jsonl.grade(f"#### {b}", a)
        return all(grade.scores["normalised"] for grade in both)

    expected = [
        a if a is None else next(b for b in answers if b is not None and (a == b or equal(a, b)))
        for a in answers
    ]
    assert one_spelling(answers, jsonl.grade) == expected


def test_ties_are_broken_per_token():
    # The sum of "8" is lower, its mean per token is higher: -6 / 20 against -4 / 4.
    voted = combine([drawn("7", -4.0, tokens=(4,)), drawn("8", -6.0, tokens=(20,))])
    assert voted.prediction == "8"


def test_combine_of_one_and_of_nothing_written():
    alone = drawn("7")
    assert combine([alone]) is alone
    empty = drawn(None, tokens=(), status="prompt_too_long")
    voted = combine([empty, empty])
    assert (voted.prediction, voted.status, len(voted.samples)) == (None, "prompt_too_long", 2)


def test_combine_refuses():
    with pytest.raises(ValueError, match="one problem"):
        combine([])
    with pytest.raises(ValueError, match="one problem"):
        combine([drawn("7"), drawn("7", number=1)])
    with pytest.raises(ValueError, match="not a sample"):
        combine([combine([drawn("7"), drawn("8")]), drawn("7")])


@pytest.mark.parametrize("count", [1, 3])
def test_predictions_survive_json(count):
    voted = combine([drawn(answer, -0.1) for answer in ["7", None, "8"][:count]])
    row = json.loads(records.to_json(voted))
    assert records.prediction_from_dict(row) == voted
    assert len(row["samples"]) == (0 if count == 1 else count)
    if count == 1:  # as written before there were samples
        del row["samples"]
        assert records.prediction_from_dict(row) == voted


@pytest.mark.parametrize("wrong", [-1, 1.5, "3", None, True])
@pytest.mark.parametrize("field", ["prompt_tokens", "tokens", "flops"])
def test_costs_in_a_file_are_whole_numbers(field, wrong):
    row = json.loads(records.to_json(combine([drawn("7"), drawn("8")])))
    for changed in (row, row["samples"][1]):
        good = changed["cost"]
        changed["cost"] = good | {field: wrong}
        with pytest.raises(TypeError, match=f"cost.{field}="):
            records.prediction_from_dict(row)
        changed["cost"] = good
    with pytest.raises(TypeError, match="dollars"):
        records.prediction_from_dict(row | {"cost": good | {"dollars": 1}})
    with pytest.raises(KeyError, match="cost"):
        records.prediction_from_dict({k: v for k, v in row.items() if k != "cost"})
    assert records.prediction_from_dict(row).samples[1].cost == Cost(10, 5, 1000)
