"""Calibration by hand, and against counting pairs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.evaluation.calibration import (
    answer_probability,
    auroc,
    calibration,
    expected_calibration_error,
    reliability,
)
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Prediction, Turn

ANSWERS = st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()))


def prediction(log_probabilities, correct=True, role="solver"):
    turns = [
        turn
        for asked, solved in log_probabilities
        for turn in (Turn("decomposer", "?", 2, asked), Turn(role, "1", 2, solved))
    ]
    return Prediction("p", "Q?", "1", "", tuple(turns), "1", correct, {}, "finished")


def test_probability_of_the_last_solution_and_of_all():
    spoken = prediction([(-0.5, -1.0), (-0.25, math.log(0.5))])
    assert answer_probability(spoken) == pytest.approx(0.5)
    whole = answer_probability(spoken, transcript=True)
    assert whole == pytest.approx(0.5 * math.exp(-1.75))


def test_reliability_by_hand():
    probabilities = [0.05, 0.15, 0.12, 0.95, 1.0]
    bins = reliability(probabilities, [False, True, False, True, True])
    assert [(b.low, b.high, b.n) for b in bins] == [(0.0, 0.1, 1), (0.1, 0.2, 2), (0.9, 1.0, 2)]
    assert [b.probability for b in bins] == pytest.approx([0.05, 0.135, 0.975])
    assert [b.accuracy for b in bins] == [0.0, 0.5, 1.0]
    assert bins[1].interval == wilson_interval(1, 2)
    # (1 x 0.05 + 2 x 0.365 + 2 x 0.025) / 5
    assert expected_calibration_error(bins) == pytest.approx(0.166)


def test_a_probability_on_a_border_belongs_to_the_upper_bin():
    (only,) = reliability([0.5], [True], bins=2)
    assert (only.low, only.high) == (0.5, 1.0)
    assert reliability([], []) == []


def test_auroc_by_hand():
    # Right 0.9 and 0.4 against wrong 0.4 and 0.1: wins 1, 1, a half, 1.
    assert auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auroc([0.1, 0.9], [True, False]) == 0.0
    assert auroc([0.5, 0.7], [True, True]) is None
    assert auroc([], []) is None


@given(ANSWERS)
def test_auroc_against_counting_pairs(answers):
    pairs = [
        1.0 if right > wrong else 0.5 if right == wrong else 0.0
        for right, is_right in answers
        if is_right
        for wrong, is_wrong in answers
        if not is_wrong
    ]
    found = auroc([score for score, _ in answers], [outcome for _, outcome in answers])
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@given(ANSWERS.filter(bool), st.integers(1, 12))
def test_error_against_bin_by_bin(answers, number):
    total = 0.0
    for index in range(number):
        last = index == number - 1
        members = [
            (p, right)
            for p, right in answers
            if index <= p * number and (p * number < index + 1 or last)
        ]
        if members:
            accuracy = sum(right for _, right in members) / len(members)
            confidence = sum(p for p, _ in members) / len(members)
            total += len(members) / len(answers) * abs(accuracy - confidence)
    bins = reliability([p for p, _ in answers], [right for _, right in answers], number)
    assert expected_calibration_error(bins) == pytest.approx(total)
    assert sum(each.n for each in bins) == len(answers)


def test_calibration_leaves_out_who_said_nothing():
    silent = prediction([], correct=False)
    others = [prediction([(-1.0, math.log(0.9))]), prediction([(-1.0, math.log(0.2))], False)]
    found = calibration([silent, *others])
    assert found is not None
    assert (found.n, found.auroc) == (2, 1.0)
    assert found.expected_error == pytest.approx((0.1 + 0.2) / 2)
    whole = calibration(others, transcript=True)
    assert whole is not None
    assert whole.bins[0].probability == pytest.approx(0.2 * math.exp(-1))
    assert calibration([silent]) is None
