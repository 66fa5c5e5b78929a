"""The full head: dim -> classes, softmax regression. What every compact head is compared with."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from treehead.heads import training


class Linear(NamedTuple):
    """Weight (classes, dim) and bias (classes,), float32."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features (n, dim) -> logits (n, classes)."""
        return features @ self.weight.T + self.bias

    def macs(self) -> int:
        """Multiplications for one image."""
        return self.weight.size


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    settings: dict[str, Any],
    seed: int,
    what: str = "linear head",
) -> Linear:
    """Fit on features float32 (n, dim), labels int64 (n,); the rest as in `training.train`."""
    inputs, mean, std = training.standardized(features)
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], classes)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(layer(x), y)

    training.train(layer, loss, inputs, torch.from_numpy(labels), settings, seed, what)
    return Linear(*training.folded(layer, mean, std))
