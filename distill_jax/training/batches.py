"""A student's training rows in memory, and `batches[step]` as a pure function of (seed, step)."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from distill_jax.errors import UserError
from distill_jax.settings import ranges
from distill_jax.text.rows import NO_LOSS, Row, Rows
from distill_jax.training.packing import PackedStream
from distill_jax.training.removal import Removal, left_over


class StudentRows:
    """Ragged rows of one student, in memory.

    For the row of tokens 5 6 1 7 0 with loss on 7 and 0, `inputs(i)` is 5 6 1 7. `losses(i)` has
    the positions before a loss token, these tokens, and the roles that wrote them: 2 3, 7 0, 0 0.

    group  so many rows, one after the other, always make up a row of a batch; 1 = none belong
           together
    """

    group = 1

    def __init__(
        self,
        rows: Sequence[Row],
        student: str,
        max_tokens: int,
        max_dropped_share: float,
        limit_key: str = "config.data.seq_len",
    ):
        """Rows with more than `max_tokens` inputs are dropped; `dropped` counts them, and `origins`
        counts them by origin. `limit_key` is the key that the user can raise to keep them.

        Raises UserError if more than `max_dropped_share` of the rows are dropped, if a row has no
        loss token, or if there are no rows.
        """
        if not rows:
            raise UserError(f"no training rows for student {student!r}: are there annotations?")
        rows = Rows.of(rows)
        lengths = np.diff(rows.offsets)
        fits = lengths - 1 <= max_tokens
        kept = int(fits.sum())
        self.dropped = len(rows) - kept
        if self.dropped > max_dropped_share * len(rows) or not kept:
            longest = int(lengths.argmax())
            raise UserError(
                f"{self.dropped} of {len(rows)} rows of student {student!r} are longer than "
                f"{max_tokens} tokens (longest: {rows.name(longest)} with {lengths[longest] - 1})"
                f": raise {limit_key}, or config.data.max_dropped_share to train without them"
            )
        self._offsets, self._tokens, self._writers = rows.offsets, rows.tokens, rows.writers
        self._removable = rows.removable
        if self.dropped:
            of_kept = np.repeat(fits, lengths)
            self._tokens, self._writers = self._tokens[of_kept], self._writers[of_kept]
            self._removable = self._removable[of_kept] if len(self._removable) else self._removable
            lengths = lengths[fits]
            self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.loss_counts = count_by_row(self._writers != NO_LOSS, self._offsets)
        if self.loss_counts.min() == 0:
            without = int(np.flatnonzero(fits)[self.loss_counts.argmin()])
            raise UserError(
                f"student {student!r} has no token to learn in the row of {rows.name(without)}: "
                "config.reads or the annotation is wrong"
            )
        self.longest = int(lengths.max()) - 1
        self.tokens = int(lengths.sum() - kept)
        self.loss_tokens = int(self.loss_counts.sum())
        self.most_loss_tokens = int(self.loss_counts.max())
        self.most_removable = 0
        if len(self._removable):
            self.most_removable = int(count_by_row(self._removable, self._offsets).max())
        self.origins = _count_by_origin(rows, max_tokens)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def length(self, index: int) -> int:
        """Inputs of row `index`."""
        return int(self._offsets[index + 1] - self._offsets[index]) - 1

    def inputs(self, index: int, removed: int = 0) -> np.ndarray:
        """int32 [length]: the tokens without the last, and without the first `removed` removable
        ones."""
        return self._row(index, removed)[0][:-1]

    def losses(self, index: int, removed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(positions in the inputs, targets, writers) of the loss tokens: int32 each."""
        tokens, writers = self._row(index, removed)
        (positions,) = np.nonzero(writers[1:] != NO_LOSS)
        of_loss = writers[positions + 1].astype(np.int32)
        return positions.astype(np.int32), tokens[positions + 1], of_loss

    @property
    def read_by_teacher(self) -> "StudentRows":
        """What a teacher student reads at the same loss tokens: these rows."""
        return self

    def beside(self, indices: Sequence[int], shape: "RowShape", number: int) -> dict[str, Any]:
        """More arrays of a batch row that holds these rows; they take the place of its own of the
        same name. `number` is that of the batch row in an endless sequence."""
        del indices, shape, number
        return {}

    def _row(self, index: int, removed: int) -> tuple[np.ndarray, np.ndarray]:
        start, stop = self._offsets[index], self._offsets[index + 1]
        tokens, writers = self._tokens[start:stop], self._writers[start:stop]
        if not removed or not len(self._removable):
            return tokens, writers
        left = left_over(self._removable[start:stop], removed)
        return tokens[left], writers[left]


def count_by_row(flags: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 [rows]: how many of the flags of each row are set, some rows at a time: NumPy makes
    eight bytes of every flag."""
    parts = [np.zeros(0, np.int64)]
    for first in range(0, len(offsets) - 1, 4096):
        borders = offsets[first : first + 4097]
        part = flags[borders[0] : borders[-1]]
        parts.append(np.add.reduceat(part, borders[:-1] - borders[0], dtype=np.int64))
    return np.concatenate(parts)


def _count_by_origin(rows: Rows, max_tokens: int) -> dict[str, dict[str, int]]:
    """{origin: {"problems", "rows", "row_tokens" (inputs), "dropped_rows"}}; the first three count
    rows that are kept."""
    counts = {}
    inputs = np.diff(rows.offsets) - 1
    fits = inputs <= max_tokens
    origins = np.array(rows.origins, object)
    for origin in dict.fromkeys(rows.origins):
        own = origins == origin
        (kept,) = np.nonzero(own & fits)
        counts[origin] = {
            "problems": len({rows.problems[index] for index in kept.tolist()}),
            "rows": len(kept),
            "row_tokens": int(inputs[kept].sum()),
            "dropped_rows": int(own.sum()) - len(kept),
        }
    return counts


@dataclasses.dataclass(frozen=True)
class RowShape:
    """The shape of one row of a batch."""

    seq_len: int  # input tokens
    loss_capacity: int  # slots for loss tokens
    packed: bool


def row_shape(rows: StudentRows, seq_len: int, packed: bool) -> RowShape:
    """`seq_len`, or if it is 0 the longest row rounded up to 8; with room for every loss token."""
    seq_len = seq_len or -(-rows.longest // 8) * 8
    # The number of loss tokens in a bin depends on the epoch; unused slots cost almost nothing.
    most = seq_len if packed else rows.most_loss_tokens
    return RowShape(seq_len, -(-most // 4) * 4, packed)


def assemble(
    rows: StudentRows,
    indices: Sequence[int],
    shape: RowShape,
    removed: Sequence[int] = (),
    number: int = 0,
) -> dict[str, Any]:
    """`arrays_of` rows, and what they have beside them; `number`: see `StudentRows.beside`."""
    return arrays_of(rows, indices, shape, removed) | rows.beside(indices, shape, number)


def arrays_of(
    rows: StudentRows, indices: Sequence[int], shape: RowShape, removed: Sequence[int] = ()
) -> dict[str, Any]:
    """One row of a batch that holds the rows of these indices, one after the other; of each the
    first `removed` of what is removable are left out.

    The row above, and then one of tokens 8 1 9 0 with loss on 9 and 0, packed into 12 tokens:

        inputs          int32 [seq_len]        5 6 1 7 8 1 9 0 0 0 0 0
        segments        int32 [seq_len]        1 1 1 1 2 2 2 0 0 0 0 0   only if packed
        positions       int32 [seq_len]        0 1 2 3 0 1 2 0 0 0 0 0   only if packed
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
    for segment, (index, less) in enumerate(zip(indices, removed, strict=True), start=1):
        inputs = rows.inputs(index, less)
        stop = start + len(inputs)
        out["inputs"][start:stop] = inputs
        if shape.packed:
            out["segments"][start:stop] = segment
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

    Every epoch has its own order, from (seed, epoch). Row r of step s is row s * batch_size + r of
    one endless sequence; process p of P has the p-th part, of batch_size / P rows.
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
        """`removal`: what is removed from rows during training.

        Raises UserError if the batch does not divide over the processes.
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

        # Endless; element i, the number of a row or of a group, is a pure function of i.
        groups = grain.MapDataset.range(len(rows) // rows.group)
        self._stream: Any = groups.seed(seed).shuffle().repeat()
        self._packed = None
        if shape.packed and rows.group == 1:
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

    def tokens(self, step: int) -> int:
        """Non-padding tokens of update `step` + 1 over all processes."""
        return self.fed(step)[0]

    def row(self, number: int) -> dict[str, np.ndarray]:
        """Row `number` of the endless sequence."""
        indices, removed = self._members(number)
        return assemble(self._rows, indices, self.shape, removed, number)

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
        if self._packed is None:
            indices = members_of_group(self._rows, self._stream[number])
        else:
            indices = self._packed[number]
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
        """How many batch rows hold every problem once (packed: in the first epoch)."""
        if self._packed is None:
            return len(self._rows) // self._rows.group
        return self._packed.bins_per_window()


def members_of_group(rows: StudentRows, number: int) -> Sequence[int]:
    """The rows of a group."""
    return range(number * rows.group, (number + 1) * rows.group)


class Part(NamedTuple):
    """Which part of every batch is this process's."""

    process: int
    processes: int

    @classmethod
    def of_this_process(cls) -> "Part":
        """The one that it puts together."""
        return cls(jax.process_index(), jax.process_count())


def in_order(
    rows: StudentRows, shape: RowShape, batch_size: int, part: Part, removed: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """This process's part of batches that hold every row, or every group, once, in order, `removed`
    tokens left out of each row; empty rows fill up the last one."""
    share, groups = batch_size // part.processes, len(rows) // rows.group
    for start in range(0, groups, batch_size):
        first = start + part.process * share
        there = (
            members_of_group(rows, number) if number < groups else []
            for number in range(first, first + share)
        )
        members = [assemble(rows, index, shape, [removed] * len(index)) for index in there]
        yield {name: np.stack([row[name] for row in members]) for name in members[0]}


def dev_batches(
    rows: StudentRows,
    shape: RowShape,
    batch_size: int,
    process: int,
    processes: int,
    removed: int = 0,
) -> list[dict[str, np.ndarray]]:
    """`in_order`, all of them."""
    return list(in_order(rows, shape, batch_size, Part(process, processes), removed))


def mistakes(data: Any) -> list[str]:
    """What is wrong with the keys of config.data that decide how rows are made."""
    least = {"seq_len": 0, "max_dropped_share": 0.0}
    return ranges.mistakes("data", {key: data[key] for key in least}, least=least)
