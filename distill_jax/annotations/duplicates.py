"""Drops copies among the annotations of a problem, so that several annotations really differ.

Diverse reasoning (Ho et al. 2022, section 3.2, https://arxiv.org/abs/2212.10071) trains on several
rationales per problem; a teacher often writes the same one twice.
"""

import collections
import re
from collections.abc import Sequence
from typing import Any

from distill_jax.annotations.verify import Rejected, reject
from distill_jax.records import Annotation
from distill_jax.settings import ranges

# Two texts are near duplicates if they share this share of their word pairs, by default.
NEAR = 0.8

_WORD = re.compile(r"\w+|[^\w\s]")


def drop_duplicates(
    annotations: Sequence[Annotation],
    most: int = 0,
    near: float = NEAR,
    words_in_a_row: int = 2,
    *,
    subquestions: bool = True,
) -> tuple[list[Annotation], list[Rejected]]:
    """(kept, rejected): of the annotations of a problem, the first of each kind, at most `most`.

    Texts are duplicates that differ only in case, white space and punctuation, and near duplicates
    if their sets of n-grams of `words_in_a_row` words have `near` of their union in common
    (Jaccard), numbers included. With more than 1 only copies are dropped. DPO-ST (Wang et al. 2024,
    https://arxiv.org/abs/2407.18248) drops texts that share more than 0.7 of their single tokens.
    `most` 0 keeps all that differ. Without `subquestions` only solutions are compared, as a chain
    has only these. The order is kept.
    """
    kept: list[Annotation] = []
    rejected: list[Rejected] = []
    seen: dict[str, list[tuple[tuple[str, ...], frozenset]]] = {}
    several = collections.Counter(annotation.id for annotation in annotations)
    for annotation in annotations:
        if several[annotation.id] == 1:
            kept.append(annotation)
            continue
        words = _words(annotation, subquestions)
        ngrams = frozenset(zip(*(words[i:] for i in range(words_in_a_row)), strict=False))
        others = seen.setdefault(annotation.id, [])
        reason = next((r for o in others if (r := _alike(words, ngrams, o, near))), None)
        if reason is None and 0 < most <= len(others):
            reason = "more than wanted"
        if reason is None:
            others.append((words, ngrams))
            kept.append(annotation)
        else:
            detail = f"of {len(others)} kept of this problem"
            rejected.append(reject(annotation, reason, detail))
    return kept, rejected


def _words(annotation: Annotation, subquestions: bool) -> tuple[str, ...]:
    parts = [
        part
        for step in annotation.steps
        for part in ((step.subquestion or "") if subquestions else "", step.solution)
    ]
    found = _WORD.findall(" ".join(parts).casefold())
    # Signs between numbers matter (4-3 is not 4+3), the other punctuation does not.
    return tuple(word for word in found if word not in ".,;:!?\"'()")


def jaccard(left: frozenset, right: frozenset) -> float:
    """The share of the union that both have; 0 for two empty sets, which show nothing."""
    return len(left & right) / max(1, len(left | right))


def _alike(
    words: tuple[str, ...], ngrams: frozenset, other: tuple[tuple[str, ...], frozenset], near: float
) -> str | None:
    if words == other[0]:
        return "duplicate"
    return "near duplicate" if jaccard(ngrams, other[1]) >= near else None


def mistakes(data: Any) -> list[str]:
    """What is wrong with the keys of config.data that say which annotations are alike."""
    least = {"near": 1e-9, "near_words": 1}  # with 0 all would be alike
    return ranges.mistakes("data", {key: data[key] for key in least}, least=least)
