"""Intervals for accuracies, and means over seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class MeanDeviation(NamedTuple):
    """Mean and deviation of `n` values; one value has no deviation."""

    mean: float
    deviation: float | None  # standard deviation with n - 1
    n: int


def wilson_interval(correct: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval for `correct` right answers out of `n`; (0.0, 1.0) if n is 0.
    `correct` may be a mean over several runs.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212, without continuity correction: the shares from which `correct` is at
    most z standard deviations away. Unlike the interval p ± 1.96 sqrt(p(1-p)/n), it stays
    inside [0, 1] and has a width at 0 and at n. Equal to scipy's `binomtest(...).proportion_ci(
    method="wilson")`, whose import takes longer than everything else in a small evaluation.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} right answers out of {n}")
    if n == 0:
        return 0.0, 1.0
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / n
    centre = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = ((centre + side * half) / (1 + z**2 / n) for side in (-1, 1))
    # Without rounding errors the ends are exactly 0 and 1 there.
    return (0.0 if correct == 0 else low), (1.0 if correct == n else high)


def mean_and_deviation(values: Sequence[float]) -> MeanDeviation:
    """Mean and standard deviation of, say, the accuracies of several seeds.

    The deviation is that of a sample (n - 1): how much another seed may differ, not how well the
    mean is known. Raises ValueError if there is no value.
    """
    if not values:
        raise ValueError("no values")
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return MeanDeviation(statistics.fmean(values), deviation, len(values))
