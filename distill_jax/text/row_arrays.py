"""Training rows, one by one and all of a student in arrays."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

NO_LOSS = -1


@dataclasses.dataclass(frozen=True)
class Row:
    """One training row. `writers[i]` is the role index whose loss counts at token i, or NO_LOSS."""

    tokens: list[int]
    writers: list[int]
    # Which annotation it is of, for messages: its id and how its question begins.
    name: str = dataclasses.field(default="", compare=False)
    problem: str = dataclasses.field(default="", compare=False)  # its id
    origin: str = dataclasses.field(default="", compare=False)  # Annotation.origin
    # Which tokens may be taken away while it is trained on (training/removal.py); [] = none.
    removable: list[bool] = dataclasses.field(default_factory=list)


class RowArrays(NamedTuple):
    """Rows one after the other.

    tokens     int32 [all tokens]
    writers    int8 [all tokens]
    removable  bool [all tokens], or [0] if none is
    lengths    int64 [rows]
    """

    tokens: np.ndarray
    writers: np.ndarray
    removable: np.ndarray
    lengths: np.ndarray


class Rows(Sequence[Row]):
    """All rows of a student: a sequence of `Row` that takes no more memory than their numbers.

    tokens, writers, removable  as in RowArrays
    offsets   int64 [rows + 1]  row i is tokens[offsets[i]:offsets[i + 1]]
    problems  of each row the id of its problem
    origins   of each row `Annotation.origin`
    name      says which annotation row i is of
    """

    def __init__(
        self,
        arrays: RowArrays,
        problems: Sequence[str],
        origins: Sequence[str],
        name: Callable[[int], str],
    ):
        self.tokens, self.writers, self.removable, lengths = arrays
        self.offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=self.offsets[1:])
        self.problems, self.origins, self.name = problems, origins, name

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Rows":
        """The same rows; they themselves if they are held so already."""
        if isinstance(rows, Rows):
            return rows
        flags: list[bool] = []
        if any(row.removable for row in rows):
            flags = [flag for row in rows for flag in row.removable or [False] * len(row.tokens)]
        arrays = RowArrays(
            np.array([token for row in rows for token in row.tokens], np.int32),
            np.array([writer for row in rows for writer in row.writers], np.int8),
            np.array(flags, bool),
            np.array([len(row.tokens) for row in rows], np.int64),
        )
        problems, origins = [row.problem for row in rows], [row.origin for row in rows]
        return cls(arrays, problems, origins, lambda index: rows[index].name)

    def where(self, kept: np.ndarray) -> "Rows":
        """The rows whose flag in `kept` (bool [rows]) is True."""
        lengths, places = np.diff(self.offsets), np.flatnonzero(kept).tolist()
        of_kept = np.repeat(kept, lengths)
        removable = self.removable[of_kept] if len(self.removable) else self.removable
        return Rows(
            RowArrays(self.tokens[of_kept], self.writers[of_kept], removable, lengths[kept]),
            [self.problems[place] for place in places],
            [self.origins[place] for place in places],
            lambda index: self.name(places[index]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place: int = range(len(self))[index]
        part = slice(self.offsets[place], self.offsets[place + 1])
        return Row(
            self.tokens[part].tolist(),
            self.writers[part].tolist(),
            self.name(place),
            self.problems[place],
            self.origins[place],
            self.removable[part].tolist(),
        )


def interleaved(views: Sequence[RowArrays]) -> RowArrays:
    """The rows of several views of the same dialogues, those of a dialogue side by side."""
    if len(views) == 1:
        return views[0]
    borders = [np.cumsum(view.lengths)[:-1] for view in views]

    def side_by_side(arrays: Sequence[np.ndarray]) -> np.ndarray:
        if not len(arrays[0]):  # nothing is removable
            return arrays[0]
        split = [np.split(array, b) for array, b in zip(arrays, borders, strict=True)]
        return np.concatenate([row for rows in zip(*split, strict=True) for row in rows])

    return RowArrays(
        side_by_side([view.tokens for view in views]),
        side_by_side([view.writers for view in views]),
        side_by_side([view.removable for view in views]),
        np.stack([view.lengths for view in views], axis=1).ravel(),
    )


class GrowingRows:
    """Rows to which others are added; at no time is a part of them held twice."""

    def __init__(self) -> None:
        self._tokens, self._writers = np.zeros(0, np.int32), np.zeros(0, np.int8)
        self._removable = np.zeros(0, bool)
        self._lengths: list[np.ndarray] = [np.zeros(0, np.int64)]

    def add(self, rows: RowArrays) -> None:
        """Append these rows."""
        for array, more in (
            (self._tokens, rows.tokens),
            (self._writers, rows.writers),
            (self._removable, rows.removable),
        ):
            end = len(array)
            array.resize(end + len(more), refcheck=False)  # nobody else sees them yet
            array[end:] = more
        self._lengths.append(rows.lengths)

    def arrays(self) -> RowArrays:
        """All rows; none may be added any more."""
        lengths = np.concatenate(self._lengths)
        return RowArrays(self._tokens, self._writers, self._removable, lengths)
