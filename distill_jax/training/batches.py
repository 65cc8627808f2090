"""A student's training rows in memory, and `batches[step]` as a pure function of (seed, step)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from distill_jax.errors import UserError
from distill_jax.settings import ranges
from distill_jax.text.rows import NO_LOSS, Row
from distill_jax.training.packing import PackedStream
from distill_jax.training.removal import Removal, left_over


class StudentRows:
    """Ragged rows of one student, in memory.

    For the row of tokens 5 6 1 7 0 with loss on 7 and 0, `inputs(i)` is 5 6 1 7, and `losses(i)`
    is where in it a loss token is next, that token, and the role that wrote it: 2 3, 7 0, 0 0.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        student: str,
        max_tokens: int,
        max_dropped_share: float,
        limit_key: str = "config.data.seq_len",
    ):
        """Rows of more than `max_tokens` inputs are dropped; `dropped` counts them, and `origins`
        says whose they are. `limit_key` is what the user may raise to keep them.

        Raises UserError where they are more than `max_dropped_share` of the rows, where a row has
        no loss token, or where there are none at all.
        """
        if not rows:
            raise UserError(f"no training rows for student {student!r}: are there annotations?")
        kept = [row for row in rows if len(row.tokens) - 1 <= max_tokens]
        self.dropped = len(rows) - len(kept)
        if self.dropped > max_dropped_share * len(rows) or not kept:
            longest = max(rows, key=lambda row: len(row.tokens))
            raise UserError(
                f"{self.dropped} of {len(rows)} rows of student {student!r} are longer than "
                f"{max_tokens} tokens (longest: {longest.name} with {len(longest.tokens) - 1})"
                f": raise {limit_key}, or config.data.max_dropped_share to train without them"
            )
        lengths = np.array([len(row.tokens) for row in kept])
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        self._tokens = np.concatenate([np.array(row.tokens, np.int32) for row in kept])
        self._writers = np.concatenate([np.array(row.writers, np.int32) for row in kept])
        flags = [row.removable or [False] * len(row.tokens) for row in kept]
        self._removable = np.concatenate([np.array(each, bool) for each in flags])
        self._loss_counts = np.add.reduceat(self._writers != NO_LOSS, self._offsets[:-1])
        if self._loss_counts.min() == 0:
            row = kept[int(self._loss_counts.argmin())]
            raise UserError(
                f"student {student!r} has no token to learn in the row of {row.name}: config.reads "
                "or the annotation is wrong"
            )
        self.longest = int(lengths.max()) - 1
        self.tokens = int(lengths.sum() - len(kept))
        self.loss_tokens = int(self._loss_counts.sum())
        self.most_loss_tokens = int(self._loss_counts.max())
        self.most_removable = int(
            np.add.reduceat(self._removable, self._offsets[:-1], dtype=int).max()
        )
        self.origins = _count_by_origin(rows, max_tokens)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def length(self, index: int) -> int:
        """Inputs of row `index`."""
        return int(self._offsets[index + 1] - self._offsets[index]) - 1

    def inputs(self, index: int, removed: int = 0) -> np.ndarray:
        """int32 [length]: the tokens but the last; without the first `removed` removable ones."""
        return self._row(index, removed)[0][:-1]

    def losses(self, index: int, removed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(positions in the inputs, targets, writers) of the loss tokens: int32 each."""
        tokens, writers = self._row(index, removed)
        (positions,) = np.nonzero(writers[1:] != NO_LOSS)
        return positions.astype(np.int32), tokens[positions + 1], writers[positions + 1]

    def _row(self, index: int, removed: int) -> tuple[np.ndarray, np.ndarray]:
        start, stop = self._offsets[index], self._offsets[index + 1]
        tokens, writers = self._tokens[start:stop], self._writers[start:stop]
        if not removed:
            return tokens, writers
        left = left_over(self._removable[start:stop], removed)
        return tokens[left], writers[left]


def _count_by_origin(rows: Sequence[Row], max_tokens: int) -> dict[str, dict[str, int]]:
    """{origin: {"problems", "rows", "row_tokens" (inputs), "dropped_rows"}}; the first three are of
    rows that are kept."""
    counts = {}
    for origin in dict.fromkeys(row.origin for row in rows):
        own = [row for row in rows if row.origin == origin]
        kept = [row for row in own if len(row.tokens) - 1 <= max_tokens]
        counts[origin] = {
            "problems": len({row.problem for row in kept}),
            "rows": len(kept),
            "row_tokens": sum(len(row.tokens) - 1 for row in kept),
            "dropped_rows": len(own) - len(kept),
        }
    return counts


@dataclasses.dataclass(frozen=True)
class RowShape:
    """The shape of one row of a batch."""

    seq_len: int  # input tokens
    loss_capacity: int  # slots for loss tokens
    packed: bool


def row_shape(rows: StudentRows, seq_len: int, packed: bool) -> RowShape:
    """`seq_len`, or where it is 0 the longest row rounded up to 8; room for every loss token."""
    seq_len = seq_len or -(-rows.longest // 8) * 8
    # How many loss tokens meet in a bin depends on the epoch; unused slots cost next to nothing.
    most = seq_len if packed else rows.most_loss_tokens
    return RowShape(seq_len, -(-most // 4) * 4, packed)


def assemble(
    rows: StudentRows, indices: Sequence[int], shape: RowShape, removed: Sequence[int] = ()
) -> dict[str, Any]:
    """One row of a batch that holds the rows of these indices, one after the other; of each the
    first `removed` of what is removable are left out.

    For the row above in front of another of tokens 8 1 9 0 with loss on 9 and 0, packed into 12:

        inputs          int32 [seq_len]        5 6 1 7 8 1 9 0 0 0 0 0
        segments        int32 [seq_len]        1 1 1 1 2 2 2 0 0 0 0 0   only where packed
        positions       int32 [seq_len]        0 1 2 3 0 1 2 0 0 0 0 0   only where packed
        loss_positions  int32 [loss_capacity]  2 3 5 6 0 ...
        targets         int32 [loss_capacity]  7 0 9 0 0 ...
        writers         int32 [loss_capacity]  0 0 0 0 -1 ...            -1 = unused
        weights         float32 [loss_capacity]  1 1 1 1 0 ...           of each token in the loss
        length          int32 []               7
        problems        int32 []               2

    Without packing there is one row, and its padding needs no mask: attention only looks back.
    """
    out: dict[str, Any] = {"inputs": np.zeros(shape.seq_len, np.int32)}
    if shape.packed:
        out["segments"] = np.zeros(shape.seq_len, np.int32)
        out["positions"] = np.zeros(shape.seq_len, np.int32)
    out["loss_positions"] = np.zeros(shape.loss_capacity, np.int32)
    out["targets"] = np.zeros(shape.loss_capacity, np.int32)
    out["writers"] = np.full(shape.loss_capacity, NO_LOSS, np.int32)
    out["weights"] = np.zeros(shape.loss_capacity, np.float32)
    start = slot = 0
    removed = removed or [0] * len(indices)
    for number, (index, less) in enumerate(zip(indices, removed, strict=True), start=1):
        inputs = rows.inputs(index, less)
        stop = start + len(inputs)
        out["inputs"][start:stop] = inputs
        if shape.packed:
            out["segments"][start:stop] = number
            out["positions"][start:stop] = np.arange(len(inputs))
        positions, targets, writers = rows.losses(index, less)
        end = slot + len(positions)
        out["loss_positions"][slot:end] = positions + start
        out["targets"][slot:end] = targets
        out["writers"][slot:end] = writers
        out["weights"][slot:end] = 1.0
        start, slot = stop, end
    return out | {"length": np.int32(start), "problems": np.int32(len(indices))}


class Batches:
    """`batches[step]` is this process's part of a batch: dict of arrays [rows per process, ...].

    Every epoch has an order of its own, from (seed, epoch). Row r of step s is row
    s * batch_size + r of one endless sequence, of which process p of P holds a stretch of
    batch_size / P.
    """

    def __init__(
        self,
        rows: StudentRows,
        shape: RowShape,
        *,
        seed: int,
        batch_size: int,
        process: int = 0,
        processes: int = 1,
        removal: Removal | None = None,
    ):
        """`removal`: what rows lose while they are trained on.

        Raises UserError where the batch does not divide over the processes.
        """
        if batch_size % processes:
            raise UserError(
                f"config.train.batch_size={batch_size} does not divide by {processes} processes"
            )
        self.shape, self.batch_size = shape, batch_size
        self.most_removable = rows.most_removable
        self._rows = rows
        self._process, self._processes = process, processes
        import grain  # takes a second

        # Without end; element i, the index of a row, is a pure function of i.
        self._stream: Any = grain.MapDataset.range(len(rows)).seed(seed).shuffle().repeat()
        self._packed = None
        if shape.packed:
            self._packed = PackedStream(self._stream, rows.length, shape.seq_len, len(rows))
        self.removal = removal
        if removal is not None:
            steps = self.rows_per_epoch() / batch_size
            self.removal = dataclasses.replace(removal, steps_per_epoch=steps)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        share = self.batch_size // self._processes
        first = step * self.batch_size + self._process * share
        rows = [self.row(number) for number in range(first, first + share)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def reaches(self, step: int) -> bool:
        """Every batch is known from the start."""
        return True

    def row(self, number: int) -> dict[str, np.ndarray]:
        """Row `number` of the endless sequence."""
        indices, removed = self._members(number)
        return assemble(self._rows, indices, self.shape, removed)

    def fed(self, step: int) -> tuple[int, int]:
        """(non-padding tokens, loss tokens) of update `step` + 1 over all processes."""
        tokens = losses = 0
        for number in range(step * self.batch_size, (step + 1) * self.batch_size):
            for index, removed in zip(*self._members(number), strict=True):
                tokens += len(self._rows.inputs(index, removed))
                losses += len(self._rows.losses(index, removed)[0])
        return tokens, losses

    def _members(self, number: int) -> tuple[Sequence[int], Sequence[int]]:
        """(the rows in batch row `number`, what each of them lacks)."""
        indices = [self._stream[number]] if self._packed is None else self._packed[number]
        if self.removal is None:
            return indices, [0] * len(indices)
        step = number // self.batch_size
        return indices, self.removal.of_rows(step, number, len(indices))

    def global_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of a batch over all processes."""
        return {
            name: jax.ShapeDtypeStruct((self.batch_size, *value.shape), value.dtype)
            for name, value in self.row(0).items()
        }

    def rows_per_epoch(self) -> int:
        """Batch rows that hold every problem once (packed: of the first epoch)."""
        if self._packed is None:
            return len(self._rows)
        return self._packed.bins_per_window()


def dev_batches(
    rows: StudentRows,
    shape: RowShape,
    batch_size: int,
    process: int,
    processes: int,
    removed: int = 0,
) -> list[dict[str, np.ndarray]]:
    """This process's part of batches that hold every row once, `removed` tokens left out of each;
    empty rows fill up the last one."""
    share = batch_size // processes
    batches = []
    for start in range(0, len(rows), batch_size):
        first = start + process * share
        there = ([n] if n < len(rows) else [] for n in range(first, first + share))
        members = [assemble(rows, index, shape, [removed] * len(index)) for index in there]
        batches.append({name: np.stack([row[name] for row in members]) for name in members[0]})
    return batches


def mistakes(data: Any) -> list[str]:
    """What is wrong with the keys of config.data that rows are made by."""
    least = {"seq_len": 0, "max_dropped_share": 0.0}
    return ranges.mistakes("data", {key: data[key] for key in least}, least=least)
