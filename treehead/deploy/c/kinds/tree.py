"""A tree: a parent layer asks the children of its k best parents, or of those within a margin."""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.c.integer import (
    NOT_ASKED,
    Features,
    Layer,
    Reading,
    finest,
    input_limit,
    reading,
    whole_margin,
)
from treehead.deploy.c.kinds.dense import Between, Settings, Stored, between, hidden_macros
from treehead.deploy.c.program import Field, Program, dense, read_macros, read_tables
from treehead.heads.packing import Whole


@dataclass(frozen=True)
class Tree:
    """Children read the features, or with `between` the ReLU of the parent logits.

    Args:
        k: how many parents are asked; None for those that are not further below than `margin`.
    """

    reading: Reading
    parent: Layer
    between: Between | None
    child: Layer
    parent_of: np.ndarray
    k: int | None
    margin: int = 0

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.child.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        parents = self.parent(x)
        if self.between:
            x, more = self.between(parents)
            saturated = saturated + more
        if self.k is None:
            routed = parents >= parents.max(1, keepdims=True) - self.margin
        else:
            routed = np.argsort(np.argsort(-parents, axis=1, kind="stable"), axis=1) < self.k
        return np.where(routed[:, self.parent_of], self.child(x), NOT_ASKED), saturated

    def program(self) -> Program:
        """Its C."""
        stored, parents = dense(self.parent, self.child), len(self.parent.bias)
        columns = stored.padded(len(self.reading.place))
        order = np.argsort(self.parent_of, kind="stable")
        first_row = np.searchsorted(self.parent_of[order], np.arange(parents + 1))
        rows = Layer(*(part[order] for part in self.child[:3]), self.child.fraction)
        narrow = np.uint8 if len(order) < 256 else np.uint16
        layers = {"parent_": self.parent, "child_": rows}
        tables = {k: v for name, one in layers.items() for k, v in stored.tables(one, name).items()}
        # One scale for each layer takes one multiplier.
        scales = [f"{name}multiplier" for name in layers]
        one_scale = all((tables[scale] == tables[scale][0]).all() for scale in scales)
        if one_scale:
            tables |= {scale: tables[scale][:1] for scale in scales}
        macros = {
            "PARENTS": parents,
            "K": min(self.k or 0, parents),
            "MARGIN": self.margin,
            "ONE_SCALE": int(one_scale),
        }
        work = [
            Field("int32_t", "parent_logits", parents),
            Field("int16_t", "x", columns),
            Field("uint16_t", "rows", len(order) + 1),
            Field("uint8_t", "asked", parents),
        ]
        if self.between:
            macros |= hidden_macros(self.between, parents, stored)
            work.insert(2, Field("int16_t", "hidden", stored.padded(parents)))
        return Program(
            ["read.c", "read_all.c", "scale.c", "dot.c", "dense.c", "tree.c"],
            read_macros(self.reading, columns) | stored.macros() | macros,
            read_tables(self.reading)
            | tables
            | {"class_of": order.astype(narrow), "first_row": first_row.astype(narrow)},
            work,
        )


def tree(arrays: Stored, settings: Settings, features: Features, sample: np.ndarray) -> Tree:
    """A tree of two levels."""
    upper, lower = arrays["parent_weight"], arrays["child_weight"]
    reads_logits = settings["reads"] == "parent_logits"
    reads_features = [upper] if reads_logits else [upper, lower]
    limit = input_limit(*(weight.numbers for weight in reads_features))
    read = reading(features, arrays["exponent"], sample, limit)
    parent = finest(upper, arrays["parent_bias"], read.unit, limit)
    middle, unit = None, read.unit
    if reads_logits:
        limit = input_limit(lower.numbers)
        middle = between(parent, read(sample)[0], limit, relu=True)
        unit = middle.unit
    child = finest(lower, arrays["child_bias"], unit, limit)
    parent_of = arrays["parent_of"].astype(np.int64)
    return Tree(read, parent, middle, child, parent_of, int(settings["k"]))


def twobit(arrays: Stored, settings: Settings, features: Features, sample: np.ndarray) -> Tree:
    """A tree of two-bit weights on some of the features; a code of -2 to 1 is a half more."""
    numbers, parent_of = 2 * arrays["code"] + 1, arrays["parent_of"].astype(np.int64)
    limit, place = input_limit(numbers), np.flatnonzero(arrays["read"])
    read = reading(features, arrays["exponent"], sample, limit, place=place)
    parents = [int(parent_of.max()) + 1]
    levels = np.split(numbers, parents), np.split(arrays["bias"], parents), arrays["scale"]
    parent, child = (
        finest(Whole(part, np.full(len(part), scale / 2)), bias, read.unit, limit)
        for part, bias, scale in zip(*levels, strict=True)
    )
    margin = whole_margin(settings["margin"], parent.fraction)
    return Tree(read, parent, None, child, parent_of, None, margin)
