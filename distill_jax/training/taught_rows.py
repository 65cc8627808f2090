"""Rows of a student whose teacher student reads rows of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill_jax.text.rows import Row, Rows
from distill_jax.training.batches import RowShape, StudentRows


class TaughtRows(StudentRows):
    """Rows of a student whose teacher reads rows of its own, with the same loss tokens.

    Row by row, `teacher` holds what the teacher reads, which may be more: for the solver's row

        Q / A / B /     and for its teacher, which also reads the decomposer,    Q / a / A / b / B /

    Beside the arrays of `assemble` a batch has

        teacher_inputs          int32 [its longest row rounded up to 8]
        teacher_loss_positions  int32 [loss_capacity]  of the same loss tokens, in the same order
    """

    def __init__(
        self,
        rows: Sequence[Row],
        student: str,
        max_tokens: int,
        max_dropped_share: float,
        limit_key: str,
        teacher: Sequence[Row],
    ):
        """Where a row is dropped, that of the teacher is too. Raises UserError as StudentRows
        does."""
        super().__init__(rows, student, max_tokens, max_dropped_share, limit_key)
        fits = np.diff(Rows.of(rows).offsets) - 1 <= max_tokens
        read = Rows.of(teacher).where(fits)
        longest = int(np.diff(read.offsets).max())
        self._teacher = StudentRows(read, student, longest, 0.0)
        self.teacher_len = -(-self._teacher.longest // 8) * 8

    @property
    def read_by_teacher(self) -> StudentRows:
        return self._teacher

    def beside(self, indices: Sequence[int], shape: RowShape, number: int) -> dict[str, Any]:
        del number
        inputs = np.zeros(self.teacher_len, np.int32)
        positions = np.zeros(shape.loss_capacity, np.int32)
        for index in indices:  # one, or none
            read = self._teacher.inputs(index)
            inputs[: len(read)] = read
            places, *_ = self._teacher.losses(index)
            positions[: len(places)] = places
        return {"teacher_inputs": inputs, "teacher_loss_positions": positions}
