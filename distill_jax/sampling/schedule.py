"""Which dialogue is in which slot, and what the device does next.

The decisions here depend only on what the device says, so several processes make the same ones.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from distill_jax import devices
from distill_jax.sampling import decode, slots
from distill_jax.sampling import state as dialogue_state
from distill_jax.sampling import turn_rules as turn_rules
from distill_jax.sampling.advance import Calculator
from distill_jax.sampling.dialogues import Dialogue, Request, name_hash, to_dialogue
from distill_jax.sampling.pick import How
from distill_jax.sampling.prompt_groups import Group, PromptGroups, Row
from distill_jax.sampling.slots import CHUNK
from distill_jax.sampling.turn_rules import TurnRules

LOOK = 4  # the same, if somebody wants to see how dialogues grow
ROOM = 16  # a window has room for at least this many steps

# How a held row continues: (number of the request, its dialogue so far) -> entries of a script.
Resume = Callable[[int, Dialogue], Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be sampled, and how.

    params      {student: parameters}, laid out over the mesh that is set (`jax.set_mesh`)
    slots       rows at a time; a multiple of the number of devices that they are spread over
    calculator  None if rules.calculator_role is -1
    resume      asked if a row is held: at a HOLD of its script, or by the calculator
    look        whether dialogues are shown while they grow; chunks are then LOOK steps long. The
                dialogues do not change
    """

    rules: TurnRules
    params: Mapping[str, Any]
    requests: Sequence[Request]
    how: How
    seed: int
    slots: int
    calculator: Calculator | None = None
    resume: Resume | None = None
    look: bool = False


@dataclasses.dataclass
class Work:
    """What a job has done so far. A slot-step is one slot in one decode step."""

    slots: int = 0
    window: int = 0  # longest cache so far
    steps: int = 0
    kept_tokens: int = 0
    prefill_tokens: int = 0  # with padding
    held: int = 0  # times that a row waited for the host
    cache_slots: int = 0  # filled cache places that decode steps have read, over all views
    rows: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)
    """(slot, request, first step, step after the last)"""

    @property
    def utilisation(self) -> float:
        """Share of slot-steps that wrote a token which was kept."""
        return self.kept_tokens / max(1, self.slots * self.steps)


class Schedule:
    """The slots and what the host knows of them."""

    def __init__(self, job: Job):
        rules, slot_count = job.rules, job.slots
        self._job, self._rules, self._requests = job, rules, job.requests
        self._params = dict(job.params)
        self._most_steps = LOOK if job.look else CHUNK  # between two looks
        self.work = Work(slots=slot_count)
        self._rows: list[Row | None] = [None] * slot_count
        self._began = [0] * slot_count
        self._filled_in = [0] * slot_count  # values of the calculator
        self._given: list[tuple[int, ...]] = [()] * slot_count  # places of their tokens
        self._script = np.full((slot_count, rules.script_len), turn_rules.FREE, np.int32)
        self._restart = np.zeros(slot_count, bool)
        self._prompts = PromptGroups(rules, self._params, job.requests, slot_count)
        self._state: dialogue_state.DialogueState | None = None
        self._position = np.zeros((len(rules.views), slot_count), np.int32)
        self._progress: Any = None

    def step(self) -> bool:
        """Fill free slots and run a chunk; False if nothing is left to do."""
        self._fill()
        running = sum(row is not None for row in self._rows)
        if not running:
            return False
        state, steps = self._with_room()
        patience = len(self._rows)
        free = patience - running
        if self._prompts.more:  # slots must not be idle for long
            patience = max(1, patience // 8)
        if self._job.resume is not None:  # and rows must not wait long for the host
            patience = min(patience, max(1, running // 8))
        order = decode.ChunkOrder(
            self._script,
            self._restart,
            np.int32(min(steps, self._most_steps)),
            np.int32(free + patience),
        )
        self._state, progress = decode.decode_chunk(
            self._rules, self._params, state, order, self._job.how, self._job.calculator
        )
        self._progress = jax.device_get(progress)
        self._restart[:] = False
        self._position = np.array(self._progress.position)
        self.work.steps += int(self._progress.steps)
        self._answer_held()
        return True

    def seen(self) -> Iterator[tuple[Row, Dialogue]]:
        """Every row at the last look, including those that have stopped."""
        for slot, row in enumerate(self._rows):
            if row is not None:
                yield row, self._dialogue(slot)

    def finished(self) -> Iterator[tuple[Row, Dialogue]]:
        """Rows that have stopped; their slots are free afterwards."""
        for slot, row in enumerate(self._rows):
            status = int(self._progress.status[slot])
            if row is None or status in (turn_rules.RUNNING, turn_rules.HELD):
                continue
            self._rows[slot] = None
            written = int(self._progress.written[slot])
            self.work.kept_tokens += written
            self._count(slot, row, written)
            yield row, self._dialogue(slot)

    def _count(self, slot: int, row: Row, written: int) -> None:
        prompt = len(self._requests[row.request].prompt)
        # A view's position grows by one for each token that it sees, so it reads the mean of the
        # first and last number of places at every step, if what it does not see is spread evenly.
        for position in self._position[:, slot]:
            self.work.cache_slots += written * (prompt + int(position) + 1) // 2
        began = self._began[slot]
        self.work.rows.append((slot, row.request, began, min(began + written, self.work.steps)))

    def _dialogue(self, slot: int) -> Dialogue:
        progress, written = self._progress, int(self._progress.written[slot])
        parts = (progress.tokens, progress.writers, progress.statistics)
        tokens, writers, statistics = jax.tree.map(lambda part: part[slot, :written], parts)
        dialogue = to_dialogue(
            self._rules, tokens, writers, statistics, int(progress.status[slot]),
            self._filled_in[slot],
        )  # fmt: skip
        # A value whose end the limit of tokens cut off is not all there.
        given = tuple(place for place in self._given[slot] if place < written)
        return dataclasses.replace(dialogue, given=given)

    def _fill(self) -> None:
        """Give free slots to waiting rows, group by group; each part of the mesh uses its own
        slots."""
        parts = slots.parts()
        size = len(self._rows) // parts
        free = [
            collections.deque(s for s in range(part * size, (part + 1) * size) if not self._rows[s])
            for part in range(parts)
        ]
        while any(free):
            for group in self._prompts.groups:
                self._admit(group, free)
            if not any(free) or not self._prompts.read():
                break
        self.work.prefill_tokens = self._prompts.tokens_read

    def _admit(self, group: Group, free: list[collections.deque[int]]) -> None:
        admission = decode.no_admission(len(self._rows), self._job.seed)
        for own, waiting in zip(free, group.waiting, strict=True):
            while own and waiting:
                slot, (place, row) = own.popleft(), waiting.popleft()
                request = self._requests[row.request]
                admission.source[slot] = place
                admission.name[slot], admission.sample[slot] = name_hash(request.id), row.sample
                admission.last[slot], admission.length[slot] = (
                    request.prompt[-1], len(request.prompt),
                )  # fmt: skip
                self._position[:, slot] = len(request.prompt) - 1
                self._rows[slot], self._began[slot] = row, self.work.steps
                self._filled_in[slot], self._given[slot] = 0, ()
                self._set_script(slot, request.script)
        if (admission.source >= 0).any():
            state, _ = self._with_room(group.padded)
            self._state = decode.admit(self._rules, state, group.caches, admission)

    def _set_script(self, slot: int, entries: Sequence[int]) -> None:
        entries = list(entries)[: self._rules.script_len]
        self._script[slot] = turn_rules.FREE
        self._script[slot, : len(entries)] = entries
        self._restart[slot] = True

    def _with_room(self, prompt: int = 0) -> tuple[dialogue_state.DialogueState, int]:
        """The state with caches that have room for a prompt and some steps of every row, and how
        many steps there is room for. Caches shrink if that saves a whole size."""
        rules, windows = self._rules, slots.window_lengths(self._rules)
        taken = [slot for slot, row in enumerate(self._rows) if row is not None]
        longest = int(self._position[:, taken].max()) + 1 if taken else 0
        most = max(longest, prompt)
        window = self.work_window
        if most + ROOM > window or slots.window_for(rules, most + 2 * CHUNK) < window:
            wanted = slots.window_for(rules, most + CHUNK)
            if wanted != window:
                self._resize(wanted)
        window = self.work_window
        self.work.window = max(self.work.window, window)
        assert self._state is not None
        steps = CHUNK if window == windows[-1] else min(CHUNK, window - longest)
        return self._state, steps

    @property
    def work_window(self) -> int:
        """Tokens that the caches hold now."""
        if self._state is None:
            return 0
        return max(layers[0]["k"].shape[2] for layers in self._state.caches)

    def _resize(self, window: int) -> None:
        with devices.large_blocks_apart():
            if self._state is None:
                state = _empty(self._rules, len(self._rows), window)
            else:
                caches = [list(layers) for layers in self._state.caches]
                # So that nothing else keeps them in memory.
                state = self._state = self._state._replace(caches=())
                caches = dialogue_state.resized_caches(self._rules, caches, window)
                state = state._replace(caches=caches)
            self._state = jax.block_until_ready(state)  # allocated here

    def _answer_held(self) -> None:
        """Ask `resume` how the held rows continue; its entries come before the rest of their
        scripts."""
        for slot, row in enumerate(self._rows):
            if row is None or self._progress.status[slot] != turn_rules.HELD:
                continue
            assert self._job.resume is not None, "a row was held and nobody can be asked"
            self.work.held += 1
            entries = self._job.resume(row.request, self._dialogue(slot))
            pointer = int(self._progress.pointer[slot])
            left = self._script[slot, pointer:].tolist()
            if left[:1] == [turn_rules.HOLD]:
                left = left[1:]
            else:  # the calculator asked; it may know no value
                self._filled_in[slot] += bool(entries)
                begin = int(self._progress.written[slot])
                self._given[slot] += tuple(range(begin, begin + len(entries)))
            self._set_script(slot, [*entries, *left])


_empty = jax.jit(dialogue_state.empty_state, static_argnums=(0, 1, 2))
