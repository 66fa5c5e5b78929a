"""Heads of one or two dense layers: linear, lasso, low rank, non-negative, mlp."""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.c.integer import (
    Features,
    Layer,
    Reading,
    finest,
    input_limit,
    narrowed,
    reading,
)
from treehead.deploy.c.program import Dense, Field, Program, dense, read_macros, read_tables
from treehead.heads.head import Setting
from treehead.heads.packing import Whole

Stored = dict[str, np.ndarray | Whole]
Settings = dict[str, Setting]


@dataclass(frozen=True)
class OneLayer:
    """Features -> logits."""

    reading: Reading
    layer: Layer

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.layer.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        return self.layer(x), saturated

    def program(self) -> Program:
        """Its C."""
        stored = dense(self.layer)
        columns = stored.padded(len(self.reading.place))
        return Program(
            ["read.c", "read_all.c", "scale.c", "dot.c", "dense.c", "largest.c", "one_layer.c"],
            read_macros(self.reading, columns) | stored.macros(),
            read_tables(self.reading) | stored.tables(self.layer),
            [Field("int16_t", "x", columns)],
        )


@dataclass(frozen=True)
class Between:
    """Logits of a layer as what the next one reads: shifted right, as int16."""

    shift: int
    limit: int
    unit: float
    relu: bool

    def __call__(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits int64 (n, rows) -> numbers (n, rows), and how many were out of range (n,)."""
        return narrowed(np.maximum(logits, 0) if self.relu else logits, -self.shift, self.limit)


def between(lower: Layer, x: np.ndarray, limit: int, relu: bool) -> Between:
    """The finest one by which nothing of a sample x (n, columns) is out of range."""
    logits = lower(x)
    shift = next(
        shift for shift in range(32) if not Between(shift, limit, 1.0, relu)(logits)[1].any()
    )
    return Between(shift, limit, 2.0 ** (shift - lower.fraction), relu)


@dataclass(frozen=True)
class TwoLayers:
    """Features -> hidden -> logits."""

    reading: Reading
    lower: Layer
    between: Between
    upper: Layer

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.upper.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        hidden, more = self.between(self.lower(x))
        return self.upper(hidden), saturated + more

    def program(self, stored: Dense | None = None) -> Program:
        """Its C, its weights as others of the same head are stored."""
        hidden, stored = len(self.lower.bias), stored or dense(self.lower, self.upper)
        columns = stored.padded(len(self.reading.place))
        return Program(
            [
                "read.c",
                "read_all.c",
                "scale.c",
                "dot.c",
                "dense.c",
                "hidden.c",
                "two_dense.c",
                "largest.c",
                "two_layers.c",
            ],
            read_macros(self.reading, columns) | hidden_macros(self.between, hidden, stored),
            read_tables(self.reading)
            | stored.tables(self.lower, "lower_")
            | stored.tables(self.upper, "upper_"),
            [
                Field("int32_t", "sum", hidden),
                Field("int16_t", "x", columns),
                Field("int16_t", "hidden", stored.padded(hidden)),
            ],
        )


def hidden_macros(between: Between, hidden: int, stored: Dense) -> dict[str, int]:
    """Sizes of what lies between two dense layers."""
    return {
        **stored.macros(),
        "HIDDEN": hidden,
        "HIDDEN_COLUMNS": stored.padded(hidden),
        "HIDDEN_SHIFT": between.shift,
        "HIDDEN_LIMIT": between.limit,
        "HIDDEN_RELU": int(between.relu),
    }


def linear(arrays: Stored, _: Settings, features: Features, sample: np.ndarray) -> OneLayer:
    """The full head, also one on kept features."""
    return _one(arrays["weight"], arrays, features, sample, place=arrays.get("kept"))


def lowrank(
    arrays: Stored, settings: Settings, features: Features, sample: np.ndarray
) -> TwoLayers:
    """Low rank, which may read the ReLU of the features."""
    lower = arrays["down"], np.zeros(len(arrays["down"].scale))
    return _two(lower, (arrays["up"], arrays["bias"]), arrays, features, sample, settings["relu"])


def mlp(arrays: Stored, _: Settings, features: Features, sample: np.ndarray) -> TwoLayers:
    """A hidden layer with a ReLU."""
    lower = arrays["hidden_weight"], arrays["hidden_bias"]
    upper = arrays["weight"], arrays["bias"]
    return _two(lower, upper, arrays, features, sample, hidden_relu=True)


def nonnegative(
    arrays: Stored, _: Settings, features: Features, sample: np.ndarray
) -> OneLayer | TwoLayers:
    """One or two layers that read the ReLU of the features."""
    if "weight_1" not in arrays:
        return _one(arrays["weight_0"], arrays, features, sample, relu=True)
    lower = arrays["weight_0"], np.zeros(len(arrays["weight_0"].scale))
    return _two(lower, (arrays["weight_1"], arrays["bias"]), arrays, features, sample, relu=True)


def _one(
    weight: Whole,
    arrays: Stored,
    features: Features,
    sample: np.ndarray,
    relu: bool = False,
    place: np.ndarray | None = None,
) -> OneLayer:
    limit = input_limit(weight.numbers)
    read = reading(features, arrays["exponent"], sample, limit, relu, place)
    return OneLayer(read, finest(weight, arrays["bias"], read.unit, limit))


def _two(
    lower: tuple[Whole, np.ndarray],
    upper: tuple[Whole, np.ndarray],
    arrays: Stored,
    features: Features,
    sample: np.ndarray,
    relu: bool = False,
    hidden_relu: bool = False,
) -> TwoLayers:
    limit = input_limit(lower[0].numbers)
    read = reading(features, arrays["exponent"], sample, limit, relu)
    return two_layers(read, sample, lower, upper, hidden_relu)


def two_layers(
    read: Reading,
    sample: np.ndarray,
    lower: tuple[Whole, np.ndarray],
    upper: tuple[Whole, np.ndarray],
    hidden_relu: bool = False,
) -> TwoLayers:
    """Two layers, each a weight and a bias; nothing between them is out of range for a sample."""
    first = finest(*lower, read.unit, read.limit)
    middle = between(first, read(sample)[0], input_limit(upper[0].numbers), hidden_relu)
    return TwoLayers(read, first, middle, finest(*upper, middle.unit, middle.limit))
