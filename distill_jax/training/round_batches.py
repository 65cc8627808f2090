"""Batches of rows that the students wrote themselves, round by round, beside those of annotations.

A round is written down before its first update, so a batch stays a pure function: of the seed, the
step, and the rows of its round.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from distill_jax.text.rows import NO_LOSS, Row
from distill_jax.training import batches
from distill_jax.training.batches import Batches, RowShape, StudentRows
from distill_jax.training.policy_objective import OWN_ARRAYS


@dataclasses.dataclass(frozen=True)
class OwnRow:
    """A row that the students wrote, with what its policy loss needs, float32 [loss tokens] each;
    both are empty if it is learned from otherwise."""

    row: Row
    old: np.ndarray
    advantages: np.ndarray


@dataclasses.dataclass(frozen=True)
class RoundPlan:
    """How steps are made of rounds.

    updates     steps of a round
    own         rows of a batch that are own samples; the others are rows of annotations
    batch_size  rows of a batch over all processes
    policy      whether own rows have a policy loss; otherwise they are weighted like annotations
    seed        decides the order of own rows
    """

    updates: int
    own: int
    batch_size: int
    policy: bool
    seed: int


class RoundBatches:
    """A `BatchSource`: `source[step]` is this process's part of a batch.

    Row r of a batch is an own one for r < `plan.own`. The own rows of a round are shuffled, and
    begin again when all have been used; the others are an endless sequence of annotations' rows.

    Own rows are much shorter than the limits allow, so a batch has the first of `shapes_up_to` the
    largest that its rows fit in, over all processes; a step is compiled for each that occurs.
    """

    removal = None  # no words are removed from these rows

    def __init__(
        self,
        plan: RoundPlan,
        shape: RowShape,
        annotated: Batches,
        process: int = 0,
        processes: int = 1,
    ):
        """`shape`: the largest. `annotated`: batches of the other `plan.batch_size - plan.own`
        rows, in its first process."""
        self.plan, self.shape, self.batch_size = plan, shape, plan.batch_size
        self._shapes = shapes_up_to(shape)
        self.most_removable = 0
        self._annotated = annotated
        self._process, self._processes = process, processes
        self._round, self._rows = -1, _Rows([], shape, plan.policy)
        self._read: Callable[[int], Sequence[OwnRow]] = _unknown

    def read_with(self, read: Callable[[int], Sequence[OwnRow]]) -> None:
        """`read(round)` gives the rows of a round that was written before, in every process."""
        self._read = read

    def hold(self, number: int, rows: Sequence[OwnRow]) -> None:
        """These are the rows of round `number` (from 0)."""
        self._round, self._rows = number, _Rows(rows, self.shape, self.plan.policy)

    def reaches(self, step: int) -> bool:
        """Whether the round of this step is the one that is held."""
        return step // self.plan.updates == self._round

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        return self._own_part(self._all_rows(step))

    def tokens(self, step: int) -> int:
        """Non-padding tokens of update `step` + 1 over all processes."""
        return sum(int(row["length"]) for row in self._all_rows(step))

    def _all_rows(self, step: int) -> list[dict[str, Any]]:
        """The batch over all processes."""
        if not self.reaches(step):
            number = step // self.plan.updates
            self.hold(number, self._read(number))
        return [self._row(step, number) for number in range(self.batch_size)]

    def _row(self, step: int, number: int) -> dict[str, Any]:
        plan = self.plan
        if number >= plan.own:
            others = plan.batch_size - plan.own
            row = self._annotated.row(step * others + number - plan.own)
            return row | (_nothing(self.shape) if plan.policy else {})
        within, count = step % plan.updates, max(1, len(self._rows))
        epoch, place = divmod(within * plan.own + number, count)
        order = np.random.default_rng([plan.seed, self._round, epoch]).permutation(count)
        return self._rows[int(order[place])]

    def in_order(self, rows: Sequence[OwnRow], size: int) -> list[dict[str, np.ndarray]]:
        """This process's part of batches of `size` rows that hold all of `rows` once, in their
        order, for measurements; empty rows fill up the last one. The shapes are fewest and smallest
        if the rows are sorted by length."""
        held = _Rows(rows, self.shape, policy=False)
        starts = range(0, len(rows), size)
        return [
            self._own_part([held[number] for number in range(start, start + size)])
            for start in starts
        ]

    def _own_part(self, rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """This process's part of a batch of all of these rows, which have the largest shape."""
        longest = max(int(row["length"]) for row in rows)
        slots = max(int(np.sum(row["writers"] != NO_LOSS)) for row in rows)
        shape = next(
            shape
            for shape in self._shapes
            if longest <= shape.seq_len and slots <= shape.loss_capacity
        )
        share = len(rows) // self._processes
        own = rows[self._process * share : (self._process + 1) * share]
        batch = {name: np.stack([row[name] for row in own]) for name in own[0]}
        cut = {"inputs": shape.seq_len}  # the other arrays of rows have a slot per loss token
        return {
            name: value[:, : cut.get(name, shape.loss_capacity)] if value.ndim == 2 else value
            for name, value in batch.items()
        }

    def global_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the largest batch over all processes."""
        row = _Rows([], self.shape, self.plan.policy)[0]
        return {
            name: jax.ShapeDtypeStruct((self.batch_size, *value.shape), value.dtype)
            for name, value in row.items()
        }


def own_shape(annotated: StudentRows, longest: int, written: int) -> RowShape:
    """The largest shape of all rounds: for rows of up to `longest` inputs, of which at most
    `written` are learned, and for those of annotations."""
    longest = max(longest, annotated.longest)
    slots = max(written, annotated.most_loss_tokens)
    return RowShape(-(-longest // 8) * 8, -(-slots // 4) * 4, packed=False)


def shapes_up_to(largest: RowShape) -> tuple[RowShape, ...]:
    """The shapes of batches, the smallest first: sixths of the largest.

    Of 160 tokens and 96 slots: 32 and 16, 56 and 32, 80 and 48, 112 and 64, 136 and 80, 160 and 96.
    If the largest has a multiple of 128 tokens, all have, as some kernels of attention ask for.
    """
    unit = 8 if largest.seq_len % 128 else 128
    sixths = [
        RowShape(
            -(-largest.seq_len * part // (6 * unit)) * unit,
            -(-largest.loss_capacity * part // 24) * 4,
            packed=False,
        )
        for part in range(1, 6)
    ]
    return *(shape for shape in dict.fromkeys(sixths) if shape != largest), largest


class _Rows:
    """Own rows as rows of a batch; after the last one they are empty."""

    def __init__(self, rows: Sequence[OwnRow], shape: RowShape, policy: bool):
        self._own, self._shape, self._policy = rows, shape, policy
        self._rows: Any = None
        if rows:
            limit = shape.seq_len
            self._rows = StudentRows([each.row for each in rows], "own samples", limit, 0.0)

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, index: int) -> dict[str, Any]:
        members = [index] if index < len(self._own) else []
        out = batches.arrays_of(self._rows, members, self._shape)
        if not self._policy:
            return out
        more = _nothing(self._shape)
        if members:
            own = self._own[index]
            count = len(own.old)
            more["old"][:count] = own.old
            more["advantages"][:count] = own.advantages
            more["own_weights"][:count] = 1.0 / count
        return out | {"weights": np.zeros_like(out["weights"])} | more


def _nothing(shape: RowShape) -> dict[str, Any]:
    """The arrays of the policy loss, for a row without it."""
    return {name: np.zeros(shape.loss_capacity, np.float32) for name in OWN_ARRAYS}


def _unknown(number: int) -> Sequence[OwnRow]:
    raise AssertionError(f"round {number} is not held, and nothing reads it")
