"""Nested screens: the classes that stay near the best one are looked at with more weights."""

from dataclasses import dataclass

import numpy as np

from treehead.deploy.integer import (
    NOT_ASKED,
    Features,
    Layer,
    Reading,
    finest_fraction,
    input_limit,
    layer,
    reading,
)
from treehead.deploy.kinds.dense import Settings, Stored
from treehead.deploy.kinds.sparse import places_of, spread, steps
from treehead.deploy.program import (
    Field,
    Program,
    dense_rows,
    padded,
    read_macros,
    read_tables,
)
from treehead.heads.packing import Whole

# Further apart, no two logits are.
_WIDEST = 2**30


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
        dense = bool(self.masks[-1].all())
        layers = [*self.screens, self.decision]
        gathered = list(zip(layers, self.masks, strict=True))[: -1 if dense else None]
        rows = [places_of(mask) for _, mask in gathered]
        weights = [
            _weights(one.numbers, places) for (one, _), places in zip(gathered, rows, strict=True)
        ]
        step = np.concatenate([steps(places).ravel() for places in rows])
        tables = read_tables(self.reading) | {
            "weight": np.concatenate([one.ravel() for one in weights]),
            "step": step,
            "added": np.array([one.shape[1] for one in weights], np.uint16),
            "margin": np.array(self.margins, np.int32),
            "screen_multiplier": self.screens[0].multiplier.astype(np.int32),
            "decision_multiplier": self.decision.multiplier.astype(np.int32),
            "bias": np.array([one.bias for one in layers], np.int32),
        }
        if dense:
            tables["decision_weight"] = dense_rows(self.decision.numbers)
        dim, classes = len(self.reading.place), len(self.decision.bias)
        columns = padded(dim)
        return Program(
            [
                "read.c",
                "read_all.c",
                "scale.c",
                "gather.c",
                *(["dot.c"] if dense else []),
                "largest.c",
                "nested.c",
            ],
            read_macros(self.reading, columns)
            | {
                "SCREENS": len(self.screens),
                "DENSE_DECISION": int(dense),
                "WIDE_STEPS": int(step.itemsize > 1),
            },
            tables,
            [
                Field("int32_t", "sum", classes),
                Field("int16_t", "x", columns),
                Field("uint16_t", "alive", classes),
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
    margins = np.minimum(np.ldexp(np.float64(settings["margins"]), fraction), _WIDEST)
    return Nested(
        read,
        refined,
        decision,
        [*(level == one for one in levels), arrays["mask"]],
        np.rint(margins).astype(np.int64).tolist(),
    )


def _weights(numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
    kept = np.take_along_axis(numbers, places, axis=1)
    return np.pad(kept, ((0, 0), (0, padded(kept.shape[1]) - kept.shape[1])))
