"""Non-negative weights on non-negative features: parts that add up, in one layer or in two.

The study's ReLU weights died at their symmetric initialisation and its sigmoid weights drowned the
logits; both are kept as options to show that. Softplus weights train.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.functional import softplus

from treehead.data.embeddings import Examples
from treehead.heads import costs, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head

_WEIGHTS = {"softplus": softplus, "relu": torch.relu, "sigmoid": torch.sigmoid}


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    width: Annotated[int, Ge(1), Le(100000)] | None = None,
    weights: Literal["softplus", "relu", "sigmoid"] = "softplus",
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit one layer dim -> classes, or two, dim -> width -> classes, without a ReLU between.

    Args:
        width: width of the middle; None for one layer.
        weights: what makes a parameter a weight: "softplus", "relu" or "sigmoid".
    """
    read = train.features.changed(lambda x: np.maximum(x, 0))
    _, std = loop.mean_and_deviation(read)
    scale = np.where(std > 0, 1 / np.maximum(std, np.float32(1e-12)), np.float32(0))
    inputs = read.changed(lambda x: x * scale)
    torch.manual_seed(seed)
    sizes = [inputs.shape[1], *([width] if width else []), train.classes]
    free = nn.ParameterList(_start(outputs, before, weights) for before, outputs in pairwise(sizes))
    bias = nn.Parameter(torch.zeros(train.classes))
    positive = _WEIGHTS[weights]
    toward = loop.toward(train.labels, None, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        hidden = x
        for weight in free:
            hidden = hidden @ positive(weight).T
        return toward(hidden + bias, rows)

    model = nn.ParameterList([*free, bias])
    loop.train(model, loss, inputs=inputs, training=training, seed=seed, what="nonnegative")
    layers = [positive(weight).detach() for weight in free]
    layers[0] = layers[0] * torch.from_numpy(scale)
    named = {f"weight_{index}": layer.numpy() for index, layer in enumerate(layers)}
    return Head({**named, "bias": bias.detach().numpy()})


def _start(outputs: int, inputs: int, weights: str) -> Tensor:
    """Parameters of small positive weights; of the study's symmetric ones for its own variants."""
    if weights == "softplus":
        return torch.randn(outputs, inputs) - 4
    return nn.Linear(inputs, outputs).weight.detach()


def chain(head: Head) -> list[np.ndarray]:
    return [head[name] for name in sorted(head.arrays) if name.startswith("weight")]


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    hidden = np.maximum(features, 0)
    for weight in chain(head):
        hidden = hidden @ weight.T
    return hidden + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """Dense layers; a ReLU compares each feature."""
    layers = chain(head)
    macs = sum(weight.size for weight in layers)
    other = layers[0].shape[1] + 2 * len(head["bias"])
    return costs.same_for_all(len(features), macs=macs, other=other)
