"""Stored features of a split, from the frozen backbone, and labels."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead.artifacts import InputError, map_tensors, read_tensors, write_joined, write_tensors
from treehead.data.moments import moments
from treehead.data.rows import Rows

# What rounding may change of a feature, as a share of its deviation: as much as whole numbers of 5
# bits over seven deviations. Of PhiNet's features on CIFAR-100 float16 changes 1 / 2000.
_MOST_LOST = 1 / 16
# Fewer rows may be close to one another by chance.
_FEWEST = 5
# So many images show the range of features.
_SAMPLE = 50_000


class Examples(NamedTuple):
    """What a head is fitted to: features (n, dim), labels int64 (n,) in 0..classes-1."""

    features: Rows
    labels: np.ndarray
    classes: int


class Embeddings(NamedTuple):
    """Features float32 (views, n, dim), first those of the image as it is; labels int64 (n,)."""

    features: np.ndarray
    fine: np.ndarray


def shard(n: int, number: int, shards: int) -> slice:
    """The rows of one of the shards of n images: nearly as many in each, in their order.

    Raises:
        InputError: there are fewer images than shards.
    """
    if shards > n:
        raise InputError(f"embed.shards is {shards}, but a split has {n} images; set fewer.")
    return slice(n * number // shards, n * (number + 1) // shards)


def write(path: str | Path, embeddings: Embeddings, stored: str = "float32") -> None:
    """Write a split's features, as float32 or float16, and its labels.

    Raises:
        InputError: a feature is too large for float16, or too small, or varies too little for it.
    """
    features = embeddings.features.astype(stored)
    if stored == "float16" and (lost := _lost(embeddings.features, features)):
        raise InputError(f"{path}: {lost}; set embed.stored to float32.")
    write_tensors(path, {"features": features, "fine": embeddings.fine})


def _lost(features: np.ndarray, rounded: np.ndarray) -> str:
    """What is lost of features (views, n, dim) that are rounded to float16; empty if little is."""
    if not np.isfinite(features).all():
        return ""
    if not np.isfinite(rounded).all():
        return f"a feature of {np.abs(features).max():.3g} is too large for float16"
    views, n, dim = features.shape
    if views * n < _FEWEST:
        return ""
    exact, stored = (Rows(some.reshape(views * n, dim)) for some in (features, rounded))
    deviation = exact.moments.deviation
    error = moments(stored[rows] - exact[rows] for rows in exact.slices()).deviation
    matters = deviation > 1e-6 * deviation.max()
    share = np.divide(error, deviation, out=np.zeros(dim), where=matters)
    worst = int(share.argmax())
    if share[worst] <= _MOST_LOST:
        return ""
    return (
        f"rounding to float16 loses {share[worst]:.0%} of the deviation of feature {worst}, "
        f"{deviation[worst]:.3g} around {exact.moments.mean[worst]:.3g}"
    )


def read(path: str | Path) -> Embeddings:
    """Read a split's features, as float32 whatever is stored, and its labels."""
    found = read_tensors(path)
    return Embeddings(found["features"].astype(np.float32, copy=False), found["fine"])


def examples(path: str | Path, classes: int) -> Examples:
    """All views of a split as rows of what a head is fitted to; they stay in the file."""
    found = map_tensors(path)
    views, n, dim = found["features"].shape
    rows = Rows(found["features"].reshape(views * n, dim))
    return Examples(rows, np.tile(found["fine"], views), classes)


def among(path: str | Path, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """All views of the images of these classes: features float32 (m, dim), and labels (m,).

    A label is a place in `classes`.
    """
    found = map_tensors(path)
    place = np.full(max(*classes, found["fine"].max()) + 1, -1)
    place[classes] = np.arange(len(classes))
    labels = place[found["fine"]]
    features = found["features"][:, labels >= 0].astype(np.float32, copy=False)
    views, m, dim = features.shape
    return features.reshape(views * m, dim), np.tile(labels[labels >= 0], views)


def sample(path: str | Path) -> np.ndarray:
    """Features float32 (m, dim) of up to 50,000 images as they are, from all over a split."""
    features = map_tensors(path)["features"][0]
    return features[:: -(-len(features) // _SAMPLE)].astype(np.float32)


def join(paths: list[str], target: str | Path) -> None:
    """Write the shards of a split, in their order, as one file of the same type."""
    write_joined(target, [map_tensors(path) for path in paths], {"features": 1, "fine": 0})
