"""Intervals against worked values and against scipy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from distill_jax.evaluation.statistics import mean_and_deviation, wilson_interval

Z = 1.959963984540054  # the 97.5 % point of the normal distribution


# Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17
# (1998), table I, method 3, gives these four to four digits.
@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(correct, n, low, high):
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_equals_scipy(case):
    correct, n = case
    theirs = binomtest(correct, n).proportion_ci(0.9, method="wilson")
    assert wilson_interval(correct, n, 0.9) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_edges():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(Z * Z / (10 + Z * Z))
    low, high = wilson_interval(10, 10)
    assert low == pytest.approx(10 / (10 + Z * Z))
    assert high == 1.0


def test_confidence_widens():
    narrow, wide = wilson_interval(30, 100, 0.9), wilson_interval(30, 100, 0.99)
    assert wide[0] < narrow[0] < 0.3 < narrow[1] < wide[1]


@pytest.mark.parametrize(("correct", "n"), [(3, 2), (-1, 2), (1, 0)])
def test_impossible_counts(correct, n):
    with pytest.raises(ValueError, match="out of"):
        wilson_interval(correct, n)


def test_mean_and_deviation():
    # Squared distances from 5: 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, over 8 - 1.
    found = mean_and_deviation([2, 4, 4, 4, 5, 5, 7, 9])
    assert found == (5.0, pytest.approx(math.sqrt(32 / 7)), 8)
    assert mean_and_deviation([0.3, 0.3, 0.3]) == (0.3, 0.0, 3)
    assert mean_and_deviation([0.25]) == (0.25, None, 1)
    with pytest.raises(ValueError, match="no values"):
        mean_and_deviation([])
