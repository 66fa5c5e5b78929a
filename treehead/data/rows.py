"""Numbers of images, of which rows are read as they are asked for: from memory or from a file."""

from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod

import numpy as np

from treehead.data.moments import Moments, moments

# So many bytes of float32 are computed at once, and held if they are all.
_TOGETHER = 2**27

# What is computed of each row: float32 (n, columns) -> float32 (n, others).
Change = Callable[[np.ndarray], np.ndarray]


class Rows:
    """Numbers float32 (n, columns), a row for each image, computed anew each time they are read.

    They are computed of an array of float16 or float32, in memory or in a file that stays open.
    """

    def __init__(self, stored: np.ndarray, change: Change = lambda x: x) -> None:
        """The rows of `stored` (n, dim), changed."""
        self._stored, self._change = stored, change
        self.shape = (len(stored), self[:1].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The numbers of a slice, or at places int64 (m,): float32 (m, columns)."""
        return self._change(self._stored[rows].astype(np.float32, copy=False))

    def slices(self) -> Iterator[slice]:
        """Slices that are all rows together, in order; a small whole is one."""
        rows = max(1, _TOGETHER // (4 * max(self._stored.shape[1], self.shape[1])))
        for start in range(0, len(self), rows):
            yield slice(start, min(start + rows, len(self)))

    def changed(self, change: Change) -> "Rows":
        """Other numbers, computed of these."""
        return Rows(self._stored, lambda x: change(self._change(x)))

    def every(self, step: int) -> "Rows":
        """The first of each `step` rows."""
        return Rows(self._stored[::step], self._change)

    def held(self) -> "Rows":
        """The same, computed now and held in memory; if they are too many, as they are."""
        return self if 4 * prod(self.shape) > _TOGETHER else Rows(np.ascontiguousarray(self[:]))

    @cached_property
    def moments(self) -> Moments:
        """Mean and deviation of each column."""
        return moments(self[rows] for rows in self.slices())
