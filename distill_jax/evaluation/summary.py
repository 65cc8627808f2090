"""From graded predictions to the numbers of report.json."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.dialogues.votes import LENGTH, pass_at_k
from distill_jax.evaluation import familiarity
from distill_jax.evaluation.breakdowns import is_value, order
from distill_jax.evaluation.statistics import wilson_interval
from distill_jax.records import ENDED, Cost, Prediction

EXTRACTORS = ("strict", "flexible", "normalised")
HEADLINE_EXTRACTOR = "normalised"
INTERVAL_METHOD = "Wilson 95 %"


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """The problems and settings of an evaluation, for report.json."""

    task: str
    split: str
    checkpoint_steps: Mapping[str, int]  # by student
    identity: Mapping[str, Any]  # of the run
    seed: int | None  # None if several runs were combined that differ in it
    seconds: float  # that it took
    sampling: Mapping[str, Any]
    checkpoint_rule: str = "last"
    training_problems: bool = False  # the split is what the students were trained on
    # What the students were before the run: published weights, other runs (run/origins.py).
    origins: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def summarise(
    predictions: Sequence[Prediction],
    guessers: Mapping[str, Mapping[str, Any]],
    circumstances: Circumstances,
) -> dict[str, Any]:
    """The content of report.json.

    `guessers` is what `guessers.guess` returned. Each gets "excluded": whether the students'
    interval excludes the guesser's accuracy and lies above it. Without predictions the accuracies
    are 0.0 with the interval [0.0, 1.0].

    "cost" holds the sums of the predictions' costs, by name (records.Cost),
    "log_probability_quantiles" what greedy dialogues have (familiarity.py). If the predictions are
    votes, `_voting` adds its keys; "tokens" and "cost" are then those of all samples, while
    everything else is about the samples that represent the votes. Raises ValueError if
    predictions have different numbers of samples.
    """
    n = len(predictions)
    headline = _accuracy([prediction.correct for prediction in predictions])
    low = headline["interval"][0]
    generated = sum(_tokens(prediction) for prediction in predictions)
    turns = sum(len(prediction.turns) for prediction in predictions)
    return {
        "task": circumstances.task,
        "split": circumstances.split,
        "training_problems": circumstances.training_problems,
        "n": n,
        "trained_on": {p.id: p.trained_on for p in predictions if p.trained_on},
        "accuracy": headline["accuracy"],
        "accuracy_interval": headline["interval"],
        "accuracy_interval_method": interval_method(circumstances.sampling),
        "headline_extractor": HEADLINE_EXTRACTOR,
        **_voting(predictions, headline),
        **_familiar(predictions, circumstances.sampling),
        "scores": scores(predictions),
        "guessers": {
            name: {**result, "excluded": low > result["accuracy"]}
            for name, result in guessers.items()
        },
        "by_steps": _by_steps(predictions),
        "status": dict(collections.Counter(p.status for p in predictions).most_common()),
        "right_by_status": dict(collections.Counter(p.status for p in predictions if p.correct)),
        "turns": {"mean": turns / n if n else 0.0},
        "tokens": {"generated": generated, "mean": generated / n if n else 0.0},
        "cost": dataclasses.asdict(sum((p.cost for p in predictions), Cost())),
        "seconds": circumstances.seconds,
        "checkpoint_steps": dict(circumstances.checkpoint_steps),
        "checkpoint_rule": circumstances.checkpoint_rule,
        "seed": circumstances.seed,
        "sampling": dict(circumstances.sampling),
        "identity": dict(circumstances.identity),
        **({"origins": dict(circumstances.origins)} if circumstances.origins else {}),
    }


def interval_method(sampling: Mapping[str, Any]) -> str:
    """How the interval of an accuracy was computed. The steps of one problem are more alike than
    those of several, so an interval that counts each by itself is too narrow."""
    alike = " (too narrow: steps of one problem are alike)"
    return INTERVAL_METHOD + (alike if sampling.get("given") == "history" else "")


def asked(n: int, problems: int, split: str, given: str) -> str:
    """What was asked in n predictions: "12 test problems", or if config.sampling.given is
    "history", "31 gold steps of 12 test problems"."""
    steps = f"{n} gold steps of " if given == "history" else ""
    return f"{steps}{problems} {split} problems"


def split_name(result: Mapping[str, Any]) -> str:
    """What a report calls its problems: the split, or "training" if that is trained on."""
    return "training" if result.get("training_problems") else result["split"]


def trained_on_lines(result: Mapping[str, Any]) -> list[str]:
    """A warning if the students were trained on some of what they were asked.

    Reports of before say nothing of it.
    """
    found = result.get("trained_on", {})
    if not found:
        return []
    some = ", ".join(f"{asked} = {known}" for asked, known in list(found.items())[:3])
    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    return [
        f"warning: the students were trained on {len(found)} of these {result['n']} questions: "
        f"{some}{more} (trained_on in predictions.jsonl)"
    ]


def origin_lines(result: Mapping[str, Any]) -> list[str]:
    """What is not known of the students of a report.json, because they were something before."""
    origins = result.get("origins", {})
    return [
        *(
            f"students began as {name}: overlap of its training data with these tests is unknown"
            for name in origins.get("published", ())
        ),
        *(
            f"students began as those of {run}, which is not at hand: overlap of its training data "
            "with these tests is unknown"
            for run in origins.get("missing", ())
        ),
    ]


def closing_lines(result: Mapping[str, Any]) -> list[str]:
    """The lines about a report.json on the terminal: accuracy, pass@k of several samples, the cost
    of a problem, right answers of dialogues that were stopped, the calculator's values, dialogues
    without room after the given turns."""
    low, high = result["accuracy_interval"]
    what = asked(result["n"], result["problems"], split_name(result), result["sampling"]["given"])
    line = f"accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on {what}"
    if "samples" in result:
        shares = ", ".join(f"pass@{k} {share:.1%}" for k, share in result["pass_at_k"].items())
        rule = result["sampling"].get("vote", "majority")
        rule = "length-filtered vote" if rule == LENGTH else rule
        rule = result["combination"]["rule"] if "combination" in result else rule
        line += f", {rule} of {result['samples']} dialogues each; {shares}"
    lines = [line, *trained_on_lines(result), *origin_lines(result), cost_line(result)]
    right = result.get("right_by_status", {})  # reports of before say nothing of it
    if stopped := sum(count for status, count in right.items() if status not in ENDED):
        lines.append(
            f"{stopped} of the right answers are of dialogues that a limit stopped: what they had "
            "written last was read"
        )
    if "values_filled_in" in result:
        lines.append(f"calculator: {result['values_filled_in']} values filled in")
    if result.get("ended_in_given"):
        dialogues = result["n"] * result.get("samples", 1)
        lines.append(
            f"warning: {result['ended_in_given']} of {dialogues} dialogues ended in what was given "
            "and have no answer: raise config.sampling.max_tokens and max_turns, if the context "
            "is long enough"
        )
    return lines


def cost_line(result: Mapping[str, Any]) -> str:
    """The mean cost of a problem in a report.json, in words; with history, of a gold step."""
    cost, n = result["cost"], max(1, result["n"])
    one = "gold step" if result["sampling"].get("given") == "history" else "problem"
    read, written = (cost[key] / n for key in ("prompt_tokens", "tokens"))
    return (
        f"cost per {one}: {read:.1f} prompt tokens read, {written:.1f} tokens written, "
        f"{cost['flops'] / n:.3g} FLOPs"
    )


def dialogue(prediction: Prediction) -> str:
    """One dialogue as lines of text: problem, turns, right answer."""
    lines = [f"problem: {prediction.question}"]
    for turn in prediction.turns:
        lines.append(f"{turn.role}: {turn.text.strip() or '(nothing)'}")
    return "\n".join([*lines, f"right answer: {prediction.answer}"])


def dialogues(predictions: Sequence[Prediction], count: int = 4) -> list[str]:
    """The first few dialogues, and whether each is right; always the same problems."""
    return [f"{'right' if p.correct else 'wrong'}\n{dialogue(p)}" for p in predictions[:count]]


def _voting(predictions: Sequence[Prediction], headline: dict[str, Any]) -> dict[str, Any]:
    """{} if one sample per problem was drawn, else

    samples          their number n per problem
    votes            accuracy and interval of the majority's answers, which is the headline
    sample_accuracy  mean over all samples; without an interval, because samples of one problem
                     are not independent
    pass_at_k        {"1": ...}: mean over problems, for the powers of two up to n and for n
    """
    if not any(prediction.samples for prediction in predictions):
        return {}
    n = len(predictions[0].samples)
    if any(len(prediction.samples) != n for prediction in predictions):
        raise ValueError("predictions with different numbers of samples")
    right = [sum(sample.correct for sample in p.samples) for p in predictions]
    ks = [*(2**i for i in range(n.bit_length()) if 2**i < n), n]
    return {
        "samples": n,
        "votes": headline,
        "sample_accuracy": sum(right) / (n * len(right)),
        "pass_at_k": {str(k): sum(pass_at_k(n, c, k) for c in right) / len(right) for k in ks},
    }


def _familiar(
    predictions: Sequence[Prediction], sampling: Mapping[str, Any]
) -> dict[str, list[float]]:
    known = familiarity.quantiles(predictions) if familiarity.is_greedy(sampling) else []
    return {"log_probability_quantiles": known} if known else {}


def _tokens(prediction: Prediction) -> int:
    if prediction.samples:
        return sum(sample.tokens for sample in prediction.samples)
    return sum(turn.tokens for turn in prediction.turns)


def _accuracy(outcomes: Sequence[bool]) -> dict[str, Any]:
    correct, n = sum(outcomes), len(outcomes)
    accuracy = correct / n if n else 0.0
    return {"accuracy": accuracy, "interval": list(wilson_interval(correct, n))}


def scores(predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
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
        if is_value(steps):
            groups[steps].append(prediction.correct)
    return [
        {"steps": steps, "n": len(outcomes), "correct": sum(outcomes), **_accuracy(outcomes)}
        for steps, outcomes in sorted(groups.items(), key=lambda item: order(item[0]))
    ]
