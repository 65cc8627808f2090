"""Which problems are easy for a teacher, and what is learned of the others: config.data.easy.

As in "When in Doubt, Summon the Titans" (https://arxiv.org/abs/2110.10305): a small student learns
what its teacher finds easy, and leaves the other problems to the teacher. Of these it learns
nothing or, if it is to abstain, only the answer `?`. The margin of a problem is that of the
teacher's samples: the share of those with its answer, less that of those with the most frequent
other answer. A problem is easy if the answer is right and the margin is large enough.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax import records
from distill_jax.annotations.verify import Rejected, reject
from distill_jax.errors import UserError
from distill_jax.records import ABSTENTION, Annotation, Prediction
from distill_jax.settings import ranges
from distill_jax.text.transcript import SCHEMES
from distill_jax.workdir import local_path

DROP, ABSTAIN = "drop", "abstain"
UNKNOWN = "?"  # the answer of an abstention, which no grader can read


def margin(prediction: Prediction) -> float:
    """The share of the samples that have the voted answer, less that of the most frequent other
    one; what cannot be read counts as one other answer. From -1 to 1.

    Of 7, 2 and 1 samples of ten it is 0.5, and of a single readable answer 1.
    """
    answers = [each.prediction for each in prediction.samples or (prediction,)]
    counts = collections.Counter(answers)
    mine = counts.pop(prediction.prediction, 0) if prediction.prediction is not None else 0
    return (mine - max(counts.values(), default=0)) / len(answers)


def is_easy(prediction: Prediction, least: float) -> bool:
    """Whether the teacher's answer is right, with a margin of `least` or more."""
    return prediction.correct and margin(prediction) >= least


def divide(
    annotations: Sequence[Annotation],
    answers: Mapping[str, Prediction],
    least: float,
    hard: str,
) -> tuple[list[Annotation], list[Rejected]]:
    """(what is learned, in its order; what is left out).

    `answers` are the teacher's, by question. Annotations of easy problems stay. Of each other
    problem `hard` DROP leaves nothing, and ABSTAIN one annotation without steps in the place of
    the first. Problems that the teacher was not asked are left out.
    """
    kept: list[Annotation] = []
    left: list[Rejected] = []
    abstained: set[str] = set()
    for annotation in annotations:
        answer = answers.get(annotation.question)
        if answer is None:
            left.append(reject(annotation, "not asked of the teacher", "config.data.easy"))
        elif is_easy(answer, least):
            kept.append(annotation)
        elif hard == DROP:
            detail = f"margin {margin(answer):.3f}, {answer.prediction!r} for {answer.answer!r}"
            left.append(reject(annotation, "hard for the teacher", detail))
        elif annotation.id not in abstained:
            abstained.add(annotation.id)
            source = {"kind": ABSTENTION, "margin": margin(answer)}
            kept.append(dataclasses.replace(annotation, answer=UNKNOWN, steps=(), source=source))
    return kept, left


def read_answers(names: Sequence[str]) -> dict[str, Prediction]:
    """The predictions of the files of config.data.easy, by question; of two the later one.

    Raises UserError for a file that cannot be read or holds something else.
    """
    found = {}
    for name in names:
        path = local_path(name, "config.data.easy")
        for number, row in records.json_lines(path):
            try:
                prediction = records.prediction_from_dict(row)
            except (KeyError, TypeError) as error:
                raise UserError(
                    f"config.data.easy: {path}:{number}: not a prediction ({error}): give the "
                    "predictions.jsonl of an evaluation of the training problems"
                ) from None
            found[prediction.question] = prediction
    return found


def mistakes(data: Any, scheme: str) -> list[str]:
    """What is wrong with config.data.easy, easy_margin and hard."""
    found = ranges.mistakes("data", {"hard": data.hard}, choices={"hard": (DROP, ABSTAIN)})
    if not -1.0 <= data.easy_margin <= 1.0:
        found.append(f"config.data.easy_margin={data.easy_margin}: from -1 to 1")
    if not data.easy:
        if data.easy_margin or data.hard != DROP:
            found.append(
                "config.data.easy_margin and config.data.hard need config.data.easy, a teacher's "
                "predictions.jsonl"
            )
        return found
    if data.hard == ABSTAIN and not SCHEMES[scheme].alone:
        found.append(f"config.data.hard={ABSTAIN!r} is for --config.scheme=chain or answer_only")
    return found
