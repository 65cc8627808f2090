"""The training loop: make steps, and between them call what is to be done every so often."""

import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax

from distill_jax.model import sharding
from distill_jax.training.step import TrainState


class Stopwatch:
    """Seconds of training steps alone: what else is done between them stops it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.paused_seconds = 0.0

    def seconds(self) -> float:
        """Since it began, pauses left out."""
        return time.monotonic() - self._began - self.paused_seconds

    @contextlib.contextmanager
    def pause(self, state: Any) -> Iterator[None]:
        """Stop while the block runs. Steps are dispatched long before they run, so those that
        `state` comes from are waited for first, and count as steps."""
        jax.block_until_ready(state)
        began = time.monotonic()
        try:
            yield
        finally:
            self.paused_seconds += time.monotonic() - began


@dataclasses.dataclass
class Moment:
    """Training between two steps, as hooks see it. A hook may replace `state`, and may ask for a
    checkpoint (`save`) or for the end (`stop`)."""

    step: int  # completed updates
    state: TrainState
    until: int  # the last step
    tokens: int  # non-padding tokens fed so far, over all processes
    stopwatch: Stopwatch
    values: dict[str, jax.Array] = dataclasses.field(default_factory=dict)
    """What the last step returned, which may not be computed yet; empty before the first one."""
    save: bool = False
    stop: bool = False  # no step follows
    interrupted: bool = False  # by a signal


class Hook(NamedTuple):
    """`function` is called after every `every` steps, at the step that training begins with if it
    is one of them, and when no step follows."""

    every: int
    function: Callable[[Moment], None]


class BatchSource(Protocol):
    """The rows of every step."""

    def __getitem__(self, step: int) -> dict[str, Any]:
        """This process's part of the batch of update `step` + 1: the same whenever it is asked, so
        a resumed run sees the same data."""
        ...

    def reaches(self, step: int) -> bool:
        """Whether the batch is known by now. A source whose rows the students write themselves
        knows those of its next round only after a hook has made them; `train` does not look
        further ahead."""
        ...

    def tokens(self, step: int) -> int:
        """Non-padding tokens of the batch of update `step` + 1 over all processes."""
        ...


def train(
    step_function: Callable[[Any, dict[str, jax.Array]], tuple[Any, dict[str, jax.Array]]],
    moment: Moment,
    source: BatchSource,
    mesh: jax.sharding.Mesh,
    hooks: Sequence[Hook],
) -> None:
    """Take `moment` from its step to the last one, or to where a hook stops it.

    The hooks are called in order, those that are due; one that stops training is followed by all
    that come after it in the list, due or not.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as ahead:
        following: concurrent.futures.Future | None = None
        while True:
            moment.save, moment.stop = False, moment.step >= moment.until
            for every, function in hooks:
                if moment.stop or moment.step % every == 0:
                    function(moment)
            if moment.stop:
                break
            batch = following.result() if following is not None else source[moment.step]
            following = None
            moment.tokens += tokens_of(source, moment.step, batch)  # while nothing else reads
            if moment.step + 1 < moment.until and source.reaches(moment.step + 1):
                following = ahead.submit(source.__getitem__, moment.step + 1)
            moment.step += 1
            with jax.profiler.StepTraceAnnotation("train", step_num=moment.step):
                moment.state, moment.values = step_function(
                    moment.state, sharding.put_batch(mesh, batch)
                )


def tokens_of(source: BatchSource, step: int, batch: dict[str, Any]) -> int:
    """`source.tokens(step)`; if there is one process, `batch` has them all."""
    return int(batch["length"].sum()) if jax.process_count() == 1 else source.tokens(step)
