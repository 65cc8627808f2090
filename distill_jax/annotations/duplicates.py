"""Several annotations of one problem: copies are dropped, so that diversity is not only counted.

Diverse reasoning (Ho et al. 2022, section 3.2, https://arxiv.org/abs/2212.10071) trains on several
rationales per problem; a teacher often writes the same one twice.
"""

import collections
import itertools
import re
from collections.abc import Sequence

from distill_jax.annotations.verify import Rejected, reject
from distill_jax.records import Annotation

# Share of word pairs in common from which two texts are near duplicates.
NEAR = 0.8

_WORD = re.compile(r"\w+|[^\w\s]")


def drop_duplicates(
    annotations: Sequence[Annotation], most: int = 0
) -> tuple[list[Annotation], list[Rejected]]:
    """(kept, rejected): of the annotations of a problem the first of each kind, `most` at most.

    Texts are duplicates that differ only in case, white space and punctuation, and near duplicates
    whose sets of neighbouring word pairs have NEAR of their union in common (Jaccard), numbers
    included. `most` 0 keeps all that differ. The order is kept.
    """
    kept: list[Annotation] = []
    rejected: list[Rejected] = []
    seen: dict[str, list[tuple[Annotation, tuple[str, ...], frozenset]]] = {}
    several = collections.Counter(annotation.id for annotation in annotations)
    for annotation in annotations:
        if several[annotation.id] == 1:
            kept.append(annotation)
            continue
        words = _words(annotation)
        pairs = frozenset(itertools.pairwise(words))
        others = seen.setdefault(annotation.id, [])
        reason = next((r for o in others if (r := _alike(words, pairs, *o[1:]))), None)
        if reason is None and 0 < most <= len(others):
            reason = "more than wanted"
        if reason is None:
            others.append((annotation, words, pairs))
            kept.append(annotation)
        else:
            detail = f"of {len(others)} kept of this problem"
            rejected.append(reject(annotation, reason, detail))
    return kept, rejected


def _words(annotation: Annotation) -> tuple[str, ...]:
    parts = [part for step in annotation.steps for part in (step.subquestion or "", step.solution)]
    found = _WORD.findall(" ".join(parts).casefold())
    # Signs between numbers matter (4-3 is not 4+3), the other punctuation does not.
    return tuple(word for word in found if word not in ".,;:!?\"'()")


def _alike(
    words: tuple[str, ...], pairs: frozenset, other_words: tuple[str, ...], other_pairs: frozenset
) -> str | None:
    if words == other_words:
        return "duplicate"
    if len(pairs & other_pairs) >= NEAR * len(pairs | other_pairs):
        return "near duplicate"
    return None
