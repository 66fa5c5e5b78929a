"""Nested screens: the classes that stay near the best one are looked at with more weights."""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.c.integer import (
    NOT_ASKED,
    Features,
    Layer,
    Reading,
    finest_fraction,
    input_limit,
    layer,
    reading,
    whole_margin,
)
from treehead.deploy.c.kinds.dense import Settings, Stored
from treehead.deploy.c.kinds.sparse import filled, places_of, spread, steps
from treehead.deploy.c.program import Field, Program, dense, read_macros, read_tables, scale_tables
from treehead.heads.packing import Whole


@dataclass(frozen=True)
class Nested:
    """Screens and the decision.

    Args:
        screens: each with the weights of the ones before it.
        masks: what each screen adds, and what the decision reads, (classes, dim) each.
        margins: how far below the best logit a class may be to pass each screen.
    """

    reading: Reading
    screens: list[Layer]
    decision: Layer
    masks: list[np.ndarray]
    margins: list[int]

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.decision.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        x, saturated = self.reading(q)
        logits = self.screens[0](x)
        for margin, following in zip(self.margins, [*self.screens[1:], self.decision], strict=True):
            passed = logits >= logits.max(1, keepdims=True) - margin
            single = passed.sum(1, keepdims=True) == 1
            logits = np.where(passed, np.where(single, logits, following(x)), NOT_ASKED)
        return logits, saturated

    def program(self) -> Program:
        """Its C: the weights that each screen adds, then those of the decision."""
        *added, own = (places_of(mask) for mask in self.masks)
        weights = [_kept(one, places) for one, places in zip(self.screens, added, strict=True)]
        *screen_steps, own_steps = steps([*added, own])
        tables = {
            "screen_weight": np.concatenate([one.ravel() for one in weights]),
            "screen_step": np.concatenate([one.ravel() for one in screen_steps]),
            "screen_bias": np.array([one.bias for one in self.screens], np.int32),
            "screen_multiplier": self.screens[0].multiplier.astype(np.int32),
            "added": np.array([one.shape[1] for one in weights], np.uint16),
            "margin": np.array(self.margins, np.int32),
            **scale_tables(self.decision, "decision_"),
        }
        columns, macros = len(self.reading.place), {"SCREENS": len(self.screens)}
        if self.masks[-1].all():
            stored, parts = dense(self.decision), ["dot.c", "decide_dense.c"]
            columns = stored.padded(columns)
            macros |= stored.macros()
            tables["decision_weight"] = stored.words(self.decision.numbers)
        else:
            parts = ["decide_sparse.c"]
            tables["decision_weight"] = _kept(self.decision, own)
            tables["decision_step"] = own_steps
            macros["DECISION_KEPT"] = tables["decision_weight"].shape[1]
        macros["WIDE_STEPS"] = int(tables["screen_step"].itemsize > 1)
        return Program(
            ["read.c", "read_all.c", "scale.c", "gather.c", *parts, "largest.c", "nested.c"],
            read_macros(self.reading, columns) | macros,
            read_tables(self.reading) | tables,
            [
                Field("int32_t", "sum", len(self.decision.bias)),
                Field("int16_t", "x", columns),
                Field("uint16_t", "alive", len(self.decision.bias)),
            ],
        )


def nested(arrays: Stored, settings: Settings, features: Features, sample: np.ndarray) -> Nested:
    """Nested screens, structured or not."""
    levels = range(len(settings["margins"]))
    level = np.full(arrays["screen_mask"].shape, len(levels))
    level[arrays["screen_mask"]] = arrays["screen_level"].ravel()
    last = spread(arrays["screen_values"], arrays["screen_mask"])
    screens = [Whole(np.where(level <= one, last.numbers, 0), last.scale) for one in levels]
    weights = [*screens, spread(arrays["values"], arrays["mask"])]
    limit = input_limit(*(weight.numbers for weight in weights))
    read = reading(features, arrays["exponent"], sample, limit)
    bias = arrays["bias"].reshape(len(weights), -1)
    both = list(zip(weights, bias, strict=True))
    fraction = min(finest_fraction([weight], own, read.unit, limit) for weight, own in both)
    *refined, decision = (layer(weight, own, read.unit, fraction) for weight, own in both)
    margins = [whole_margin(margin, fraction) for margin in settings["margins"]]
    return Nested(
        read,
        refined,
        decision,
        [*(level == one for one in levels), arrays["mask"]],
        margins,
    )


def _kept(layer: Layer, places: np.ndarray) -> np.ndarray:
    """A layer's weights at places (classes, kept), in rows of a multiple of four."""
    return filled(np.take_along_axis(layer.numbers, places, axis=1))
