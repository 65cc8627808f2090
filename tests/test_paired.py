"""Tests of pairs against worked examples, slow versions and simulation."""

import collections
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.evaluation import paired

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def slow_mcnemar(first, second):
    """The chance of a split at least as uneven, where each problem falls to either side alike."""
    total, least = first + second, min(first, second)
    ways = [math.comb(total, k) for k in range(total + 1) if min(k, total - k) <= least]
    return Fraction(sum(ways), 2**total)


def test_mcnemar_by_hand():
    # 1 against 9: 2 (C(10, 0) + C(10, 1)) / 2^10 = 22 / 1024.
    assert paired.mcnemar(1, 9) == pytest.approx(22 / 1024, abs=1e-15)
    assert paired.mcnemar(0, 5) == pytest.approx(2 / 32, abs=1e-15)
    assert paired.mcnemar(4, 4) == 1.0
    assert paired.mcnemar(0, 0) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_against_counting(first, second):
    assert paired.mcnemar(first, second) == pytest.approx(float(slow_mcnemar(first, second)))
    assert paired.mcnemar(first, second) == paired.mcnemar(second, first)


def test_compare():
    baseline = [True] * 6 + [False] * 4
    other = [True] * 5 + [False] + [True] * 3 + [False]
    result = paired.compare(baseline, other)
    assert (result.n, result.only_baseline, result.only_other) == (10, 1, 3)
    assert result.difference == pytest.approx(0.2)
    assert result.p_value == pytest.approx(10 / 16)  # 2 (C(4, 0) + C(4, 1)) / 2^4
    assert result.smallest_difference is None
    assert result.interval[0] < 0.2 < result.interval[1]
    assert result == paired.compare(baseline, other)
    mirrored = paired.compare(other, baseline)
    assert mirrored.difference == -result.difference
    assert mirrored.p_value == result.p_value


def test_compare_refuses():
    with pytest.raises(ValueError, match="no problems"):
        paired.compare([], [])
    with pytest.raises(ValueError, match="shorter"):
        paired.compare([True, False], [True])


def slow_bootstrap(differences, resamples, rng):
    """Draws problems one by one."""
    n = len(differences)
    means = [np.mean(differences[rng.integers(0, n, n)]) for _ in range(resamples)]
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize(("n", "worse", "better"), [(60, 5, 14), (300, 60, 60), (40, 0, 3)])
def test_bootstrap_against_resampling(n, worse, better):
    differences = np.array([-1] * worse + [1] * better + [0] * (n - worse - better))
    slow = slow_bootstrap(differences, 20_000, np.random.default_rng(1))
    fast = paired.bootstrap_interval(n, worse, better, seed=0, resamples=20_000)
    # The ends are multiples of 1/n; two draws of 20,000 may differ by one of them.
    assert fast == pytest.approx(slow, abs=1.01 / n)


def test_bootstrap_against_the_normal_distribution():
    low, high = paired.bootstrap_interval(4000, 300, 420, seed=3, resamples=40_000)
    error = math.sqrt(720 - 120**2 / 4000) / 4000
    assert low == pytest.approx(0.03 - 1.95996 * error, abs=0.0005)
    assert high == pytest.approx(0.03 + 1.95996 * error, abs=0.0005)


def test_bootstrap_edges():
    assert paired.bootstrap_interval(50, 0, 0, seed=0) == (0.0, 0.0)
    assert paired.bootstrap_interval(50, 0, 50, seed=0) == (1.0, 1.0)
    assert paired.bootstrap_interval(50, 5, 9, seed=7) == paired.bootstrap_interval(
        50, 5, 9, seed=7
    )
    narrow = paired.bootstrap_interval(200, 20, 40, seed=0, confidence=0.5)
    wide = paired.bootstrap_interval(200, 20, 40, seed=0, confidence=0.99)
    assert wide[0] < narrow[0] < 0.1 < narrow[1] < wide[1]


def slow_power(n, discordance, difference, alpha):
    """The chance of every outcome of the n problems, added where the test rejects."""
    better, worse = (discordance + difference) / 2, (discordance - difference) / 2
    total = Fraction(0)
    for first, second in itertools.product(range(n + 1), repeat=2):
        if first + second <= n and slow_mcnemar(first, second) <= alpha:
            ways = math.comb(n, first) * math.comb(n - first, second)
            rest = (1 - discordance) ** (n - first - second)
            total += ways * better**first * worse**second * rest
    return float(total)


@pytest.mark.parametrize(
    ("n", "discordance", "difference", "alpha"),
    [(8, "3/5", "1/2", "1/20"), (20, "1/2", "1/4", "1/20"), (20, "1", "1/2", "1/10"),
     (15, "1/3", "0", "1/20"), (15, "1/3", "1/3", "1/20"), (5, "1/2", "1/2", "1/20")],
)  # fmt: skip
def test_power_against_every_outcome(n, discordance, difference, alpha):
    arguments = [Fraction(text) for text in (discordance, difference, alpha)]
    expected = slow_power(n, *arguments)
    assert paired.power(n, *map(float, arguments)) == pytest.approx(expected, abs=1e-9)


def test_smallest_difference_against_simulation():
    n, discordance = 300, 0.25
    difference = paired.smallest_difference(n, discordance)
    assert difference is not None
    rng = np.random.default_rng(0)
    shares = [(discordance - difference) / 2, 1 - discordance, (discordance + difference) / 2]
    outcomes = rng.multinomial(n, shares, size=4000).tolist()
    times = collections.Counter((worse, better) for worse, _, better in outcomes)
    shown = sum(count for split, count in times.items() if slow_mcnemar(*split) <= 0.05)
    # One standard error is sqrt(0.8 * 0.2 / 4000) = 0.0063.
    assert shown / 4000 == pytest.approx(0.8, abs=0.019)


def test_smallest_difference_of_gsm8k():
    found = paired.smallest_difference(1319, 0.2)
    assert found is not None
    assert paired.power(1319, 0.2, found) == pytest.approx(0.8, abs=1e-3)
    # Connor, Biometrics 43 (1987): sqrt(n) d = 1.96 sqrt(p) + 0.8416 sqrt(p - d^2); the exact test
    # needs a little more.
    approximate = (1.96 * math.sqrt(0.2) + 0.8416 * math.sqrt(0.2 - found**2)) / math.sqrt(1319)
    assert approximate < found < 1.05 * approximate


def test_too_few_problems_show_nothing():
    assert paired.smallest_difference(10, 0.2) is None
    assert paired.smallest_difference(1000, 0.0) is None
    few, many = (paired.smallest_difference(n, 0.3) for n in (100, 10_000))
    assert few is not None and many is not None and many < few / 5
    with pytest.raises(ValueError, match="discordance"):
        paired.power(10, 0.2, 0.3)


def test_holm_by_hand():
    # In order 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, and none below the one before.
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.2]) == [0.2]
    assert paired.holm([0.6, 0.7]) == [1.0, 1.0]
    assert paired.holm([]) == []


@given(P_VALUES, st.floats(0.001, 1, exclude_max=True))
def test_holm_against_the_procedure(p_values, alpha):
    rejected = [False] * len(p_values)
    left = len(p_values)
    for index in sorted(range(len(p_values)), key=lambda i: p_values[i]):
        if left * p_values[index] > alpha:
            break
        rejected[index] = True
        left -= 1
    assert [p <= alpha for p in paired.holm(p_values)] == rejected
