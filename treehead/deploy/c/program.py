"""What the C of a kind of head is made of, and the tables that kinds share."""

from typing import NamedTuple

import numpy as np

from treehead.deploy.c.integer import Layer, Reading


class Field(NamedTuple):
    """A member of the work buffer: an array of a C type."""

    type: str
    name: str
    length: int


class Program(NamedTuple):
    """The C of one head.

    Args:
        parts: its program text, files of templates/ in their order.
        macros: sizes, by name.
        tables: constants, by name; the C type is that of the array.
        work: members of the work buffer besides logits and saturated, the widest type first.
    """

    parts: list[str]
    macros: dict[str, int]
    tables: dict[str, np.ndarray]
    work: list[Field]


def read_macros(reading: Reading, columns: int) -> dict[str, int]:
    """Sizes of the reading of features into the first of `columns` numbers x."""
    return {
        "READ": len(reading.place),
        "COLUMNS": columns,
        "ZERO": reading.features.zero,
        "LIMIT": reading.limit,
        "RELU": int(reading.relu),
        "LEFT_FIRST": int(reading.left_first),
        "RIGHT": reading.right,
        "SATURATES": int(reading.saturates),
        "HIDDEN": 0,
        "GATHERED": int(len(reading.place) < reading.dim),
    }


def read_tables(reading: Reading) -> dict[str, np.ndarray]:
    """The shift of each feature, and which features are read if not all are."""
    tables = {"shift": reading.shift + np.int8(reading.right * reading.left_first)}
    if len(reading.place) < reading.dim:
        gap = np.diff(reading.place, prepend=0)
        tables["gap"] = gap.astype(np.uint8 if gap.max(initial=0) < 256 else np.uint16)
    return tables


class Dense(NamedTuple):
    """How the dense layers of a head are stored: weights of so many bits in words of 32.

    Args:
        odd: whether all of them are odd, so that -3, -1, 1 and 3 take two bits.
    """

    bits: int
    odd: bool = False

    def macros(self) -> dict[str, int]:
        """What templates/dot.c needs to know."""
        return {"WEIGHT_BITS": self.bits, "ODD": int(self.odd)}

    def padded(self, columns: int) -> int:
        """Columns in whole steps of the loop, which are eight columns or a word."""
        step = max(8, 32 // self.bits)
        return -(-columns // step) * step

    def words(self, numbers: np.ndarray) -> np.ndarray:
        """Weights int8 (rows, columns) as templates/dot.c reads them, uint32 (rows, words)."""
        rows, columns = numbers.shape
        filled = np.pad(numbers, ((0, 0), (0, self.padded(columns) - columns)))
        codes = (filled.astype(np.int64) + 3) >> 1
        if not self.odd:
            codes = filled.astype(np.int64) + 2 ** (self.bits - 1)
        place = self.bits * np.arange(16 // self.bits)
        halves = codes.reshape(rows, -1, 16 // self.bits, 2) << place[:, None]
        return (halves.sum(2) @ np.array([1, 2**16])).astype(np.uint32)

    def tables(self, layer: Layer, name: str = "") -> dict[str, np.ndarray]:
        """The tables of a layer, their names beginning with `name`."""
        return {f"{name}weight": self.words(layer.numbers), **scale_tables(layer, name)}


def dense(*layers: Layer) -> Dense:
    """The fewest bits of 2, 4 and 8 that hold all weights of some layers."""
    largest = max(int(np.abs(layer.numbers.astype(int)).max(initial=0)) for layer in layers)
    if largest == 3 and all((layer.numbers % 2).all() for layer in layers):
        return Dense(2, odd=True)
    return Dense(next(bits for bits in (2, 4, 8) if largest < 2 ** (bits - 1)))


def scale_tables(layer: Layer, name: str = "") -> dict[str, np.ndarray]:
    """What turns the sums of a layer into logits."""
    return {
        f"{name}multiplier": layer.multiplier.astype(np.int32),
        f"{name}bias": layer.bias.astype(np.int32),
    }
