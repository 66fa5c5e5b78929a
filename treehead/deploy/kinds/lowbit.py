"""Weights of two values, one bit each, or of three, five to a byte: sums without a product.

For a few features in a row, the sums under all their weights are made once; the code of a class is
a place among them.
"""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.integer import (
    Features,
    Reading,
    biases,
    finest_fraction,
    input_limit,
    multipliers,
    reading,
    scaled,
    summed,
)
from treehead.deploy.kinds.dense import Settings, Stored
from treehead.deploy.program import Field, Program, read_macros, read_tables
from treehead.heads.packing import Whole

# Features whose codes share a byte.
_TWO, _THREE = 8, 5


@dataclass(frozen=True)
class LowBit:
    """Weights of two values and of three, int8 (classes, features of the kind) each.

    Args:
        three: which features have weights of three values, (dim,).
        multipliers: of the sums of both kinds, (classes,) each.
    """

    reading: Reading
    three: np.ndarray
    numbers: tuple[np.ndarray, np.ndarray]
    multipliers: tuple[np.ndarray, np.ndarray]
    bias: np.ndarray
    fraction: int

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        parts = zip(
            (x[:, ~self.three], x[:, self.three]), self.numbers, self.multipliers, strict=True
        )
        return sum(scaled(summed(w, own), m) for own, w, m in parts) + self.bias, saturated

    def program(self) -> Program:
        """Its C: for each group of features the codes of all classes."""
        two, three = self.numbers
        groups = -(-two.shape[1] // _TWO), -(-three.shape[1] // _THREE)
        columns = groups[0] * _TWO + groups[1] * _THREE
        macros = {"TWO_GROUPS": groups[0], "THREE_GROUPS": groups[1]}
        tables = {"three": np.packbits(self.three, bitorder="little")}
        if groups[0]:
            tables["two_code"] = _coded(two > 0, _TWO, 2, fill=0)
            tables["two_multiplier"] = self.multipliers[0].astype(np.int32)
        if groups[1]:
            tables["three_code"] = _coded(three + 1, _THREE, 3, fill=1)
            tables["three_multiplier"] = self.multipliers[1].astype(np.int32)
        return Program(
            [
                "read.c",
                "scale.c",
                *(["two.c"] if groups[0] else []),
                *(["three.c"] if groups[1] else []),
                "largest.c",
                "lowbit.c",
            ],
            read_macros(self.reading, columns) | macros,
            read_tables(self.reading) | tables | {"bias": self.bias.astype(np.int32)},
            [Field("int32_t", "sum", len(self.bias)), Field("int16_t", "x", columns)],
        )


def lowbit(arrays: Stored, _: Settings, features: Features, sample: np.ndarray) -> LowBit:
    """Weights of -1 and 1, and of -1, 0 and 1, with a scale for each kind."""
    two = Whole(np.where(arrays["positive"], 1, -1).astype(np.int8), arrays["scale_two"])
    three = Whole(arrays["code"], arrays["scale_three"])
    parts, bias = [two, three], arrays["bias"]
    limit = input_limit(*(part.numbers for part in parts))
    read = reading(features, arrays["exponent"], sample, limit)
    fraction = finest_fraction(parts, bias, read.unit, limit)
    return LowBit(
        read,
        arrays["three"],
        (two.numbers, three.numbers),
        tuple(multipliers(part.scale, read.unit, fraction) for part in parts),
        biases(bias, fraction),
        fraction,
    )


def _coded(codes: np.ndarray, group: int, values: int, fill: int) -> np.ndarray:
    """Codes (classes, features) of so many values, a byte a group, (groups, classes) uint8."""
    filled = np.pad(codes, ((0, 0), (0, -codes.shape[1] % group)), constant_values=fill)
    return (filled.reshape(len(codes), -1, group) @ values ** np.arange(group)).T.astype(np.uint8)
