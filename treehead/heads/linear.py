"""The full head: dim -> classes, softmax regression. What every compact head is compared with."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import costs, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head
from treehead.heads.layers import Linear


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit to the labels, or to the logits (n, classes) of a teacher."""
    inputs, mean, std = loop.standardized(train.features)
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], train.classes)
    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return toward(layer(x), rows)

    loop.train(layer, loss, inputs=inputs, training=training, seed=seed, what="linear")
    return Head(Linear(*loop.folded(layer.weight, layer.bias, mean, std))._asdict())


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return Linear(**head.arrays).logits(features)


def cost(head: Head, features: np.ndarray) -> Cost:
    """dim * classes MACs; the bias adds a number to each logit, of which the largest is sought."""
    classes, dim = head["weight"].shape
    return costs.same_for_all(len(features), macs=classes * dim, other=2 * classes)
