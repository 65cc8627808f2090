"""The interface of everything that answers problems, such as students.

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
    """The turns of a dialogue so far, for those who watch it."""

    problem: Problem
    sample: int
    turns: tuple[LiveTurn, ...]


@dataclasses.dataclass(frozen=True)
class Sampled:
    """One graded dialogue of a problem, which a resumed evaluation need not ask again."""

    sample: int
    prediction: Prediction  # its `samples` are ()
    filled_in: int  # values that the calculator filled in


# A consumer may ignore events that it does not need. A Chunk is a good time to stop.
Event = Prediction | Look | Sampled | Chunk


class Answerer(Protocol):
    """Something that answers problems."""

    def answer(self, problems: Sequence[Problem]) -> Generator[Event, None, None]:
        """A Prediction for every problem, as soon as all of its samples are known; in any order.

        Each Sampled comes before the Prediction that it is part of. Predictions have the
        `attributes` of their problems. Nothing more is sampled after the iterator is closed.
        Several processes go through the same events. Only process 0 may close its iterator before
        the end (after the first event); the iterators of the others then end early too.
        """
        ...
