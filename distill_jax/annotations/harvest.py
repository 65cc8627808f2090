"""Which of the students' answers to training problems are learned: config.harvest."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

from distill_jax.annotations import filters
from distill_jax.annotations.filters import Filter, KeepRule
from distill_jax.annotations.verify import Rejected, reject
from distill_jax.records import Annotation
from distill_jax.settings import ranges

KEEP: dict[str, KeepRule] = {
    "all": filters.keep_all,
    "different": filters.most_different,
    "least_repetition": filters.lowest_repetition,
    "shortest": filters.shortest,
}


@dataclasses.dataclass(frozen=True)
class Harvest:
    """config.harvest; see configs/base.py for the keys."""

    unwanted: tuple[str, ...] = ()
    least_tokens: int = 0
    most_tokens: int = 0
    most_repetition: float = 1.0
    least_perplexity: float = 0.0
    most_perplexity: float = 0.0
    keep: str = "all"

    @property
    def filters(self) -> list[Filter]:
        """The filters that are switched on, in their order."""
        found = [
            filters.without(re.compile(pattern), "unwanted pattern") for pattern in self.unwanted
        ]
        if self.least_tokens or self.most_tokens:
            found.append(filters.length_between(self.least_tokens, self.most_tokens or None))
        if self.most_repetition < 1.0:
            found.append(filters.repetition_at_most(self.most_repetition))
        if self.least_perplexity or self.most_perplexity:
            most = self.most_perplexity or math.inf
            found.append(filters.perplexity_between(self.least_perplexity, most))
        return found


def sift(
    annotations: Sequence[Annotation], harvest: Harvest
) -> tuple[list[Annotation], list[Rejected]]:
    """(kept, rejected), in their order: of the students' own annotations those that the filters and
    the keep rule leave, and all others. `verify` has kept them before."""
    own = [filters.candidate_of(each) for each in annotations if each.source["kind"] == "student"]
    kept, dropped = filters.sift(own, harvest.filters)
    kept, others = filters.keep_of_each_problem(kept, KEEP[harvest.keep])
    left = {id(candidate.record) for candidate in kept}
    rejected = [
        reject(each.candidate.record, each.reason, f"config.harvest: {harvest}")
        for each in (*dropped, *others)
        if isinstance(each.candidate.record, Annotation)
    ]
    return [
        each for each in annotations if each.source["kind"] != "student" or id(each) in left
    ], rejected


def mistakes(harvest: Any) -> list[str]:
    """What is wrong with config.harvest, a line each."""
    least = {key: 0 for key in harvest if key.startswith(("least_", "most_"))}
    found = ranges.mistakes("harvest", harvest, least=least, choices={"keep": KEEP})
    for what in ("tokens", "perplexity"):
        low, high = harvest[f"least_{what}"], harvest[f"most_{what}"]
        if 0 < high < low:
            found.append(
                f"config.harvest.most_{what}={high} is below config.harvest.least_{what}={low}: "
                "nothing would be kept"
            )
    for pattern in harvest.unwanted:
        try:
            re.compile(pattern)
        except re.error as error:
            found.append(
                f"config.harvest.unwanted: {pattern!r} is not a regular expression: {error}"
            )
    return found
