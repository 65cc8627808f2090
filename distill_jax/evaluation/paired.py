"""Is one run better than another? Tests of two runs that answered the same problems."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

ALPHA = 0.05
POWER = 0.8


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A run against a baseline, problem by problem."""

    n: int  # problems
    only_baseline: int  # problems that only the baseline answered right
    only_other: int  # problems that only the other run answered right
    difference: float  # accuracy of the other run minus that of the baseline
    interval: tuple[float, float]  # 95 %, of the difference, by bootstrap over the problems
    p_value: float  # exact McNemar, two-sided
    smallest_difference: float | None  # see `smallest_difference`


def compare(baseline: Sequence[bool], other: Sequence[bool], *, seed: int = 0) -> Comparison:
    """Compare which answers were right, given in the order of the same problems.

    Raises ValueError if there is no problem, or not the same number of answers.
    """
    pairs = list(zip(baseline, other, strict=True))
    if not pairs:
        raise ValueError("no problems to compare on")
    n = len(pairs)
    only_baseline = sum(first and not second for first, second in pairs)
    only_other = sum(second and not first for first, second in pairs)
    return Comparison(
        n=n,
        only_baseline=only_baseline,
        only_other=only_other,
        difference=(only_other - only_baseline) / n,
        interval=bootstrap_interval(n, only_baseline, only_other, seed=seed),
        p_value=mcnemar(only_baseline, only_other),
        smallest_difference=smallest_difference(n, (only_baseline + only_other) / n),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test; 1.0 if the runs never differ.

    If two runs are equally good, each problem on which they differ is equally likely to be right in
    either: a binomial test of 1/2. Problems on which they agree do not matter.
    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; the exact form is the sign test.
    """
    if only_first + only_second == 0:
        return 1.0
    import scipy.stats  # takes seconds to import

    return float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)


def bootstrap_interval(
    n: int,
    only_baseline: int,
    only_other: int,
    *,
    seed: int,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the difference of accuracies, over problems drawn with replacement.

    A problem adds -1, 0 or +1 to the difference, so a resample is one draw of multinomial counts of
    the three kinds. This is the exact bootstrap, not an approximation. (0.0, 0.0) if the runs never
    differ, because no resample changes that.
    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    shares = np.array([only_baseline, n - only_baseline - only_other, only_other]) / n
    counts = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile((counts[:, 2] - counts[:, 0]) / n, [tail, 1 - tail])
    return float(low), float(high)


def power(n: int, discordance: float, difference: float, alpha: float = ALPHA) -> float:
    """The chance that `mcnemar` gives p <= alpha if the true accuracies differ by `difference`.

    `discordance` is the chance that the runs differ on a problem. Exact: the number of problems on
    which they differ is binomial (n, discordance), and of those the better run is right on a
    binomial share of (1 + difference / discordance) / 2.
    Raises ValueError unless 0 <= difference <= discordance <= 1 and 0 < discordance.
    """
    if not (0 <= difference <= discordance <= 1 and discordance > 0):
        raise ValueError(f"difference {difference} with discordance {discordance}")
    from scipy.stats import binom

    differ = np.arange(n + 1)
    # The most right problems of the worse run for which p <= alpha; -1 if there is no such number.
    # Only for numbers of differing problems that are likely enough to matter.
    chance = binom.pmf(differ, n, discordance)
    differ, chance = differ[chance > 1e-12], chance[chance > 1e-12]
    most = binom.ppf(alpha / 2, differ, 0.5)
    most -= 2 * binom.cdf(most, differ, 0.5) > alpha
    better = (1 + difference / discordance) / 2
    rejected = binom.sf(differ - most - 1, differ, better) + binom.cdf(most, differ, better)
    return float(chance @ rejected)


def smallest_difference(n: int, discordance: float) -> float | None:
    """The smallest true difference that n problems show with 80 % power at alpha 0.05.

    Solves `power` for the difference at this discordance. None if there are too few problems to
    show even a difference as large as the discordance (one run is right whenever they differ).
    """
    if discordance <= 0 or power(n, discordance, discordance) < POWER:
        return None
    from scipy.optimize import brentq

    root: Any = brentq(lambda d: power(n, discordance, d) - POWER, 0.0, discordance, xtol=1e-6)
    return float(root)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of several tests, in the order given.

    If a test is rejected when this is at most alpha, the chance of any false rejection is at most
    alpha, however the tests depend on each other; here they share a baseline.
    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6 (1979), 65-70.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
