"""Rewards and advantages: the worked numbers of 2502.04463's reward, and what must hold for any."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.records import Prediction, Turn
from distill_jax.rewards.correct import reward
from distill_jax.training.advantages import grpo, less_divergence, rloo, whitened

LENGTHS = (100, 200, 300, 400, 150, 250, 350, 120)
CORRECT = (True, True, True, False, True, False, False, True)


def sample(tokens, correct, status="finished"):
    turns = (Turn("solver", "x", tokens, -1.0),)
    return Prediction("p", "q", "1", "x", turns, "1", correct, {"normalised": correct}, status)


SAMPLES = [sample(*each) for each in zip(LENGTHS, CORRECT, strict=True)]
REWARDS = {
    0.0: (1, 1, 1, 0, 1, 0, 0, 1),
    0.1: (0.973804, 0.941001, 0.914633, 0, 0.958320, 0, 0, 0.968045),
}
ADVANTAGES = {
    0.0: (0.428571,) * 3 + (-0.714286, 0.428571, -0.714286, -0.714286, 0.428571),
    0.1: (0.433518, 0.396029, 0.365895, -0.679401, 0.415823, -0.679401, -0.679401, 0.426937),
    0.4: (0.448359, 0.298402, 0.177864, -0.574745, 0.377576, -0.574745, -0.574745, 0.422034),
}


@pytest.mark.parametrize("alpha", ADVANTAGES)
def test_worked_numbers(alpha):
    """Mean 174 and deviation 71.442284 are those of the right answers alone."""
    found = reward(SAMPLES, alpha)
    if alpha in REWARDS:
        np.testing.assert_allclose(found, REWARDS[alpha], atol=1e-6)
    np.testing.assert_allclose(rloo(found), ADVANTAGES[alpha], atol=1e-6)


def test_what_was_cut_off_is_wrong_whatever_can_be_read_of_it():
    cut = [*SAMPLES[:-1], dataclasses.replace(SAMPLES[-1], status="token_cap")]
    assert reward(cut, 0.1)[-1] == 0.0
    assert reward(cut, 0.1)[0] != reward(SAMPLES, 0.1)[0]  # nor does its length count


def test_one_right_sample_has_the_average_length():
    assert reward([sample(7, True), sample(3, False)], 0.1) == pytest.approx([0.95, 0.0])
    assert reward([sample(7, False), sample(3, False)], 0.1) == [0.0, 0.0]


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=9))
def test_leave_one_out_is_the_distance_to_the_mean_of_the_others(values):
    slow = [x - np.mean(values[:i] + values[i + 1 :]) for i, x in enumerate(values)]
    np.testing.assert_allclose(rloo(values), slow, atol=1e-9)
    assert abs(grpo(values).sum()) < 1e-6


def test_samples_that_are_all_alike_teach_nothing():
    assert not rloo([1.0] * 8).any() and not grpo([0.0] * 8).any()
    assert not np.concatenate(whitened([np.ones(3), np.ones(5)])).any()
    assert whitened([]) == []


def test_whitened_over_the_tokens_of_all_samples():
    advantages = rloo(reward(SAMPLES, 0.1))
    by_token = [np.full(n, a) for n, a in zip(LENGTHS, advantages, strict=True)]
    found = whitened(by_token)
    firsts = [each[0] for each in found]
    expected = [1.138315, 1.068568, 1.012503, -0.932233, 1.105393]
    np.testing.assert_allclose(firsts[:5] + firsts[7:], [*expected, 1.126071], atol=2e-6)
    assert [len(each) for each in found] == list(LENGTHS)


def test_a_token_answers_for_the_divergence_that_follows_it():
    old, reference = np.array([-1.0, -2.0, -3.0]), np.array([-1.2, -1.9, -3.3])
    found = less_divergence(0.5, old, reference, 1e-3)
    np.testing.assert_allclose(found, [0.4996, 0.4998, 0.4997], atol=1e-9)


@pytest.mark.parametrize("advantage", [rloo, grpo])
@pytest.mark.parametrize("samples", range(2, 33))
def test_equal_rewards_are_no_lesson_and_neither_is_their_rounding(advantage, samples):
    for value in (0.95, 0.7, 1.0, 0.0):
        assert not advantage([value] * samples).any()
    assert advantage([0.95] * (samples - 1) + [0.96]).all()
