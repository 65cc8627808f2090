"""Who answers problems: students, and whoever else keeps to `Answerer`.

with contextlib.closing(answerer.answer(problems)) as events:
    for event in events:
        if isinstance(event, Prediction):
            ...
"""

import dataclasses
from collections.abc import Generator, Sequence
from typing import Protocol

from distill_jax.dialogues.live import LiveTurn
from distill_jax.records import Prediction, Problem
from distill_jax.sampling.generate import Chunk


@dataclasses.dataclass(frozen=True)
class Look:
    """The turns so far of one dialogue, for whoever watches it grow."""

    problem: Problem
    sample: int
    turns: tuple[LiveTurn, ...]


@dataclasses.dataclass(frozen=True)
class Sampled:
    """One dialogue of a problem, graded by itself: what a resumed evaluation need not ask again."""

    sample: int
    prediction: Prediction  # its `samples` are ()
    filled_in: int  # values that the calculator filled in


# What does not concern a consumer may be passed over. A Chunk is a good time to stop.
Event = Prediction | Look | Sampled | Chunk


class Answerer(Protocol):
    """Whoever answers problems."""

    def answer(self, problems: Sequence[Problem]) -> Generator[Event, None, None]:
        """A Prediction for every problem as soon as all of its samples are known, in no order.

        Each Sampled comes before the Prediction that it is part of. Predictions have the
        `attributes` of their problems. Nothing more is sampled once the iterator is closed. All of
        several processes go through the same events; only process 0 may close it before the end
        (after the first event), and the iterators of the others then end early, too.
        """
        ...
