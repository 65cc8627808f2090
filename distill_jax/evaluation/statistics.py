"""Intervals for accuracies, and means over seeds."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class MeanDeviation(NamedTuple):
    """Of `n` values; the deviation of one value is not known."""

    mean: float
    deviation: float | None  # standard deviation with n - 1
    n: int


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval for `correct` right answers out of `n`; (0.0, 1.0) where n is 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212, without continuity correction, as computed by
    `scipy.stats.binomtest(...).proportion_ci(method="wilson")`. Unlike the interval
    p ± 1.96 sqrt(p(1-p)/n), it stays inside [0, 1] and has a width at 0 and at n.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} right answers out of {n}")
    if n == 0:
        return 0.0, 1.0
    import scipy.stats  # takes seconds to import

    interval = scipy.stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_and_deviation(values: Sequence[float]) -> MeanDeviation:
    """Mean and standard deviation of, say, the accuracies of several seeds.

    The deviation is that of a sample (n - 1): how much another seed may differ, not how well the
    mean is known. Raises ValueError where there is no value.
    """
    if not values:
        raise ValueError("no values")
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return MeanDeviation(statistics.fmean(values), deviation, len(values))
