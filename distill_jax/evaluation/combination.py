"""Rules that make one answer from several: who is asked, and whose answer counts.

Each rule takes its members' predictions for a problem, and returns one Prediction, whose cost
includes everyone who was asked.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from distill_jax.dialogues import votes
from distill_jax.records import Cost, Grade, Prediction, Sample

ALONE = ("", "students")  # who answers if only one member is asked


Grader = Callable[[str, str], Grade]


def vote(members: Mapping[str, Prediction], grade: Grader | None = None) -> Prediction:
    """The answer with most ballots; every sample of every member is a ballot.

    `members` are predictions of one problem by name. With the task's `grade`, answers that are the
    same to it are one answer. Ties are broken as `votes.majority` does.
    Raises ValueError if there is no member, or if the predictions are of several problems.
    """
    samples = ballots(members, grade)
    return _elected(members, samples, samples[votes.majority_sample(samples)])


def length_vote(
    members: Mapping[str, Prediction],
    length: Callable[[Sample], int],
    width: int,
    buckets: int,
    grade: Grader | None = None,
) -> Prediction:
    """The answer with most ballots among the lengths whose answers agree most.

    `length` is that of a ballot; see `votes.length_filtered_sample` for the rule.

    Raises ValueError as `vote` does.
    """
    samples = ballots(members, grade)
    winner = votes.length_filtered_sample(samples, length, width, buckets)
    return _elected(members, samples, samples[winner])


def switch(
    small: Prediction, large: Prediction, large_name: str, uncertainty: float, threshold: float
) -> Prediction:
    """The small one's answer, or the large one's if `uncertainty` is above `threshold`.

    The switcher of "Predicting on the Edge" (https://arxiv.org/abs/2202.07652). `small` names
    who answered. The large one's cost is added only if it is asked. Samples are left out, because
    some problems would have the small one's and others the large one's. Raises ValueError if the
    predictions are of different problems.
    """
    _one_problem([small, large])
    if uncertainty <= threshold:
        return dataclasses.replace(small, samples=(), trained_on=_trained_on([small, large]))
    return dataclasses.replace(
        large,
        samples=(),
        answered_by=who(large_name, large.answered_by),
        trained_on=_trained_on([small, large]),
        cost=small.cost + large.cost,
    )


def ballots(members: Mapping[str, Prediction], grade: Grader | None = None) -> tuple[Sample, ...]:
    """All samples of all members, numbered from 0; each says which member wrote it.

    With the task's `grade` the same answer is written in the same way in all of them.

    Raises ValueError as `vote` does.
    """
    _one_problem(list(members.values()))
    drawn = [
        (name, sample)
        for name, prediction in members.items()
        for sample in prediction.samples or (votes.as_sample(0, prediction),)
    ]
    answers = [sample.prediction for _, sample in drawn]
    if grade is not None:
        answers = votes.one_spelling(answers, grade)
    return tuple(
        dataclasses.replace(
            sample, index=index, prediction=answer, answered_by=who(name, sample.answered_by)
        )
        for index, ((name, sample), answer) in enumerate(zip(drawn, answers, strict=True))
    )


def who(member: str, answered_by: str) -> str:
    """The value of `answered_by` if a member is one of several.

    >>> who("small", "students"), who("cascade", "teacher")
    ('small', 'cascade: teacher')
    """
    return member if answered_by in ALONE else f"{member}: {answered_by}"


def _elected(
    members: Mapping[str, Prediction], samples: Sequence[Sample], winner: Sample
) -> Prediction:
    problem = next(iter(members.values()))
    return dataclasses.replace(
        problem,
        completion=winner.completion,
        turns=winner.turns,
        prediction=winner.prediction,
        correct=winner.correct,
        scores=winner.scores,
        status=winner.status,
        samples=tuple(samples),
        answered_by=winner.answered_by,
        trained_on=_trained_on(members.values()),
        cost=sum((prediction.cost for prediction in members.values()), Cost()),
    )


def _trained_on(members: Iterable[Prediction]) -> str:
    """One row with the question that any of them was trained on."""
    return next((each.trained_on for each in members if each.trained_on), "")


def _one_problem(predictions: Sequence[Prediction]) -> None:
    if len({(p.id, p.question, p.answer) for p in predictions}) != 1:
        raise ValueError(f"predictions of one problem, not of {[p.id for p in predictions]}")
