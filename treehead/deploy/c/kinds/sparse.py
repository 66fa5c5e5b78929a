"""A sparse head: each class has some weights, and their places."""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.c.integer import (
    Features,
    Layer,
    Reading,
    finest,
    input_limit,
    reading,
)
from treehead.deploy.c.kinds.dense import Settings, Stored
from treehead.deploy.c.program import Field, Program, read_macros, read_tables, scale_tables
from treehead.heads.packing import Whole

# With at most so many features in a group, a place takes two bits.
_GROUP = 4


@dataclass(frozen=True)
class Sparse:
    """The weights of `layer` at `mask` (classes, dim); the others are 0."""

    reading: Reading
    layer: Layer
    mask: np.ndarray

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.layer.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        return self.layer(x), saturated

    def program(self) -> Program:
        """Its C: places as steps from one to the next, or in groups of few as codes of two bits."""
        (classes, dim), kept = self.mask.shape, int(self.mask[0].sum())
        weight = filled(self.layer.numbers[self.mask].reshape(classes, kept))
        group = -(-dim // kept)
        if group <= _GROUP and one_in_each(self.mask, group):
            part, columns = "grouped.c", weight.shape[1] * group
            macros = {"GROUPED": 1, "GROUP": group}
            places = {"code": _codes(self.mask, group, weight.shape[1])}
        else:
            part, columns = "gather.c", dim
            places = {"step": steps([places_of(self.mask)])[0]}
            macros = {"GROUPED": 0, "WIDE_STEPS": int(places["step"].itemsize > 1)}
        return Program(
            ["read.c", "read_all.c", "scale.c", part, "largest.c", "sparse.c"],
            read_macros(self.reading, columns) | macros | {"KEPT": weight.shape[1]},
            read_tables(self.reading) | {"weight": weight, **places} | scale_tables(self.layer),
            [Field("int16_t", "x", columns)],
        )


def sparse(arrays: Stored, _: Settings, features: Features, sample: np.ndarray) -> Sparse:
    """A sparse head, structured or not."""
    weight = spread(arrays["values"], arrays["mask"])
    limit = input_limit(weight.numbers)
    read = reading(features, arrays["exponent"], sample, limit)
    return Sparse(read, finest(weight, arrays["bias"], read.unit, limit), arrays["mask"])


def spread(values: Whole, mask: np.ndarray) -> Whole:
    """Kept values (classes, kept) at the places of a mask (classes, dim), else 0."""
    numbers = np.zeros(mask.shape, np.int8)
    numbers[mask] = values.numbers.ravel()
    return Whole(numbers, values.scale)


def one_in_each(mask: np.ndarray, group: int) -> bool:
    """Whether each class keeps one of each `group` features in a row."""
    counts = np.add.reduceat(mask, np.arange(0, mask.shape[1], group), axis=1, dtype=int)
    return bool((counts == 1).all())


def places_of(mask: np.ndarray) -> np.ndarray:
    """The places of what each class keeps, in their order, (classes, kept)."""
    return np.nonzero(mask)[1].reshape(len(mask), -1)


def steps(places: list[np.ndarray]) -> list[np.ndarray]:
    """Rising places (rows, kept) as steps from one to the next, in rows of a multiple of four.

    They are bytes unless one of them is too long.
    """
    found = [filled(np.diff(one, axis=1, prepend=0)) for one in places]
    longest = max(int(one.max(initial=0)) for one in found)
    return [one.astype(np.uint8 if longest < 256 else np.uint16) for one in found]


def filled(rows: np.ndarray) -> np.ndarray:
    """Rows (rows, columns) with zeros up to a multiple of four."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))


def _codes(mask: np.ndarray, group: int, kept: int) -> np.ndarray:
    """The place of each class's weight in each group, four to a byte, (classes, kept / 4)."""
    places = places_of(mask)
    inside = np.pad(places % group, ((0, 0), (0, kept - places.shape[1])))
    return (inside.reshape(len(mask), -1, 4) @ 4 ** np.arange(4)).astype(np.uint8)
