"""First-fit packing of ragged rows into bins of one length, anew for every epoch."""

import collections
from collections.abc import Sequence

import numpy as np

# Bins tried per row: more do not fill much better, and so packing is linear in the rows.
OPEN_BINS = 512


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of indices into `lengths`, whose lengths sum to at most `capacity` each.

    Each row goes into the first open bin that has room; the newest 512 bins are open. Bins are in
    the order in which they were opened. Raises ValueError for a row over the capacity.

    >>> first_fit([5, 4, 3, 2, 6], 8)
    [[0, 2], [1, 3], [4]]
    """
    bins: list[list[int]] = []
    room = np.zeros(max(1, len(lengths)), np.int64)
    first_open = 0
    for index, length in enumerate(lengths):
        if length > capacity:
            raise ValueError(f"row {index} has {length} tokens, a bin {capacity}")
        candidates = room[first_open : len(bins)] >= length
        offset = int(candidates.argmax()) if candidates.size else 0
        if candidates.size and candidates[offset]:
            chosen = first_open + offset
        else:
            chosen = len(bins)
            bins.append([])
            room[chosen] = capacity
            first_open = max(0, len(bins) - OPEN_BINS)
        bins[chosen].append(index)
        room[chosen] -= length
    return bins


class PackedStream:
    """An endless stream of row numbers as an endless sequence of bins, without state.

    The stream is cut into windows of `window` rows; each is packed separately. If a window has as
    many rows as there are, it is an epoch: every row is in it once, beside other rows than in the
    epoch before. `bins[i]` needs the number of bins of all windows before; they are kept.
    """

    def __init__(self, stream: Sequence, lengths, capacity: int, window: int):
        """`stream[i]` is the key of row i, `lengths(key)` its tokens."""
        self._stream, self._lengths = stream, lengths
        self._capacity, self._window = capacity, window
        self._starts = [0]  # number of the first bin of each window known so far
        self._recent: collections.OrderedDict[int, list[list]] = collections.OrderedDict()

    def bins_per_window(self) -> int:
        """Bins in the first window; others have a few more or fewer."""
        return len(self._bins(0))

    def __getitem__(self, number: int) -> list:
        """The keys of the rows in bin `number`."""
        while number >= self._starts[-1]:
            self._bins(len(self._starts) - 1)
        window = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._bins(window)[number - self._starts[window]]

    def _bins(self, window: int) -> list[list]:
        if window not in self._recent:
            first = window * self._window
            keys = [self._stream[i] for i in range(first, first + self._window)]
            packed = first_fit([self._lengths(key) for key in keys], self._capacity)
            self._recent[window] = [[keys[i] for i in bin_] for bin_ in packed]
            if window == len(self._starts) - 1:
                self._starts.append(self._starts[-1] + len(packed))
            if len(self._recent) > 2:  # a batch may span two windows
                self._recent.popitem(last=False)
        return self._recent[window]
