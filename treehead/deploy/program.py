"""What the C of a kind of head is made of, and the tables that kinds share."""

from typing import NamedTuple

import numpy as np

from treehead.deploy.integer import Layer, Reading

# Weights of a dense row are stored in groups of four, in the order in which the M4's SXTB16 takes
# two bytes out of a word, so that pairs of features stay as they are.
_PAIRS = [0, 2, 1, 3]


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
        "GATHERED": int(len(reading.place) < reading.dim),
    }


def read_tables(reading: Reading) -> dict[str, np.ndarray]:
    """The shift of each feature, and which features are read if not all are."""
    tables = {"shift": reading.shift}
    if len(reading.place) < reading.dim:
        tables["place"] = reading.place.astype(np.uint16)
    return tables


def padded(columns: int) -> int:
    """Columns of a row that is stored in groups of four."""
    return -(-columns // 4) * 4


def dense_rows(numbers: np.ndarray) -> np.ndarray:
    """Weights int8 (rows, columns) as dense rows are stored, (rows, padded columns)."""
    rows, columns = numbers.shape
    filled = np.pad(numbers, ((0, 0), (0, padded(columns) - columns)))
    return filled.reshape(rows, -1, 4)[:, :, _PAIRS].reshape(rows, -1).astype(np.int8)


def dense_tables(layer: Layer, name: str = "") -> dict[str, np.ndarray]:
    """The tables of a dense layer, their names beginning with `name`."""
    return {f"{name}weight": dense_rows(layer.numbers), **scale_tables(layer, name)}


def scale_tables(layer: Layer, name: str = "") -> dict[str, np.ndarray]:
    """What turns the sums of a layer into logits."""
    return {
        f"{name}multiplier": layer.multiplier.astype(np.int32),
        f"{name}bias": layer.bias.astype(np.int32),
    }
