"""Does a student know when it is right? Compares its own probability of an answer with the
outcome."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Prediction


class Bin(NamedTuple):
    """The answers whose probability is in [low, high); the last bin includes 1."""

    low: float
    high: float
    n: int
    probability: float  # mean
    accuracy: float
    interval: tuple[float, float]  # Wilson 95 %, of the accuracy


class Calibration(NamedTuple):
    """The calibration of all answers of a run."""

    n: int
    bins: list[Bin]  # those that are not empty
    expected_error: float
    auroc: float | None  # None if all answers are right, or all wrong


def calibration(
    predictions: Sequence[Prediction], *, transcript: bool = False, bins: int = 10
) -> Calibration | None:
    """Calibration of the predictions in which a solver wrote; None if there are none.

    The probability is that of the last solver turn, or with `transcript` of all turns. It is the
    probability of the exact tokens, so it is lower than that of the answer in any words.
    """
    spoken = [p for p in predictions if any(turn.role == "solver" for turn in p.turns)]
    if not spoken:
        return None
    probabilities = [answer_probability(p, transcript=transcript) for p in spoken]
    outcomes = [p.correct for p in spoken]
    reliable = reliability(probabilities, outcomes, bins)
    return Calibration(
        len(spoken), reliable, expected_calibration_error(reliable), auroc(probabilities, outcomes)
    )


def answer_probability(prediction: Prediction, *, transcript: bool = False) -> float:
    """exp(log probability) of the last solver turn, or of all turns; raises IndexError if no
    solver spoke."""
    if transcript:
        return math.exp(math.fsum(turn.log_probability for turn in prediction.turns))
    return math.exp([t for t in prediction.turns if t.role == "solver"][-1].log_probability)


def reliability(
    probabilities: Sequence[float], outcomes: Sequence[bool], bins: int = 10
) -> list[Bin]:
    """Equally wide bins over [0, 1], without the empty ones."""
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for probability, outcome in zip(probabilities, outcomes, strict=True):
        groups[min(int(probability * bins), bins - 1)].append((probability, outcome))
    result = []
    for index, group in enumerate(groups):
        if not group:
            continue
        n, right = len(group), sum(outcome for _, outcome in group)
        mean = math.fsum(probability for probability, _ in group) / n
        interval = wilson_interval(right, n)
        result.append(Bin(index / bins, (index + 1) / bins, n, mean, right / n, interval))
    return result


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean over answers of |accuracy - probability| of their bin.

    Source: C. Guo et al., 2017, equation 3 (https://arxiv.org/abs/1706.04599).
    """
    n = sum(each.n for each in bins)
    return math.fsum(each.n * abs(each.accuracy - each.probability) for each in bins) / n


def auroc(scores: Sequence[float], outcomes: Sequence[bool]) -> float | None:
    """The chance that a right answer has a higher score than a wrong one; a tie counts half.

    By ranks (Mann-Whitney U): (sum of the ranks of the right ones - r (r + 1) / 2) / (r w).
    None if there is no right or no wrong one.
    """
    right = sum(outcomes)
    wrong = len(outcomes) - right
    if not right or not wrong:
        return None
    import scipy.stats  # takes seconds to import

    ranks = scipy.stats.rankdata(scores)  # ties share their mean rank
    total = math.fsum(rank for rank, outcome in zip(ranks, outcomes, strict=True) if outcome)
    return (total - right * (right + 1) / 2) / (right * wrong)
