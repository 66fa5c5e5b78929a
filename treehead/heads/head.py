"""A fitted head: the arrays that it learned, and the settings by which it predicts."""

from dataclasses import dataclass, field

import numpy as np

from treehead.artifacts import Tensors

Setting = bool | int | float | str | list[float]


@dataclass(frozen=True)
class Head:
    """A fitted head; `head["weight"]` is the array of that name.

    Args:
        arrays: what it learned, by name.
        settings: how it predicts, by name, such as the number of parents that are asked.
    """

    arrays: Tensors
    settings: dict[str, Setting] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]
