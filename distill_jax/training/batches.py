"""A student's training rows in memory, and `batch(step)` as a pure function of (seed, step)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill_jax.errors import UserError
from distill_jax.text.rows import NO_LOSS, Row


@dataclasses.dataclass(frozen=True)
class RowShape:
    """The shape every row of a student is padded to."""

    seq_len: int  # input tokens
    loss_capacity: int  # most loss tokens of a row: the head is computed only where loss counts


class StudentRows:
    """Rows of one student, ragged in memory, padded one at a time.

    `rows[i]` is a dict for one row, here for the row of tokens 5 6 1 7 0 with loss on 7 and 0:

        inputs          int32 [seq_len]        5 6 1 7 ...   tokens but the last, then zeros
        loss_positions  int32 [loss_capacity]  2 3 ...       where in inputs a loss token is next
        targets         int32 [loss_capacity]  7 0 ...       that token
        writers         int32 [loss_capacity]  0 0 -1 ...    the role that wrote it, -1 = no loss
        length          int32 []               4             inputs that are not padding

    Padding needs no attention mask: it comes last, and attention only looks back.
    """

    def __init__(self, rows: Sequence[Row], seq_len: int, student: str):
        """`seq_len` 0 takes the longest row, rounded up to 8.

        Raises UserError for rows that are longer than `seq_len`, have no loss token, or where
        there are none at all.
        """
        if not rows:
            raise UserError(f"no training rows for student {student!r}: are there annotations?")
        lengths = np.array([len(row.tokens) for row in rows])
        longest = int(lengths.max()) - 1
        seq_len = seq_len or -(-longest // 8) * 8
        if longest > seq_len:
            over = int((lengths - 1 > seq_len).sum())
            raise UserError(
                f"{over} of {len(rows)} rows of student {student!r} are longer than "
                f"{seq_len} tokens (longest: {longest}): raise config.data.seq_len and "
                f"config.model.{student}.context"
            )
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        self._tokens = np.concatenate([np.array(row.tokens, np.int32) for row in rows])
        self._writers = np.concatenate([np.array(row.writers, np.int32) for row in rows])
        loss_counts = np.add.reduceat(self._writers != NO_LOSS, self._offsets[:-1])
        if loss_counts.min() == 0:
            raise UserError(
                f"row {int(loss_counts.argmin())} of student {student!r} has no token to learn: "
                "config.reads or the annotation is wrong"
            )
        self.shape = RowShape(seq_len, -(-int(loss_counts.max()) // 4) * 4)
        self.tokens = int(lengths.sum() - len(rows))  # inputs that are not padding
        self.loss_tokens = int(loss_counts.sum())

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index) -> dict[str, Any]:
        start, stop = self._offsets[index], self._offsets[index + 1]
        tokens, writers = self._tokens[start:stop], self._writers[start:stop]
        inputs = np.zeros(self.shape.seq_len, np.int32)
        inputs[: len(tokens) - 1] = tokens[:-1]
        (positions,) = np.nonzero(writers[1:] != NO_LOSS)
        padding = (0, self.shape.loss_capacity - len(positions))
        return {
            "inputs": inputs,
            "loss_positions": np.pad(positions.astype(np.int32), padding),
            "targets": np.pad(tokens[positions + 1], padding),
            "writers": np.pad(writers[positions + 1], padding, constant_values=NO_LOSS),
            "length": np.int32(len(tokens) - 1),
        }


def make_batches(rows: StudentRows, seed: int, batch_size: int) -> Any:
    """A grain dataset whose element `step` is batch number `step`, for ever: dict of [B, ...].

    Every epoch has an order of its own from (seed, epoch); a batch may span two epochs.
    """
    import grain

    dataset = grain.MapDataset.source(rows).seed(seed).shuffle().repeat()
    return dataset.batch(batch_size)
