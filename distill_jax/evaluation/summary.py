"""From graded predictions to the numbers of report.json."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import Prediction

EXTRACTORS = ("strict", "flexible", "normalised")
HEADLINE_EXTRACTOR = "normalised"
INTERVAL_METHOD = "Wilson 95 %"


def summarise(
    predictions: Sequence[Prediction],
    *,
    task: str,
    split: str,
    guessers: Mapping[str, Mapping[str, Any]],
    checkpoint_steps: Mapping[str, int],
    identity: Mapping[str, Any],
    seed: int,
    seconds: float,
    checkpoint_rule: str = "last",
    sampling: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of report.json.

    `guessers` is what `guessers.guess` returned. Each gets "excluded": whether the students'
    interval excludes the guesser's accuracy and lies above it. `seconds` is the time the evaluation
    took. Without predictions the accuracies are 0.0 with the interval [0.0, 1.0].
    """
    n = len(predictions)
    headline = _accuracy([prediction.correct for prediction in predictions])
    low = headline["interval"][0]
    generated = sum(turn.tokens for prediction in predictions for turn in prediction.turns)
    turns = sum(len(prediction.turns) for prediction in predictions)
    return {
        "task": task,
        "split": split,
        "n": n,
        "accuracy": headline["accuracy"],
        "accuracy_interval": headline["interval"],
        "accuracy_interval_method": INTERVAL_METHOD,
        "headline_extractor": HEADLINE_EXTRACTOR,
        "scores": _scores(predictions),
        "guessers": {
            name: {**result, "excluded": low > result["accuracy"]}
            for name, result in guessers.items()
        },
        "by_steps": _by_steps(predictions),
        "status": dict(collections.Counter(p.status for p in predictions).most_common()),
        "turns": {"mean": turns / n if n else 0.0},
        "tokens": {"generated": generated, "mean": generated / n if n else 0.0},
        "seconds": seconds,
        "checkpoint_steps": dict(checkpoint_steps),
        "checkpoint_rule": checkpoint_rule,
        "seed": seed,
        "sampling": dict(sampling),
        "identity": dict(identity),
    }


def _accuracy(outcomes: Sequence[bool]) -> dict[str, Any]:
    correct, n = sum(outcomes), len(outcomes)
    accuracy = correct / n if n else 0.0
    return {"accuracy": accuracy, "interval": list(wilson_interval(correct, n))}


def _scores(predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
    """One entry per extractor that graded anything; a prediction it did not grade is wrong."""
    used = {extractor for prediction in predictions for extractor in prediction.scores}
    names = [name for name in EXTRACTORS if name in used or not used]
    names += sorted(used.difference(EXTRACTORS))
    return {
        name: _accuracy([prediction.scores.get(name, False) for prediction in predictions])
        for name in names
    }


def _by_steps(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    groups = collections.defaultdict(list)
    for prediction in predictions:
        steps = prediction.attributes.get("steps")
        if steps is not None:
            groups[steps].append(prediction.correct)
    return [
        {"steps": steps, "n": len(outcomes), "correct": sum(outcomes), **_accuracy(outcomes)}
        for steps, outcomes in sorted(groups.items())
    ]
