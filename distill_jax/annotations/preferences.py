"""Pairs of a better and a worse answer to one problem, from predictions: what DPO learns from.

DPO-ST (Wang et al. 2024, https://arxiv.org/abs/2407.18248): right answers and wrong ones are each
freed of near copies; of the pairs of a problem the least similar come first.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from distill_jax.annotations.duplicates import jaccard
from distill_jax.records import ENDED, Prediction
from distill_jax.settings import ranges
from distill_jax.text.transcript import Transcript, Turns

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was written about a problem."""

    turns: Turns
    finished: bool = True  # False: a limit cut it off, so no end is learned


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two answers to one problem."""

    id: str
    question: str
    chosen: Answer
    rejected: Answer
    similarity: float  # the share of the tokens of both that are in both (Jaccard)


def pairs_of(
    prediction: Prediction, gold: Sequence[Turns] = (), near: float = 0.7, most: int = 3
) -> list[Pair]:
    """At most `most` pairs of one problem, the least similar first; none without a wrong answer.

    Chosen are right and finished samples and, before them, `gold`; rejected are wrong ones. Of
    answers of a kind one is left out if its set of tokens shares `near` or more of the union with
    that of an earlier one (Jaccard). A right answer that is cut off, or whose problem nobody could
    grade, is neither.
    """
    samples = prediction.samples or (prediction,)
    said = [[(turn.role, turn.text) for turn in each.turns] for each in samples]
    right, wrong = [Answer(list(turns)) for turns in gold], []
    for each, turns in zip(samples, said, strict=True):
        if each.correct and each.status == "finished":
            right.append(Answer(turns))
        elif not each.correct and turns:
            wrong.append(Answer(turns, each.status in ENDED))
    right, wrong = _different(right, near), _different(wrong, near)
    found = [
        Pair(
            prediction.id,
            prediction.question,
            chosen,
            rejected,
            jaccard(tokens_of(chosen), tokens_of(rejected)),
        )
        for chosen, rejected in itertools.product(right, wrong)
    ]
    return sorted(found, key=lambda pair: pair.similarity)[:most]


def pairs_of_all(
    predictions: Iterable[Prediction], gold: dict[str, Turns], near: float, most: int
) -> list[Pair]:
    """The pairs of all problems. Predictions of one problem, of several files, are taken together;
    `gold` holds the turns that the data itself gives for a problem, by its id."""
    together: dict[str, Prediction] = {}
    for each in predictions:
        before = together.get(each.id)
        samples = (*(before.samples if before else ()), *(each.samples or (each,)))
        together[each.id] = dataclasses.replace(each, samples=samples)  # type: ignore[arg-type]
    return [
        pair
        for each in together.values()
        for pair in pairs_of(each, [gold[each.id]] if each.id in gold else (), near, most)
    ]


def transcripts_of(pairs: Iterable[Pair]) -> Iterator[Transcript]:
    """The better answer of every pair, and after it the worse one."""
    for pair in pairs:
        for answer in (pair.chosen, pair.rejected):
            yield Transcript(pair.id, pair.question, answer.turns, answer.finished, "preferences")


def pair_from_dict(row: dict[str, Any]) -> Pair:
    """A Pair from parsed JSON; raises KeyError on a missing field, TypeError and ValueError for
    others than ours."""
    chosen, rejected = (
        Answer([(role, text) for role, text in row[name]["turns"]], row[name]["finished"])
        for name in ("chosen", "rejected")
    )
    return Pair(row["id"], row["question"], chosen, rejected, row["similarity"])


def mistakes(settings: Any, weight: float) -> list[str]:
    """What is wrong with config.preferences, if config.loss.preference has this weight."""
    least = {"per_problem": 1, "near": 0.0}
    found = ranges.mistakes("preferences", {key: settings[key] for key in least}, least=least)
    if weight and not settings.files:
        found.append(
            "config.loss.preference needs config.preferences.files: predictions.jsonl of "
            "evaluations of the training problems (--config.evaluation.split=train)"
        )
    if settings.files and not weight:
        found.append(
            "config.preferences.files is set, but not config.loss.preference: give it a weight "
            "above 0"
        )
    return found


def tokens_of(answer: Answer) -> frozenset[str]:
    """The words, numbers and signs of an answer.

    >>> sorted(tokens_of(Answer([("solver", "4+3 = 7")])))
    ['+', '3', '4', '7', '=']
    """
    return frozenset(_TOKEN.findall(" ".join(text for _, text in answer.turns)))


def _different(answers: list[Answer], near: float) -> list[Answer]:
    kept: list[Answer] = []
    for answer in answers:
        tokens = tokens_of(answer)
        if all(jaccard(tokens, tokens_of(other)) < near for other in kept):
            kept.append(answer)
    return kept
