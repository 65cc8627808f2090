"""How sure students are of a dialogue, among those of their evaluation."""

import numpy as np
import pytest
from run_directories import SAMPLING, identity, solved

from distill_jax.evaluation import familiarity
from distill_jax.evaluation.summary import Circumstances, summarise
from distill_jax.records import Problem, Turn


def test_the_mean_is_per_token_and_leaves_out_what_was_given():
    turns = [Turn("decomposer", "a", 3, -9.0), Turn("solver", "b", 2, -1.0), Turn("d", "", 1, -0.5)]
    assert familiarity.mean_log_probability(turns) == -10.5 / 6
    assert familiarity.mean_log_probability(turns, given=1) == -1.5 / 3
    assert familiarity.mean_log_probability(turns, given=3) is None
    assert familiarity.mean_log_probability([]) is None


def evaluated(log_probabilities, **sampling):
    """report.json of an evaluation whose solutions have these."""
    predictions = [
        solved(Problem(str(n), "q", "1", "test"), [("q", "1")], log_probability=value)
        for n, value in enumerate(log_probabilities)
    ]
    circumstances = Circumstances(
        task="t", split="test", checkpoint_steps={}, identity=identity(), seed=0, seconds=1.0,
        sampling=SAMPLING | sampling,
    )  # fmt: skip
    return summarise(predictions, {}, circumstances)


def test_quantiles_are_kept_and_a_percentile_counts_what_is_below():
    values = -np.random.default_rng(0).exponential(size=500)
    known = evaluated(values)["log_probability_quantiles"]
    means = (values - 0.25) / 16  # the turn of the decomposer, 9 + 7 tokens (run_directories.py)
    np.testing.assert_allclose(known, np.quantile(means, np.linspace(0, 1, 101)), atol=1e-6)
    for value in (*means[:50], means.min() - 1, 0.0):
        below = 100 * np.mean(means < value)
        assert familiarity.percentile(value, known) == pytest.approx(below, abs=1)
    assert familiarity.percentile(means.min() - 1, known) == 0
    assert familiarity.percentile(0.0, known) == 100


@pytest.mark.parametrize(
    ("values", "sampling"),
    [([-1.0, -2.0], {"temperature": 0.7}), ([-1.0, -2.0], {"given": "plan"}), ([-1.0], {})],
)
def test_nothing_is_kept_of_what_cannot_be_compared(values, sampling):
    assert "log_probability_quantiles" not in evaluated(values, **sampling)


def test_only_what_is_rare_among_known_questions_is_told():
    assert familiarity.note(None) == familiarity.note(1) == familiarity.note(100) == ""
    assert "less sure of this dialogue than of any in their evaluation" in familiarity.note(0)
