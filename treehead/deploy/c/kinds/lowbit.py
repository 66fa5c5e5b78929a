"""Weights of two values, one bit each, or of three, five to a byte: sums without a product.

For a few features in a row, the sums under all their weights are made once; the code of a class is
a place among them.
"""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.c.integer import (
    Features,
    Layer,
    Reading,
    finest_fraction,
    input_limit,
    layer,
    reading,
)
from treehead.deploy.c.kinds.dense import Settings, Stored
from treehead.deploy.c.program import Field, Program, read_macros, read_tables
from treehead.heads.packing import Whole

# Features whose codes share a byte.
_TWO, _THREE = 8, 5


@dataclass(frozen=True)
class LowBit:
    """Two layers whose logits are added: weights of -1 and 1, and of -1, 0 and 1.

    Args:
        three: which features the second one reads, (dim,); the first reads the others.
    """

    reading: Reading
    three: np.ndarray
    of_two: Layer
    of_three: Layer

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.of_two.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        return self.of_two(x[:, ~self.three]) + self.of_three(x[:, self.three]), saturated

    def program(self) -> Program:
        """Its C: for each group of features the codes of all classes."""
        two, three = self.of_two.numbers, self.of_three.numbers
        groups = -(-two.shape[1] // _TWO), -(-three.shape[1] // _THREE)
        columns = groups[0] * _TWO + groups[1] * _THREE
        macros = {"TWO_GROUPS": groups[0], "THREE_GROUPS": groups[1]}
        parts, tables = ["read_all.c"], {}
        if all(groups):
            parts, tables = ["read_both.c"], {"three": np.packbits(self.three, bitorder="little")}
        if groups[0]:
            parts.append("two.c")
            tables["two_code"] = _coded(two > 0, _TWO, 2, fill=0)
            tables["two_multiplier"] = self.of_two.multiplier.astype(np.int32)
        if groups[1]:
            parts.append("three.c")
            tables["three_code"] = _coded(three + 1, _THREE, 3, fill=1)
            tables["three_multiplier"] = self.of_three.multiplier.astype(np.int32)
        return Program(
            ["read.c", "scale.c", *parts, "largest.c", "lowbit.c"],
            read_macros(self.reading, columns) | macros,
            read_tables(self.reading) | tables | {"bias": self.of_two.bias.astype(np.int32)},
            [
                Field("int32_t", "sum", len(self.of_two.bias)),
                Field("int32_t", "low", 27 if groups[1] else 16),
                Field("int32_t", "high", 16 if groups[0] else 9),
                Field("int16_t", "x", columns),
            ],
        )


def lowbit(arrays: Stored, _: Settings, features: Features, sample: np.ndarray) -> LowBit:
    """Weights of -1 and 1, and of -1, 0 and 1, with a scale for each kind."""
    two = Whole(np.where(arrays["positive"], 1, -1).astype(np.int8), arrays["scale_two"])
    three = Whole(arrays["code"], arrays["scale_three"])
    bias, limit = arrays["bias"], input_limit(two.numbers, three.numbers)
    read = reading(features, arrays["exponent"], sample, limit)
    used = [part for part in (two, three) if part.numbers.size]
    fraction = finest_fraction(used, bias, read.unit, limit)
    of_two, of_three = (
        layer(part, own, read.unit, fraction)
        for part, own in ((two, bias), (three, np.zeros(len(bias))))
    )
    return LowBit(read, arrays["three"], of_two, of_three)


def _coded(codes: np.ndarray, group: int, values: int, fill: int) -> np.ndarray:
    """Codes (classes, features) of so many values, a byte a group, (groups, classes) uint8."""
    filled = np.pad(codes, ((0, 0), (0, -codes.shape[1] % group)), constant_values=fill)
    return (filled.reshape(len(codes), -1, group) @ values ** np.arange(group)).T.astype(np.uint8)
