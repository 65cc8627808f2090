"""Rows of which some teach a student that it does not know."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from distill_jax.text.rows import Row, Rows
from distill_jax.training.batches import RowShape, StudentRows


class SoftRows(StudentRows):
    """Rows, some of them of hard problems, of whose tokens none is learned.

    A batch has, for each loss token,

        weights       float32 [loss_capacity]  1 = of another row, else 0
        hard_weights  float32 [loss_capacity]  1 = of the row of a hard problem, else 0
    """

    def __init__(
        self,
        rows: Sequence[Row],
        student: str,
        max_tokens: int,
        max_dropped_share: float,
        limit_key: str,
        hard: Collection[str],
    ):
        """`hard`: ids of problems. Raises UserError as StudentRows does."""
        super().__init__(rows, student, max_tokens, max_dropped_share, limit_key)
        rows = Rows.of(rows)
        fits = np.diff(rows.offsets) - 1 <= max_tokens
        self._hard = [problem in hard for problem in rows.where(fits).problems]

    def beside(self, indices: Sequence[int], shape: RowShape, number: int) -> dict[str, Any]:
        del number
        learned = np.zeros(shape.loss_capacity, np.float32)
        hard = np.zeros(shape.loss_capacity, np.float32)
        slot = 0
        for index in indices:
            end = slot + int(self.loss_counts[index])
            (hard if self._hard[index] else learned)[slot:end] = 1.0
            slot = end
        return {"weights": learned, "hard_weights": hard}
