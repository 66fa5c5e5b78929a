"""A shortlist: a low-rank preview of all classes, and the full head's rows for the best of them."""

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
from treehead.deploy.c.kinds.dense import Settings, Stored, TwoLayers, two_layers
from treehead.deploy.c.program import Program, dense


@dataclass(frozen=True)
class Shortlist:
    """The full layer looks at the k best previews, or at those within a margin of the best."""

    preview: TwoLayers
    full: Layer
    k: int | None
    margin: int

    @property
    def reading(self) -> Reading:
        """How it reads features."""
        return self.preview.reading

    @property
    def fraction(self) -> int:
        """A logit is the number times 2^-fraction."""
        return self.full.fraction

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""
        previews, saturated = self.preview.logits(q)
        if self.k is None:
            least = previews.max(1, keepdims=True) - self.margin
        else:
            least = np.partition(previews, -self.k, axis=1)[:, [-self.k]]
        full = self.full(self.reading(q)[0])
        return np.where(previews >= least, full, NOT_ASKED), saturated

    def program(self) -> Program:
        """Its C: that of the preview, then the rows of the full layer."""
        stored = dense(self.preview.lower, self.preview.upper, self.full)
        parts, macros, tables, work = self.preview.program(stored)
        return Program(
            [*parts[:-1], "shortlist.c"],
            macros | {"K": self.k or 0, "MARGIN": self.margin},
            tables | stored.tables(self.full),
            work,
        )


def shortlist(
    arrays: Stored, settings: Settings, features: Features, sample: np.ndarray
) -> Shortlist:
    """A shortlist by number or by margin."""
    full, down = arrays["weight"], arrays["preview_down"]
    limit = input_limit(down.numbers, full.numbers)
    read = reading(features, arrays["exponent"], sample, limit)
    lower = down, np.zeros(len(down.scale))
    preview = two_layers(read, sample, lower, (arrays["preview_up"], arrays["preview_bias"]))
    return Shortlist(
        preview,
        finest(full, arrays["bias"], read.unit, limit),
        settings.get("k"),
        whole_margin(settings.get("margin", 0), preview.fraction),
    )
