"""Several samples per problem: whose answer is the vote's, and the chance that some sample is
right."""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Sequence

from distill_jax.records import Cost, Grade, Prediction, Sample
from distill_jax.text.formats import MARKER
from distill_jax.text.transcript import written_steps

MAJORITY, LENGTH = "majority", "length"
Rule = Callable[[Sequence[Sample]], int]  # the index of the sample whose answer wins

_WHOLE = re.compile(r"-?[1-9][0-9]*|0")


def majority(answers: Sequence[str | None], log_probabilities: Sequence[float]) -> int:
    """The index of the sample that represents the most frequent answer.

    Majority vote over final answers, as in self-consistency (Wang et al., 2022,
    https://arxiv.org/abs/2203.11171). `log_probabilities` are natural logs per token, one mean per
    sample. If answers are equally frequent, the one whose samples have the higher mean wins, and
    then the one that occurs first. The answer's most probable sample represents it, or the first of
    equally probable ones. None, an answer that could not be read, wins only if there is no other.

    Raises ValueError if there is no sample, or not one log probability for each.
    """
    groups: dict[str | None, list[int]] = collections.defaultdict(list)
    for index, (answer, _) in enumerate(zip(answers, log_probabilities, strict=True)):
        groups[answer].append(index)
    if len(groups) > 1:
        groups.pop(None, None)

    def votes(samples: list[int]) -> tuple[int, float]:
        total = sum(log_probabilities[index] for index in samples)
        return len(samples), total / len(samples)

    # max() returns the first of equals, and the groups are in the order of their first samples.
    winner = max(groups.values(), key=votes)
    return max(winner, key=lambda index: log_probabilities[index])


def majority_sample(samples: Sequence[Sample]) -> int:
    """The index of the sample that `majority` chooses."""
    return majority(
        [sample.prediction for sample in samples],
        # A prompt that left no room to write has no tokens.
        [sample.log_probability / max(sample.tokens, 1) for sample in samples],
    )


def length_filtered_sample(
    samples: Sequence[Sample], length: Callable[[Sample], int], width: int, buckets: int
) -> int:
    """The index of the sample that `majority` chooses among the lengths whose answers agree most.

    The length-filtered vote of "When More is Less" (https://arxiv.org/abs/2502.07266): samples go
    into buckets of `width` lengths, `length(sample) // width`; the `buckets` buckets whose answers
    have the lowest entropy are kept, and the shorter ones if they are equal. Samples that cannot be
    read do not count, unless none can be read.

    With width 2 and 2 buckets:

        length    3  3   4   6  6   8  8
        answer    7  7   7   9  8   9  9
        bucket    1  1   2   3  3   4  4
        entropy      0   0   ln 2      0     kept: 1 and 2, so 7 wins
    """
    read = [i for i, sample in enumerate(samples) if sample.prediction is not None]
    groups: dict[int, list[int]] = collections.defaultdict(list)
    for index in read or range(len(samples)):
        groups[length(samples[index]) // width].append(index)
    agreeing = sorted(
        groups, key=lambda b: (entropy([samples[i].prediction for i in groups[b]]), b)
    )
    left = sorted(index for bucket in agreeing[:buckets] for index in groups[bucket])
    return left[majority_sample([samples[index] for index in left])]


def entropy(answers: Sequence[str | None]) -> float:
    """Entropy of the shares of the different answers, in nats; from 0, for one answer."""
    counts = sorted(collections.Counter(answers).values())  # sorted: equal counts, equal sums
    return -math.fsum(n / len(answers) * math.log(n / len(answers)) for n in counts) + 0.0


def rule_of(vote: str, width: int, buckets: int) -> Rule:
    """That of config.sampling.vote, MAJORITY or LENGTH; a length is that of a chain in steps."""
    if vote == MAJORITY:
        return majority_sample
    return functools.partial(
        length_filtered_sample,
        length=lambda sample: written_steps(sample.turns),
        width=width,
        buckets=buckets,
    )


def one_spelling(
    answers: Sequence[str | None], grade: Callable[[str, str], Grade]
) -> list[str | None]:
    """The answers, each written as the first that is the same answer.

    Two are the same if each grades as right against the other. Whole numbers are compared as they
    are written, which takes no grading: 10 is not 12 to any task.
    """
    spellings: dict[str, str] = {}
    kept: list[str] = []
    for answer in answers:
        if answer is None or answer in spellings:
            continue
        same = (other for other in kept if _same(answer, other, grade))
        spellings[answer] = next(same, answer)
        if spellings[answer] == answer:
            kept.append(answer)
    return [None if answer is None else spellings[answer] for answer in answers]


def _same(one: str, other: str, grade: Callable[[str, str], Grade]) -> bool:
    if _WHOLE.fullmatch(one) and _WHOLE.fullmatch(other):
        return one == other
    pairs = ((one, other), (other, one))
    return all(grade(f"{MARKER} {a}", b).scores["normalised"] for a, b in pairs)


def combine(
    predictions: Sequence[Prediction],
    grade: Callable[[str, str], Grade] | None = None,
    rule: Rule = majority_sample,
) -> Prediction:
    """One voted Prediction from those of a problem's samples, in the order of the samples.

    Its fields are those of the sample that `rule` chooses, its `samples` are all of them, and
    its cost is the sum of theirs. With the task's `grade`, answers that it grades as equal are one
    answer, written as in the first sample that has it. A single prediction is returned unchanged.
    Raises ValueError if there is none, if they belong to several problems, and if one is a vote
    itself.
    """
    if len({prediction.id for prediction in predictions}) != 1:
        raise ValueError(f"samples of one problem, not of {[p.id for p in predictions]}")
    if any(prediction.samples for prediction in predictions):
        raise ValueError(f"{predictions[0].id}: this prediction is a vote, not a sample")
    if len(predictions) == 1:
        return predictions[0]
    if grade is not None:
        spelled = one_spelling([prediction.prediction for prediction in predictions], grade)
        predictions = [
            dataclasses.replace(prediction, prediction=answer)
            for prediction, answer in zip(predictions, spelled, strict=True)
        ]
    samples = tuple(as_sample(index, prediction) for index, prediction in enumerate(predictions))
    winner = rule(samples)
    cost = sum((prediction.cost for prediction in predictions), Cost())
    return dataclasses.replace(predictions[winner], samples=samples, cost=cost)


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that of k samples, drawn from n of which c are right, at least one is right.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al., 2021, equation 1
    (https://arxiv.org/abs/2107.03374), exact to the last bit, because the binomials are integers.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {n} samples of which {c} are right")
    total = math.comb(n, k)
    return (total - math.comb(n - c, k)) / total


def as_sample(index: int, prediction: Prediction) -> Sample:
    """A prediction as one sample of several."""
    return Sample(
        index=index,
        completion=prediction.completion,
        turns=prediction.turns,
        prediction=prediction.prediction,
        correct=prediction.correct,
        scores=prediction.scores,
        status=prediction.status,
        log_probability=math.fsum(turn.log_probability for turn in prediction.turns),
        tokens=sum(turn.tokens for turn in prediction.turns),
        answered_by=prediction.answered_by,
        cost=prediction.cost,
    )
