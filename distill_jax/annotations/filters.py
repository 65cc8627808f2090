"""Chooses answers to train on among many candidates: filters, and rules for what to keep of a
problem.

A student that answers the training problems several times writes more than it should learn from
(rejection sampling, self-training). A filter reads one candidate, and returns a reason to drop it
or None. A keep rule reads the candidates of one problem. All of them are pure functions:

    candidates = [each for prediction in predictions for each in candidates_of(prediction)]
    kept, dropped = sift(candidates, [finished, right, equations_true, length_between(25)])
    kept, others = keep_of_each_problem(kept, lowest_repetition)
    counts(kept, dropped + others)    # {"kept": 4, "wrong answer": 7, "too short": 1, ...}

If a candidate lacks something that a filter needs (a file may not say how many tokens an answer
has), that is a reason too, so nothing passes unchecked.
"""

import collections
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from distill_jax.annotations.edit_distance import edit_distance
from distill_jax.records import Annotation, Prediction, Sample
from distill_jax.text.false_equations import false_equations
from distill_jax.text.formats import ANSWER_MARK
from distill_jax.text.written_equations import marks, plain_equations


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An answer to a problem as filters and keep rules see it.

    problem          the problem's id
    text             the whole text, including the final answer, each turn on a separate line
    correct, status  as in records.Prediction
    tokens           how many were written, including end marks; None if that is not known
    log_probability  natural log at temperature 1, summed over the tokens; None if not known
    record           the record that the candidate was made from
    """

    problem: str
    text: str
    correct: bool
    status: str
    tokens: int | None
    log_probability: float | None
    record: Prediction | Sample | Annotation


Filter = Callable[[Candidate], str | None]  # the reason to drop it, or None
KeepRule = Callable[[Sequence[Candidate]], list[int]]  # of one problem: the places of those to keep


class Dropped(NamedTuple):
    """A candidate that is not trained on, and the class of its reason."""

    candidate: Candidate
    reason: str


def candidates_of(prediction: Prediction) -> list[Candidate]:
    """One candidate per sample, in their order; one if the prediction is the only sample."""
    return [
        Candidate(
            prediction.id,
            each.completion,
            each.correct,
            each.status,
            tokens=sum(turn.tokens for turn in each.turns),
            log_probability=math.fsum(turn.log_probability for turn in each.turns),
            record=each,
        )
        for each in prediction.samples or (prediction,)
    ]


def candidate_of(annotation: Annotation) -> Candidate:
    """An annotation that `verify` has kept: it counts as right and finished.

    Its source may say "tokens" and "log_probability", as that of an imported sample of a student
    does.
    """
    parts = [part for step in annotation.steps for part in (step.subquestion, step.solution)]
    text = "\n".join(part for part in parts if part is not None)
    tokens = annotation.source.get("tokens")
    log_probability = annotation.source.get("log_probability")
    return Candidate(
        annotation.id,
        f"{text}{ANSWER_MARK}{annotation.answer}",
        correct=True,
        status="finished",
        tokens=tokens if isinstance(tokens, int) else None,
        log_probability=log_probability if isinstance(log_probability, int | float) else None,
        record=annotation,
    )


def sift(
    candidates: Iterable[Candidate], filters: Sequence[Filter]
) -> tuple[list[Candidate], list[Dropped]]:
    """(kept, dropped), in the order of the candidates; the first filter that objects counts."""
    kept: list[Candidate] = []
    dropped: list[Dropped] = []
    for candidate in candidates:
        reason = objection(candidate, filters)
        if reason is None:
            kept.append(candidate)
        else:
            dropped.append(Dropped(candidate, reason))
    return kept, dropped


def objection(candidate: Candidate, filters: Sequence[Filter]) -> str | None:
    """The reason of the first filter that objects, or None."""
    return next((reason for each in filters if (reason := each(candidate)) is not None), None)


def counts(kept: Sequence[Candidate], dropped: Sequence[Dropped]) -> dict[str, int]:
    """How many are kept and how many are dropped for which reason, the most frequent one first."""
    reasons = collections.Counter(each.reason for each in dropped)
    return {"kept": len(kept), **dict(reasons.most_common())}


# Filters.


def right(candidate: Candidate) -> str | None:
    """The final answer is the known one."""
    return None if candidate.correct else "wrong answer"


def finished(candidate: Candidate) -> str | None:
    """The student ended the dialogue, and an answer can be read."""
    if candidate.status == "finished":
        return None
    return "no answer" if candidate.status == "unparsed" else "not finished"


def equations_true(candidate: Candidate) -> str | None:
    """Exact arithmetic refutes no calculator mark and no written equation (`false_equations`)."""
    return "false calculation" if false_equations(candidate.text) else None


def length_between(least: int, most: int | None = None) -> Filter:
    """At least `least` and at most `most` tokens, end marks included."""

    def check(candidate: Candidate) -> str | None:
        if candidate.tokens is None:
            return "length not known"
        if candidate.tokens < least:
            return "too short"
        return "too long" if most is not None and candidate.tokens > most else None

    return check


def repetition_at_most(most: float) -> Filter:
    """A share of at most `most` of the bigrams of words repeats an earlier one: see `repetition`.

    SERT keeps up to 0.2 (https://arxiv.org/abs/2502.12744).
    """

    def check(candidate: Candidate) -> str | None:
        return "repetitive" if repetition(candidate.text.split()) > most else None

    return check


def perplexity_between(least: float, most: float = math.inf) -> Filter:
    """A perplexity of at least `least` and at most `most` under the student that wrote it.

    SERT drops texts below 5, because degenerate text is the most probable
    (https://arxiv.org/abs/2502.12744). A bound on the mean log-probability m is one on the
    perplexity exp(-m).
    """

    def check(candidate: Candidate) -> str | None:
        value = perplexity(candidate)
        if value is None:
            return "perplexity not known"
        if value < least:
            return "perplexity too low"
        return "perplexity too high" if value > most else None

    return check


def without(pattern: re.Pattern[str], reason: str) -> Filter:
    """The pattern occurs nowhere in the text; `reason` says what it finds, "asks again"."""

    def check(candidate: Candidate) -> str | None:
        return reason if pattern.search(candidate.text) else None

    return check


# Keep rules.


def keep_of_each_problem(
    candidates: Sequence[Candidate], rule: KeepRule
) -> tuple[list[Candidate], list[Dropped]]:
    """(kept, dropped), in the order of the candidates; `rule` decides for each problem."""
    places: dict[str, list[int]] = collections.defaultdict(list)
    for place, candidate in enumerate(candidates):
        places[candidate.problem].append(place)
    chosen: set[int] = set()
    for some in places.values():
        chosen |= {some[each] for each in rule([candidates[place] for place in some])}
    kept = [candidate for place, candidate in enumerate(candidates) if place in chosen]
    dropped = [
        Dropped(candidate, "another of the problem kept")
        for place, candidate in enumerate(candidates)
        if place not in chosen
    ]
    return kept, dropped


def keep_all(candidates: Sequence[Candidate]) -> list[int]:
    """All of them."""
    return list(range(len(candidates)))


def most_different(candidates: Sequence[Candidate]) -> list[int]:
    """One of each list of equations, chosen to differ most from the others that are kept.

    The rule of rejection sampling fine-tuning (Yuan et al. 2023, algorithm 1,
    https://arxiv.org/abs/2308.01825). Candidates are read in their order. One with new equations
    is kept. One with the equations of a kept candidate replaces it if the sum of its edit distances
    to the other kept ones is larger. Without equations one is kept.
    """
    kept: dict[tuple[str, ...], int] = {}
    for place, candidate in enumerate(candidates):
        equations = equations_of(candidate.text)
        if equations not in kept:
            kept[equations] = place
            continue
        others = [candidates[i].text for key, i in kept.items() if key != equations]
        here, there = candidate.text, candidates[kept[equations]].text
        if _distance_to_all(here, others) > _distance_to_all(there, others):
            kept[equations] = place
    return sorted(kept.values())


def lowest_repetition(candidates: Sequence[Candidate]) -> list[int]:
    """The one whose bigrams of words repeat least; the first, if several are equal."""
    return [min(keep_all(candidates), key=lambda i: repetition(candidates[i].text.split()))]


def shortest(candidates: Sequence[Candidate]) -> list[int]:
    """The one with the fewest tokens, or with the fewest characters if some have no number of
    tokens."""
    tokens = [each.tokens for each in candidates if each.tokens is not None]
    known = len(tokens) == len(candidates)
    lengths = tokens if known else [len(each.text) for each in candidates]
    return [min(keep_all(candidates), key=lambda i: lengths[i])]


# Measures.


def repetition(tokens: Sequence[str]) -> float:
    """rep-2: 1 - unique bigrams / bigrams; 0 for fewer than two tokens.

    >>> repetition("a b a b a c".split())
    0.4
    """
    bigrams = list(itertools.pairwise(tokens))
    return (len(bigrams) - len(set(bigrams))) / len(bigrams) if bigrams else 0.0


def mean_log_probability(candidate: Candidate) -> float | None:
    """Natural log per token; None if it is not known, or nothing was written."""
    total = candidate.log_probability
    if total is None or not candidate.tokens or math.isnan(total):
        return None
    return total / candidate.tokens


def perplexity(candidate: Candidate) -> float | None:
    """exp of minus the mean log-probability per token; None if that is not known."""
    mean = mean_log_probability(candidate)
    if mean is None:
        return None
    return math.exp(-mean) if mean > -700.0 else math.inf  # exp(710) overflows


def equations_of(text: str) -> tuple[str, ...]:
    """The equations of a text without spaces: its calculator marks, or else its plain ones.

    >>> equations_of("Half: 48/2 = <<48/2=24>>24"), equations_of("Half: 48 / 2 = 24")
    (('48/2=24',), ('48/2=24',))
    """
    found = marks(text) or plain_equations(text)
    return tuple(f"{each.expression}={each.value}".replace(" ", "") for each in found)


def _distance_to_all(text: str, others: Iterable[str]) -> int:
    return sum(edit_distance(text, other) for other in others)
