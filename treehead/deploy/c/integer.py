"""The arithmetic of a head in whole numbers, the same to the bit in numpy and in C.

Features arrive as numbers q of a quantised network, x = scale * (q - zero). A head reads feature j
shifted by a power of two, as one int16. Products of weights and features add up in int32, which
can't overflow; their sum times the scale of a row (the high word of 64 bits, rounded) plus a bias
is a logit. All logits of a head are multiples of one power of two, so that they compare.
Rounding is half up everywhere, and a number out of its range becomes the nearest in it.
"""

import math
from typing import NamedTuple

import numpy as np

from treehead.artifacts import InputError
from treehead.heads.packing import Whole

INT32_MAX = 2**31 - 1
# The logit of a class that was not asked.
NOT_ASKED = -(2**31)
# Logits stay below this, so that differences of two, and margins, fit int32.
LOGIT_MAX = 2**29 - 8
# Further left or right, each number of 17 bits is out of range or 0: all shifts there are the same.
_LEFT, _RIGHT = 15, 17


class Features(NamedTuple):
    """How features arrive: whole numbers of 8 or 16 bits, x = scale * (q - zero)."""

    scale: float
    zero: int
    bits: int

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers."""
        return np.dtype(f"int{self.bits}")

    def check(self) -> None:
        """Raise InputError unless the three go together."""
        if self.bits not in (8, 16):
            raise InputError(f"Features of {self.bits} bits have no C; give 8 or 16.")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"The scale of features is {self.scale}; give a number above 0.")
        range_ = np.iinfo(self.dtype)
        if not range_.min <= self.zero <= range_.max:
            raise InputError(
                f"The zero of features is {self.zero}; give a number in {range_.min} to "
                f"{range_.max}."
            )

    def quantized(self, features: np.ndarray) -> tuple[np.ndarray, int]:
        """Features float (n, dim) as numbers (n, dim), and how many were out of range."""
        if not np.isfinite(features).all():
            raise InputError("Some features are not finite; look at the network they come from.")
        numbers = np.floor(features / np.float64(self.scale) + 0.5) + self.zero
        range_ = np.iinfo(self.dtype)
        out = (numbers < range_.min) | (numbers > range_.max)
        return np.clip(numbers, range_.min, range_.max).astype(self.dtype), int(out.sum())


def calibrated(features: np.ndarray, bits: int) -> Features:
    """How to quantise features (n, dim) so that none is out of range, one scale for all."""
    low, high = min(float(features.min()), 0.0), max(float(features.max()), 0.0)
    scale = (high - low) / (2**bits - 1) or 1.0
    return Features(scale, round(-(2 ** (bits - 1)) - low / scale), bits)


def narrowed(
    numbers: np.ndarray, shift: np.ndarray | int, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers int64 (n, columns) shifted left (right if negative), within -limit to limit.

    Returns:
        The numbers (n, columns), and how many of each image were out of range (n,).
    """
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = ((numbers << left) + (1 << right >> 1)) >> right
    out = np.abs(shifted) > limit
    return np.clip(shifted, -limit, limit), out.sum(1)


def scaled(sums: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """The high words of the products of sums (n, rows) and multipliers (rows,), rounded."""
    return (sums * multiplier + 2**31) >> 32


def summed(numbers: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums (n, rows) of weights (rows, columns) times x (n, columns), int64.

    Floats of 64 bits hold all of them, and multiply matrices fast.
    """
    return (x.astype(np.float64) @ numbers.astype(np.float64).T).astype(np.int64)


def input_limit(*weights: np.ndarray) -> int:
    """The largest int16 that overflows no sum of a row of these weights, (rows, columns) each."""
    largest = max(int(np.abs(one.astype(np.int64)).sum(1).max(initial=0)) for one in weights)
    return min(2**15 - 1, INT32_MAX // max(largest, 1))


class Reading(NamedTuple):
    """How a head reads features: those at `place`, shifted, within -limit to limit.

    Args:
        shift: int8 (columns,), to the left; to the right if negative.
        place: which features, (columns,).
        unit: what 1 is worth.
        relu: read 0 for what is below it.
    """

    features: Features
    dim: int
    shift: np.ndarray
    place: np.ndarray
    limit: int
    unit: float
    relu: bool

    @property
    def saturates(self) -> bool:
        """Whether some number of a feature is out of range."""
        return bool(self(ends(self.features, self.dim))[1].any())

    @property
    def right(self) -> int:
        """The furthest shift to the right."""
        return max(0, -int(self.shift.min(initial=0)))

    @property
    def left_first(self) -> bool:
        """Whether each number may be shifted by `right` to the left before it is to the right."""
        largest = np.abs(_offset(ends(self.features, self.dim), self.features, self.place, False))
        left = self.shift.astype(np.int64) + self.right
        return bool(((largest << left) + (1 << self.right) < 2**31).all())

    def __call__(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> x int64 (n, columns), and how many were out of range (n,)."""
        return narrowed(_offset(q, self.features, self.place, self.relu), self.shift, self.limit)


def reading(
    features: Features,
    exponent: np.ndarray,
    sample: np.ndarray,
    limit: int,
    relu: bool = False,
    place: np.ndarray | None = None,
) -> Reading:
    """A reading by which nothing of a sample q (n, dim) is out of range.

    If it loses nothing of the features that vary in the sample, one by which nothing ever is.

    Args:
        exponent: the head reads feature j times 2^-exponent[j], (dim,).
        limit: the largest number that it may read.
        place: which features it reads; all if not given.
    """
    dim = len(exponent)
    place = np.arange(dim) if place is None else place.astype(np.int64)
    exponent = exponent[place].astype(np.int64)

    def finest(q: np.ndarray) -> int:
        largest = np.abs(_offset(q, features, place, relu)).max(0, initial=0)
        return finest_power(float(np.ldexp(largest.astype(float), -exponent).max()), limit)

    varies = (sample.max(0) > sample.min(0))[place]
    power = finest(ends(features, dim))
    if (power < exponent[varies]).any():
        power = finest(sample)
    shift = np.clip(power - exponent, -_RIGHT, _LEFT).astype(np.int8)
    return Reading(features, dim, shift, place, limit, math.ldexp(features.scale, -power), relu)


def ends(features: Features, dim: int) -> np.ndarray:
    """An image of the smallest numbers and one of the largest, (2, dim)."""
    range_ = np.iinfo(features.dtype)
    return np.repeat([[range_.min], [range_.max]], dim, axis=1)


def _offset(q: np.ndarray, features: Features, place: np.ndarray, relu: bool) -> np.ndarray:
    numbers = q[:, place].astype(np.int64) - features.zero
    return np.maximum(numbers, 0) if relu else numbers


def finest_power(largest: float, limit: float) -> int:
    """The largest p with largest * 2^p <= limit; 0 if the largest is 0."""
    return math.frexp(limit / largest)[1] - 1 if largest else 0


class Layer(NamedTuple):
    """Whole weights (rows, columns) and, of each row, a multiplier and a bias, int32 (rows,).

    A logit is the high word of sum * multiplier, plus the bias, in units of 2^-fraction.
    """

    numbers: np.ndarray
    multiplier: np.ndarray
    bias: np.ndarray
    fraction: int

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Numbers x (n, columns) -> logits int64 (n, rows)."""
        return scaled(summed(self.numbers, x), self.multiplier) + self.bias


def layer(weight: Whole, bias: np.ndarray, unit: float, fraction: int) -> Layer:
    """A layer that reads numbers of which 1 is worth `unit`."""
    multiplier = np.ldexp(weight.scale.astype(float) * unit, fraction + 32)
    biases = np.ldexp(bias.astype(float), fraction)
    whole = (np.rint(one).astype(np.int64) for one in (multiplier, biases))
    return Layer(weight.numbers, *whole, fraction)


def finest_fraction(parts: list[Whole], bias: np.ndarray, unit: float, limit: int) -> int:
    """The finest fraction for which no multiplier is too large, nor any logit.

    Args:
        parts: weights of the same rows, whose sums are scaled apart and added.
        bias: (rows,).
        unit: what 1 is worth among the numbers that the layer reads.
        limit: the largest of them.
    """
    gains = [part.scale.astype(float) * unit for part in parts]
    sums = [np.abs(part.numbers.astype(float)).sum(1) * limit for part in parts]
    largest = sum(gain * most for gain, most in zip(gains, sums, strict=True)) + np.abs(bias)
    multiplier = finest_power(max(float(gain.max(initial=0)) for gain in gains), INT32_MAX)
    return min(multiplier - 32, finest_power(float(largest.max(initial=0)), LOGIT_MAX))


def finest(weight: Whole, bias: np.ndarray, unit: float, limit: int) -> Layer:
    """A layer whose logits are compared only with one another, as fine as can be."""
    return layer(weight, bias, unit, finest_fraction([weight], bias, unit, limit))


def whole_margin(margin: float, fraction: int) -> int:
    """A margin in units of logits; no two logits are further apart than the largest."""
    return round(min(math.ldexp(margin, fraction), 2.0**30))
