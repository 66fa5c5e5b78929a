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
    features: np.ndarray, labels: np.ndarray, classes: int, settings: dict[str, Any], seed: int
) -> Linear:
    """Fit on features float32 (n, dim) and labels int64 (n,); `settings` as `training.train` has them."""
    inputs, mean, std = training.standardized(features)
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], classes)
    training.train(
        layer,
        lambda x, y: cross_entropy(layer(x), y),
        inputs,
        torch.from_numpy(labels),
        settings,
        seed,
    )
    return Linear(*training.folded(layer, mean, std))
