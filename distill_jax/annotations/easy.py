"""What a teacher student finds easy, and what becomes of the other problems: config.easy.

"When in Doubt, Summon the Titans" (Rawat et al. 2021, https://arxiv.org/abs/2110.10305): a small
student need not learn what is hard, if a larger one is asked about it afterwards.
"""

import collections
import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from distill_jax.annotations.verify import Rejected, reject
from distill_jax.records import Annotation, Prediction, Step
from distill_jax.settings import ranges

HARD = ("drop", "abstain", "uniform")
# No number, yes or no. Tasks whose grader would read it are refused (run/easy_problems.py).
ABSTENTION = "?"


def margin(prediction: Prediction) -> float:
    """How far the answer of most samples is ahead of the next one: the difference of their shares.

    Of eight samples with the answers 7 7 7 7 7 3 3 9 it is (5 - 2) / 8. Of one sample it is 1.
    """
    samples = prediction.samples or (prediction,)
    votes = collections.Counter(each.prediction for each in samples)
    first = votes.pop(prediction.prediction, 0)
    return (first - max(votes.values(), default=0)) / len(samples)


def easy_problems(predictions: Iterable[Prediction], least: float) -> set[str]:
    """The ids of the problems that the teacher solves with a margin of at least `least`."""
    return {each.id for each in predictions if each.correct and margin(each) >= least}


def treat(
    annotations: Sequence[Annotation], easy: Collection[str], how: str
) -> tuple[list[Annotation], list[Rejected]]:
    """(kept, rejected); of problems that are not easy, by `how`,

    drop     none is kept
    abstain  one is kept, whose text and answer is "?"
    uniform  all are kept, and their source says {"hard": True}
    """
    kept: list[Annotation] = []
    rejected: list[Rejected] = []
    abstained = set()
    for each in annotations:
        if each.id in easy:
            kept.append(each)
        elif how == "uniform":
            kept.append(dataclasses.replace(each, source=each.source | {"hard": True}))
        elif how == "abstain" and each.id not in abstained:
            abstained.add(each.id)
            kept.append(_abstention(each))
        else:
            detail = "its teacher does not solve it surely enough"
            rejected.append(reject(each, "hard for the teacher", detail))
    return kept, rejected


def _abstention(annotation: Annotation) -> Annotation:
    asked = any(step.subquestion is not None for step in annotation.steps)
    steps = (Step(ABSTENTION if asked else None, ABSTENTION),) if annotation.steps else ()
    return dataclasses.replace(
        annotation, answer=ABSTENTION, steps=steps, source=annotation.source | {"hard": True}
    )


def hard_problems(annotations: Iterable[Annotation]) -> frozenset[str]:
    """The ids of the problems of which `treat` has said that they are hard."""
    return frozenset(each.id for each in annotations if each.source.get("hard"))


def mistakes(settings: Any) -> list[str]:
    """What is wrong with config.easy."""
    values = {"margin": settings.margin, "hard": settings.hard}
    found = ranges.mistakes("easy", values, least={"margin": 0.0}, choices={"hard": HARD})
    if settings.margin > 1:
        found.append(f"config.easy.margin={settings.margin}: a difference of shares, at most 1")
    return found
