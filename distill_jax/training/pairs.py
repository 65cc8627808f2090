"""Pairs of a better and a worse text as rows of batches: what `training/preference.py` learns from.

A pair is one row of a batch. Its texts are segments that do not see each other, so however rows are
divided over devices and micro-batches, a pair stays whole.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from distill_jax.errors import UserError
from distill_jax.text.rows import NO_LOSS, Rows
from distill_jax.training.batches import RowShape, StudentRows, count_by_row


class Usable(NamedTuple):
    """The pairs that a student can learn from, and how many it cannot."""

    rows: Rows
    too_long: int
    alike: int  # nothing to learn: both texts are the same, or one has no token of the student


def usable(rows: Rows, group: int, context: int, seq_len: int) -> Usable:
    """Leave out pairs that are too long, and those with nothing to learn.

    rows     `group` of each pair: those of the chosen text, and as many of the rejected one
    context  the most inputs of a row
    seq_len  the most inputs of a pair; 0 = any
    """
    lengths = np.diff(rows.offsets).reshape(-1, group) - 1
    fits = lengths.max(axis=1) <= context
    if seq_len:
        fits &= lengths.sum(axis=1) <= seq_len
    losses = count_by_row(rows.writers != NO_LOSS, rows.offsets).reshape(-1, group)
    differ = losses.min(axis=1) > 0
    half = group // 2
    for pair in np.flatnonzero((lengths[:, :half] == lengths[:, half:]).all(axis=1)):
        start, middle, end = rows.offsets[[pair * group, pair * group + half, (pair + 1) * group]]
        differ[pair] &= not np.array_equal(rows.tokens[start:middle], rows.tokens[middle:end])
    kept = rows.where(np.repeat(fits & differ, group))
    return Usable(kept, int((~fits).sum()), int((fits & ~differ).sum()))


class PairRows(StudentRows):
    """Rows of which `group` are a pair, as `usable` leaves them.

    Beside the arrays of `batches.assemble` a batch has, for each loss token,

        signs      float32 [loss_capacity]  1 = of the chosen text, -1 = of the rejected one, 0 = of
                                            an unused slot
        reference  float32 [loss_capacity]  its log-probability before training
        weights    float32 [loss_capacity]  1 = of the chosen text, else 0
    """

    def __init__(self, rows: Rows, student: str, context: int, group: int):
        """Without a reference, which `set_reference` sets. Raises UserError if there are no
        rows."""
        super().__init__(rows, student, context, max_dropped_share=0.0)
        self.group = group
        self._first = np.concatenate([[0], np.cumsum(self.loss_counts)])
        self._reference = np.zeros(self._first[-1], np.float32)

    def set_reference(self, values: np.ndarray) -> None:
        """Set the log-probabilities of all loss tokens, row after row: float32 [loss tokens].

        Raises UserError if they are of other rows.
        """
        if values.shape != self._reference.shape or values.dtype != np.float32:
            raise UserError(
                f"{len(values)} reference log-probabilities for {len(self._reference)} tokens"
            )
        self._reference = values

    def shape(self, seq_len: int) -> RowShape:
        """`seq_len`, or if it is 0 the longest pair rounded up to 8."""
        lengths = (np.diff(self._offsets) - 1).reshape(-1, self.group).sum(axis=1)
        losses = self.loss_counts.reshape(-1, self.group).sum(axis=1)
        longest = seq_len or -(-int(lengths.max()) // 8) * 8
        return RowShape(longest, -(-int(losses.max()) // 4) * 4, packed=True)

    def beside(self, indices: Sequence[int], shape: RowShape, number: int) -> dict[str, Any]:
        del number
        signs = np.zeros(shape.loss_capacity, np.float32)
        reference = np.zeros(shape.loss_capacity, np.float32)
        slot = 0
        for place, index in enumerate(indices):
            first, last = self._first[index : index + 2]
            end = slot + int(last - first)
            signs[slot:end] = 1.0 if place < self.group // 2 else -1.0
            reference[slot:end] = self._reference[first:last]
            slot = end
        return {"signs": signs, "reference": reference, "weights": np.maximum(signs, 0.0)}
