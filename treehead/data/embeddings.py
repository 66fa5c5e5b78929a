"""Stored features of a split, from the frozen backbone, and labels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead.artifacts import read_tensors, write_tensors


class Examples(NamedTuple):
    """What a head is fitted to: features float32 (n, dim), labels int64 (n,) in 0..classes-1."""

    features: np.ndarray
    labels: np.ndarray
    classes: int


class Embeddings(NamedTuple):
    """Features float32 (views, n, dim), first those of the image as it is; labels int64 (n,)."""

    features: np.ndarray
    fine: np.ndarray

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """All views as rows: features (views * n, dim) and labels (views * n,)."""
        views, n, dim = self.features.shape
        return self.features.reshape(views * n, dim), np.tile(self.fine, views)

    def examples(self, classes: int) -> Examples:
        """All views as rows of what a head is fitted to."""
        return Examples(*self.flat(), classes)

    def among(self, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """As `flat`, of the images of these fine classes; a label is a place in `classes`."""
        place = np.full(max(*classes, self.fine.max()) + 1, -1)
        place[classes] = np.arange(len(classes))
        chosen = place[self.fine] >= 0
        return Embeddings(self.features[:, chosen], place[self.fine[chosen]]).flat()


def write(path: str | Path, embeddings: Embeddings) -> None:
    """Write a split's features and labels."""
    write_tensors(path, embeddings._asdict())


def read(path: str | Path) -> Embeddings:
    """Read a split's features and labels."""
    return Embeddings(**read_tensors(path))
