"""The full head: dim -> classes, softmax regression. What every compact head is compared with."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from treehead.artifacts import Tensors
from treehead.data.embeddings import Examples
from treehead.heads import costs, loop
from treehead.heads.costs import Cost


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
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    teacher: np.ndarray | None = None,
) -> Tensors:
    """Fit to the labels, or to the logits (n, classes) of a teacher."""
    inputs, mean, std = loop.standardized(train.features)
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], train.classes)
    loss = loop.toward(train.labels, teacher, training["temperature"])
    loop.train(
        layer, lambda rows: loss(layer(inputs[rows]), rows), len(inputs), training, seed, "linear"
    )
    return Linear(*loop.folded(layer.weight, layer.bias, mean, std))._asdict()


def predict(head: Tensors, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return Linear(**head).logits(features)


def cost(head: Tensors, features: np.ndarray) -> Cost:
    """dim * classes MACs; the bias adds a number to each logit, of which the largest is sought."""
    classes, dim = head["weight"].shape
    return costs.same_for_all(len(features), macs=classes * dim, other=2 * classes)
