"""Many prompts through a fixed number of slots: rows that finish make room for the next ones.

The host is asked once per chunk of steps, never per token. Its decisions depend only on what the
device says, so several processes make the same decisions.
"""

import dataclasses
from collections.abc import Generator

from distill_jax import distributed
from distill_jax.errors import Interrupted
from distill_jax.sampling.dialogues import PROMPT_TOO_LONG, Dialogue
from distill_jax.sampling.schedule import Job, Schedule, Work


@dataclasses.dataclass(frozen=True)
class Chunk:
    """No step is running, so this is a good time to stop. `work` is what was done so far."""

    work: Work


@dataclasses.dataclass(frozen=True)
class Growing:
    """A dialogue that is not finished (status "running"), or just finished."""

    request: int  # its number among the job's
    sample: int
    dialogue: Dialogue


@dataclasses.dataclass(frozen=True)
class Finished:
    """A dialogue that has stopped."""

    request: int  # its number among the job's
    sample: int
    dialogue: Dialogue


Event = Chunk | Growing | Finished


def generate(job: Job) -> Generator[Event, None, None]:
    """The dialogues of every request and sample, in the order in which they finish.

    The first event is a Chunk without steps, and each chunk of steps ends with one. With `job.look`
    there is a Growing of every dialogue in a slot every few tokens, and one after it has stopped. A
    prompt longer than the context is not run: its status is `prompt_too_long`.

    No chunk runs after the iterator is closed. Several processes go through the same events. Only
    process 0 may close its iterator before the end (after the first event); the iterators of the
    others end before their next chunk. If the consumer raises anything but Interrupted, the others
    are not told.
    """
    run = Schedule(job)
    try:
        yield Chunk(run.work)
        for number, request in enumerate(job.requests):
            if len(request.prompt) > job.rules.context:
                for sample in request.samples:
                    yield Finished(number, sample, Dialogue([], PROMPT_TOO_LONG))
        # They ask before the step that finds nothing to do as well: process 0 may still be closed
        # while others have gone through all events.
        while distributed.first_agrees(True) and run.step():
            if job.look:
                for row, dialogue in run.seen():
                    yield Growing(row.request, row.sample, dialogue)
            for row, dialogue in run.finished():
                yield Finished(row.request, row.sample, dialogue)
            yield Chunk(run.work)
    except GeneratorExit as closed:
        if distributed.is_first() and _on_purpose(closed):
            distributed.first_agrees(False)
        raise


def _on_purpose(error: BaseException | None) -> bool:
    """Whether the consumer closed the iterator because it wants no more, or was interrupted.

    Other errors may be raised in the consumers of all processes, and then nobody would listen.
    """
    while isinstance(error, GeneratorExit | Interrupted):
        error = error.__context__  # what was being handled when the iterator was closed
    return error is None


def collect(job: Job) -> tuple[list[list[Dialogue]], Work]:
    """All dialogues of a job, by its samples, in the order of its requests."""
    found: dict[tuple[int, int], Dialogue] = {}
    work = Work(slots=job.slots)
    for event in generate(job):
        if isinstance(event, Finished):
            found[event.request, event.sample] = event.dialogue
        elif isinstance(event, Chunk):
            work = event.work
    ordered = [[found[n, s] for s in request.samples] for n, request in enumerate(job.requests)]
    return ordered, work
