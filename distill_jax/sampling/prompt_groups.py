"""Prompts that wait for a slot: read in groups of one length, each device its own share.

A *part* is a place of the mesh that has its own slots; there are data x fsdp parts. A part has its
share of a group's prompts, and these go only into its own slots, so keys and values never move
between devices. Here are two parts with two prompts and four slots each; three requests a, b, c of
one dialogue each are given to the parts in turn:

    prompts   a c     | b .
    slots     a c . . | b . . .
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from distill_jax.sampling import decode, slots
from distill_jax.sampling.dialogues import Request
from distill_jax.sampling.turn_rules import TurnRules

# How many groups may wait for slots at the same time: some parts use up their prompts faster than
# others. A part that has prompts of two groups waiting gets no more until it has caught up.
MOST_GROUPS = 3


@dataclasses.dataclass(frozen=True)
class Row:
    """A dialogue that is wanted: sample `sample` of request `request`."""

    request: int
    sample: int


@dataclasses.dataclass
class Group:
    """Prompts that were read together, and the dialogues that still need them.

    waiting  for each part: (number among the part's prompts, the dialogue that begins with it)
    """

    caches: decode.PromptCaches
    waiting: list[collections.deque[tuple[int, Row]]]

    @property
    def padded(self) -> int:
        """Tokens that its prompts are padded to."""
        return jax.tree.leaves(self.caches)[0].shape[2]


class PromptGroups:
    """Prompts that were read and wait, and those that are not read yet. The longest come first, so
    that the dialogues which begin last are short."""

    def __init__(self, rules: TurnRules, params: Any, requests: Sequence[Request], slot_count: int):
        self._rules, self._params, self._requests = rules, params, requests
        self._size, self._parts = slots.prefill_rows(slot_count), slots.parts()
        self._buckets = slots.bucket_lengths(rules.context)
        fitting = [
            n for n, r in enumerate(requests) if len(r.prompt) <= rules.context and r.samples
        ]
        self._left = sorted(fitting, key=lambda n: (-len(requests[n].prompt), n))
        self.groups: list[Group] = []
        self.tokens_read = 0  # with padding

    @property
    def more(self) -> bool:
        """Whether any prompt waits, read or not."""
        return bool(self._left) or any(any(group.waiting) for group in self.groups)

    def read(self) -> bool:
        """Read another group; False if no prompt is left, or too many groups wait."""
        self.groups = [group for group in self.groups if any(group.waiting)]
        if not self._left or len(self.groups) == MOST_GROUPS:
            return False
        share = self._size // self._parts
        takers = self._takers()
        length = self._bucket(self._left[0])
        members = [n for n in self._left[: share * len(takers)] if self._bucket(n) == length]
        self._left = self._left[len(members) :]
        # If there are more places than prompts, the samples of a prompt are spread over several
        # parts.
        copies = min(len(takers), share * len(takers) // len(members))
        prompts = np.zeros((self._parts, share, length), np.int32)
        waiting = [collections.deque[tuple[int, Row]]() for _ in range(self._parts)]
        dealt = 0
        for number in members:
            request = self._requests[number]
            times = min(copies, len(request.samples))
            for copy in range(times):
                place, part = dealt // len(takers), takers[dealt % len(takers)]
                prompts[part, place, : len(request.prompt)] = request.prompt
                waiting[part] += [(place, Row(number, s)) for s in request.samples[copy::times]]
                dealt += 1
        self.tokens_read += prompts.size
        caches = decode.prefill(self._rules, self._params, prompts.reshape(self._size, length))
        self.groups.append(Group(caches, waiting))
        return True

    def _takers(self) -> list[int]:
        """The parts that get prompts; parts with the fewest waiting dialogues come first."""
        backlog = [[len(group.waiting[part]) for group in self.groups]
                   for part in range(self._parts)]  # fmt: skip
        takers = [part for part, counts in enumerate(backlog) if np.count_nonzero(counts) < 2]
        return sorted(takers, key=lambda part: (sum(backlog[part]), part))

    def _bucket(self, number: int) -> int:
        length = len(self._requests[number].prompt)
        return next(bucket for bucket in self._buckets if bucket >= length)
