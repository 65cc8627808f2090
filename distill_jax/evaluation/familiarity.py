"""Is a question like those that the students know? Their own probabilities show it.

If a question is unlike anything that students have learned, they are less sure of their dialogue.
The measure is the mean log-probability per token; the dialogues of an evaluation show which values
are usual. This is only for greedy dialogues, because drawn ones are less probable.
"""

import bisect
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.records import Prediction, Turn


def mean_log_probability(turns: Sequence[Turn], given: int = 0) -> float | None:
    """Natural log per token of the turns after the first `given`; None if there is no token."""
    written = turns[given:]
    tokens = sum(turn.tokens for turn in written)
    return math.fsum(turn.log_probability for turn in written) / tokens if tokens else None


def is_greedy(sampling: Mapping[str, Any]) -> bool:
    """Whether dialogues with these values of config.sampling can be compared with one another."""
    return sampling["temperature"] == 0.0 and not sampling.get("given")


def quantiles(predictions: Sequence[Prediction]) -> list[float]:
    """The least, 99 percentiles and the largest mean log-probability, in order; [] of fewer than
    two dialogues."""
    means = [mean_log_probability(prediction.turns) for prediction in predictions]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        return []
    between = statistics.quantiles(known, n=100, method="inclusive")
    return [round(value, 6) for value in (min(known), *between, max(known))]


def percentile(value: float, known: Sequence[float]) -> int:
    """The per cent of the dialogues of `quantiles` that have a lower mean than `value`.

    >>> known = [-1.0, *[-0.99 + i / 100 for i in range(99)], 0.0]
    >>> percentile(-1.5, known), percentile(-0.495, known), percentile(0.0, known)
    (0, 51, 100)
    """
    return min(100, bisect.bisect_left(known, value))


def note(share: int | None) -> str:
    """The note that a person sees about a percentile; "" if it is usual or not known.

    There is a note only below all dialogues of the evaluation: the lowest per cent of 200 dialogues
    is 2, which is too few for a threshold (docs/asking.md has the figures).
    """
    if share != 0:
        return ""
    return (
        "this question may be unlike what was learned: the students are less sure of this dialogue "
        "than of any in their evaluation"
    )
