"""Many prompts through a fixed number of slots: rows that finish make room for the next ones.

The host is asked once per chunk of steps, never per token. What it does there depends on nothing
but what the device says, so that several processes do the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

from distill_jax.sampling.advance import Calculator
from distill_jax.sampling.dialogues import PROMPT_TOO_LONG, Dialogue, Request
from distill_jax.sampling.pick import How
from distill_jax.sampling.plan import DialoguePlan
from distill_jax.sampling.schedule import LOOK, Resume, Schedule, Work

OnLook = Callable[[int, int, Dialogue], None]


def generate(
    plan: DialoguePlan,
    params: dict[str, Any],
    requests: Sequence[Request],
    how: How,
    *,
    seed: int,
    slot_count: int,
    calculator: Calculator | None = None,
    resume: Resume | None = None,
    on_dialogue: Callable[[int, int, Dialogue], None] = lambda request, sample, dialogue: None,
    on_chunk: Callable[[], None] = lambda: None,
    on_look: OnLook | None = None,
) -> tuple[list[list[Dialogue]], Work]:
    """The dialogues of every request, by its samples, in the order of `requests`.

    params       {student: parameters}, laid out over the mesh that is set (`jax.set_mesh`)
    slot_count   rows at a time; a multiple of the devices that they are spread over
    resume       asked where a row is held: at a HOLD of its script, or by the calculator
    on_dialogue  told (request, sample, dialogue) as they finish, in no order
    on_chunk     called between chunks; what it raises ends the call
    on_look      told (request, sample, dialogue so far) every few tokens, and once it has stopped;
                 what it raises ends the call. The dialogues are the same with it

    A prompt longer than the context is not run: status `prompt_too_long`.
    """
    run = Schedule(plan, params, requests, how, seed, slot_count, calculator, resume)
    if on_look is not None:
        run.most_steps = LOOK
    results: dict[tuple[int, int], Dialogue] = {}
    for number, request in enumerate(requests):
        if len(request.prompt) > plan.context:
            for sample in request.samples:
                results[number, sample] = Dialogue([], PROMPT_TOO_LONG)
                on_dialogue(number, sample, results[number, sample])
    while run.step():
        if on_look is not None:
            for row, dialogue in run.seen():
                on_look(row.request, row.sample, dialogue)
        for row, dialogue in run.finished():
            results[row.request, row.sample] = dialogue
            on_dialogue(row.request, row.sample, dialogue)
        on_chunk()
    ordered = [[results[n, s] for s in request.samples] for n, request in enumerate(requests)]
    return ordered, run.work
