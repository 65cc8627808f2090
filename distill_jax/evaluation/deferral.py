"""When to ask a larger model: how unsure the small one is, and how much asking then gains.

Uncertainty is a number from 0 (sure) to 1. Problems whose uncertainty is above a threshold are
deferred to the large one: none at NONE, and all at ALL.

Sources: "Predicting on the Edge" (https://arxiv.org/abs/2202.07652), which does not say how it
measures uncertainty; "When in Doubt, Summon the Titans" (https://arxiv.org/abs/2110.10305).
"""

import collections
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from distill_jax.evaluation import tables
from distill_jax.evaluation.runs import Run
from distill_jax.evaluation.tables import Table
from distill_jax.records import Prediction, Turn

NONE, ALL = 1.0, -1.0
RESAMPLES = 1_000


def of_answer(prediction: Prediction) -> float:
    """1 - probability of the last solver turn; 1 if no answer can be read."""
    return _unsure(prediction, _last_solution(prediction), per_token=False)


def of_answer_per_token(prediction: Prediction) -> float:
    """1 - geometric mean of the probabilities of the last solver turn's tokens, which does not
    fall with its length; 1 if no answer can be read."""
    return _unsure(prediction, _last_solution(prediction), per_token=True)


def of_transcript(prediction: Prediction) -> float:
    """1 - probability of all turns; 1 if no answer can be read."""
    return _unsure(prediction, prediction.turns, per_token=False)


def of_transcript_per_token(prediction: Prediction) -> float:
    """1 - geometric mean of the probabilities of all turns' tokens; 1 if no answer can be read."""
    return _unsure(prediction, prediction.turns, per_token=True)


def of_entropy(prediction: Prediction) -> float:
    """1 - exp(-H), where H is the mean entropy of the last solver turn's tokens, nats; 1 if no
    answer can be read. 0.5 is as unsure as if two tokens had been equally likely each time.

    Raises ValueError if the entropies are not known: see `is_known`.
    """
    mean = _mean_of_solution(prediction, lambda turn: turn.entropy)
    return 1.0 if mean is None else max(0.0, -math.expm1(-mean))


def of_margin(prediction: Prediction) -> float:
    """1 - mean margin of the last solver turn's tokens: how far the most likely token is from the
    second; 1 if no answer can be read. Raises ValueError as `of_entropy` does."""
    mean = _mean_of_solution(prediction, lambda turn: turn.margin)
    return 1.0 if mean is None else min(1.0, max(0.0, 1.0 - mean))


def of_votes(prediction: Prediction) -> float:
    """1 - share of the samples that give the same answer as the vote; 1 if none can be read.

    The samples are those of one student, or a committee's. Raises ValueError without samples.
    """
    if not prediction.samples:
        raise ValueError(f"{prediction.id}: one sample is not a vote")
    if prediction.prediction is None:
        return 1.0
    answers = collections.Counter(sample.prediction for sample in prediction.samples)
    return 1 - answers[prediction.prediction] / len(prediction.samples)


UNCERTAINTIES: dict[str, Callable[[Prediction], float]] = {
    "answer": of_answer,
    "answer_per_token": of_answer_per_token,
    "transcript": of_transcript,
    "transcript_per_token": of_transcript_per_token,
    "entropy": of_entropy,
    "margin": of_margin,
    "votes": of_votes,
}


def uncertainties(prediction: Prediction) -> dict[str, float]:
    """By every measure that the prediction allows."""
    return {
        name: measure(prediction)
        for name, measure in UNCERTAINTIES.items()
        if is_known(name, prediction)
    }


def is_known(by: str, prediction: Prediction) -> bool:
    """Votes need samples; entropy and margin are those of students, and not in files of earlier
    versions."""
    if by == "votes":
        return bool(prediction.samples)
    if by in ("entropy", "margin"):
        return all(turn.entropy is not None for turn in _last_solution(prediction))
    return True


class Choice(NamedTuple):
    """A threshold, and its result on the problems on which it was chosen."""

    threshold: float
    deferred: float  # share
    accuracy: float


class Curve(NamedTuple):
    """Accuracies if the j most uncertain of n problems are deferred, j = 0..n, and references."""

    switch: list[float]
    random: list[float]  # the mean over all orders in which problems could be deferred
    oracle: list[float]  # first the problems that only the large one solves


def choices(
    uncertainty: Sequence[float], small: Sequence[bool], large: Sequence[bool]
) -> list[Choice]:
    """All thresholds that defer different numbers of problems, the fewest first.

    A threshold cannot separate problems of equal uncertainty, so they are deferred together.
    `small` and `large` say which of their answers are right. Raises ValueError if there is no
    problem, or if the lengths differ.
    """
    rows = sorted(zip(uncertainty, small, large, strict=True), key=lambda row: -row[0])
    n, right = len(rows), sum(small)
    if not n:
        raise ValueError("no problem to choose a threshold on")
    found = [Choice(NONE, 0.0, right / n)]
    for deferred, (unsure, by_small, by_large) in enumerate(rows, start=1):
        right += by_large - by_small
        following = rows[deferred][0] if deferred < n else None
        if following == unsure:
            continue
        threshold = ALL if following is None else _between(following, unsure)
        found.append(Choice(threshold, deferred / n, right / n))
    return found


def best(found: Sequence[Choice]) -> Choice:
    """The most accurate choice; of equally accurate ones, the one that defers least."""
    return max(found, key=lambda choice: choice.accuracy)  # max() returns the first of equals


def at_share(found: Sequence[Choice], share: float) -> Choice:
    """The choice that defers most problems, but at most `share` of them (0 to 1)."""
    return [choice for choice in found if choice.deferred <= share][-1]


def curve(
    uncertainty: Sequence[float],
    small: Sequence[bool],
    large: Sequence[bool],
    ids: Sequence[str],
) -> Curve:
    """The deferral curve; equally uncertain problems are in the order of a hash of their ids,
    because the order of the data set may be related to what is right."""
    order = sorted(range(len(ids)), key=lambda i: (-uncertainty[i], _hash(ids[i])))
    gains = np.array(large, int) - np.array(small, int)
    first, n = sum(small), len(small)

    def accuracies(gained: np.ndarray) -> list[float]:
        return [float(right) / n for right in first + np.concatenate([[0], np.cumsum(gained)])]

    random = [(first + float(gains.sum()) * j / n) / n for j in range(n + 1)]
    return Curve(accuracies(gains[order]), random, accuracies(-np.sort(-gains)))


def area(accuracies: Sequence[float]) -> float:
    """The area under a curve over the deferred shares 0, 1/n, ..., 1, by the trapezoidal rule: its
    mean."""
    return float(np.trapezoid(accuracies)) / (len(accuracies) - 1)


def share_of_oracle(found: Curve) -> float | None:
    """The share of the area between random and oracle that the switch gains; None if there is
    none."""
    switch, random, oracle = map(area, found)
    return (switch - random) / (oracle - random) if oracle > random else None


def random_interval(
    small: Sequence[bool], large: Sequence[bool], *, seed: int = 0
) -> tuple[float, float]:
    """The area in which 95 % of random orders of deferral lie, from 1,000 of them."""
    gains = np.array(large, float) - np.array(small, float)
    n = len(gains)
    # A gain made at position i counts in half of its own step, and in all steps that follow.
    weights = (n - np.arange(n) - 0.5) / n**2
    orders = np.random.default_rng(seed).permuted(np.tile(gains, (RESAMPLES, 1)), axis=1)
    low, high = np.quantile(sum(small) / n + orders @ weights, [0.025, 0.975])
    return float(low), float(high)


def gain_by_uncertainty(
    uncertainty: Sequence[float],
    small: Sequence[bool],
    large: Sequence[bool],
    ids: Sequence[str],
    groups: int = 10,
) -> list[dict[str, float]]:
    """{"uncertainty", "n", "gain"} of equally large groups, the most certain first.

    The gain is the large one's accuracy minus the small one's. Ties are split as in `curve`. There
    are fewer groups if there are fewer problems.
    """
    order = sorted(range(len(ids)), key=lambda i: (uncertainty[i], _hash(ids[i])))
    rows = []
    for members in np.array_split(np.array(order), min(groups, len(order))):
        rows.append(
            {
                "uncertainty": math.fsum(uncertainty[i] for i in members) / len(members),
                "n": len(members),
                "gain": sum(int(large[i]) - int(small[i]) for i in members) / len(members),
            }
        )
    return rows


def rank_correlation(
    uncertainty: Sequence[float], small: Sequence[bool], large: Sequence[bool], *, seed: int = 0
) -> tuple[float, float, float] | None:
    """Spearman's correlation of uncertainty and gain, and its 95 % bootstrap interval.

    The interval is the percentile one over 1,000 resamples of the problems, without those in which
    all gains or all uncertainties are equal. None if they are so in the problems themselves.
    """
    gains = np.array(large, float) - np.array(small, float)
    values = np.array(uncertainty, float)
    n = len(values)
    [found] = _spearman(values[None], gains[None])
    if math.isnan(found):
        return None
    drawn = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    parts = np.array_split(drawn, 1 + drawn.size // 1_000_000)  # as many as memory holds at once
    resampled = np.concatenate([_spearman(values[part], gains[part]) for part in parts])
    low, high = np.quantile(resampled[~np.isnan(resampled)], [0.025, 0.975])
    return float(found), float(low), float(high)


def measure(
    uncertainty: Sequence[float],
    small: Sequence[Prediction],
    large: Sequence[Prediction],
) -> dict[str, Any]:
    """The part of report.json about deferral on the evaluated problems, for all thresholds.

    small_accuracy, large_accuracy; curve: {"deferred", "switch", "random", "oracle"} at shares 0,
    0.1, ..., 1; area of the three, and that of 95 % of random orders; share_of_oracle; by_decile
    as `gain_by_uncertainty`; spearman: (value, low, high) or None.
    """
    right = [p.correct for p in small], [p.correct for p in large]
    ids, n = [p.id for p in small], len(small)
    found = curve(uncertainty, *right, ids)
    points = sorted({round(tenth * n / 10) for tenth in range(11)})
    correlation = rank_correlation(uncertainty, *right)
    return {
        "small_accuracy": found.switch[0],
        "large_accuracy": found.switch[-1],
        "curve": [
            {"deferred": j / n} | {name: values[j] for name, values in found._asdict().items()}
            for j in points
        ],
        "area": {name: area(values) for name, values in found._asdict().items()},
        "random_interval": list(random_interval(*right)),
        "share_of_oracle": share_of_oracle(found),
        "by_decile": gain_by_uncertainty(uncertainty, *right, ids),
        "spearman": None if correlation is None else list(correlation),
    }


def switches(runs: Sequence[Run]) -> list[Run]:
    """The combinations by the rule `switch`."""
    return [run for run in runs if "deferral" in run.report.get("combination", {})]


def deferral_table(runs: Sequence[Run]) -> Table | None:
    """One row per switch; None if there is none."""
    rows = []
    for run in switches(runs):
        combined = run.report["combination"]
        measured, chosen = combined["deferral"], combined["threshold"]
        rows.append(
            (
                run.name,
                combined["settings"]["by"],
                chosen["value"],
                ", ".join(chosen["chosen_on"]) or "given",
                combined["deferred"],
                measured["small_accuracy"],
                measured["large_accuracy"],
                (run.report["accuracy"], *run.report["accuracy_interval"]),
                measured["area"]["switch"],
                (measured["area"]["random"], *measured["random_interval"]),
                measured["area"]["oracle"],
                measured["share_of_oracle"],
                measured["spearman"],
            )
        )
    columns = (
        tables.text("run"),
        tables.text("uncertainty"),
        tables.decimal("threshold", 4),
        tables.text("threshold chosen on"),
        tables.share("deferred"),
        tables.share("small alone"),
        tables.share("large alone"),
        tables.share_with_interval("switch"),
        tables.share("area"),
        tables.share_with_interval("area, random"),
        tables.share("area, oracle"),
        tables.share("of the oracle's gain"),
        tables.decimal_with_interval("Spearman"),
    )
    note = (
        "On all problems of each combination. A problem is deferred to the large one if its "
        "uncertainty is above the threshold. Small alone: of a committee, its vote. The area is "
        "the mean accuracy over all shares of "
        "deferred problems, the most uncertain first, which needs no threshold; random: in any "
        "order, with the interval of 95 % of the orders; oracle: first those that only the large "
        "one has right. Spearman: the rank correlation of uncertainty and gain (large minus "
        "small), with its 95 % bootstrap interval; empty if all gains are equal. In the figure the "
        "dotted line is random, the dashed one the oracle."
    )
    return Table("deferral", "Deferral", columns, rows, note) if rows else None


def _unsure(prediction: Prediction, turns: Sequence[Turn], *, per_token: bool) -> float:
    if prediction.prediction is None or not turns:
        return 1.0
    log_probability = math.fsum(turn.log_probability for turn in turns)
    if per_token:
        log_probability /= sum(turn.tokens for turn in turns)
    return max(0.0, -math.expm1(log_probability))


def _mean_of_solution(
    prediction: Prediction, total: Callable[[Turn], float | None]
) -> float | None:
    """Per token of the last solution, from a turn's `total`; None if no answer can be read."""
    turns = _last_solution(prediction)
    totals = [value for turn in turns if (value := total(turn)) is not None]
    if len(totals) < len(turns):
        raise ValueError(f"{prediction.id}: its turns do not say how sure a student was")
    if prediction.prediction is None or not turns:
        return None
    return math.fsum(totals) / sum(turn.tokens for turn in turns)


def _last_solution(prediction: Prediction) -> Sequence[Turn]:
    return [turn for turn in prediction.turns if turn.role == "solver"][-1:]


def _between(low: float, high: float) -> float:
    """A threshold below `high` and not below `low`."""
    middle = (low + high) / 2
    return middle if middle < high else low


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _spearman(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each row the correlation of the ranks, with ties at their mean rank; nan if all are
    equal."""
    import scipy.stats  # takes seconds to import

    ranks = [scipy.stats.rankdata(each, axis=1) for each in (values, others)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    products = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=1) / products
