"""One wide hidden layer on the features: costlier than the full head, and a teacher of others."""

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn

from treehead.data.embeddings import Examples
from treehead.heads import costs, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    width: Annotated[int, Ge(1), Le(100000)],
    dropout: Annotated[float, Ge(0), Lt(1)],
    input_dropout: Annotated[float, Ge(0), Lt(1)],
    label_smoothing: Annotated[float, Ge(0), Lt(1)],
    sample_weight: np.ndarray | None = None,
) -> Head:
    """dim -> width -> classes with a ReLU, and dropout of the features and of the hidden layer."""
    inputs, mean, std = loop.standardized(train.features)
    torch.manual_seed(seed)
    hidden = nn.Linear(inputs.shape[1], width)
    output = nn.Linear(width, train.classes)
    model = nn.Sequential(nn.Dropout(input_dropout), hidden, nn.ReLU(), nn.Dropout(dropout), output)
    toward = loop.toward(train.labels, None, training, sample_weight, label_smoothing)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return toward(model(x), rows)

    loop.train(model, loss, inputs=inputs, training=training, seed=seed, what="mlp")
    weight, bias = loop.folded(hidden.weight, hidden.bias, mean, std)
    arrays = {
        "hidden_weight": weight,
        "hidden_bias": bias,
        "weight": output.weight.detach().numpy(),
        "bias": output.bias.detach().numpy(),
    }
    return Head(arrays)


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    hidden = np.maximum(features @ head["hidden_weight"].T + head["hidden_bias"], 0)
    return hidden @ head["weight"].T + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """Two dense layers; a ReLU compares each hidden number."""
    width, classes = len(head["hidden_bias"]), len(head["bias"])
    macs = head["hidden_weight"].size + head["weight"].size
    return costs.same_for_all(len(features), macs=macs, other=2 * width + 2 * classes)
