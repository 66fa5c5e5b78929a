"""Group lasso: a penalty on each feature's column of weights, so that features really reach zero.

The study put an L1 penalty on a scale for each feature that its optimiser never saw. A scale times
a column is a column: here its norm is what is penalised (Yuan and Lin, 2006).
"""

import math
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.functional import softmax

from treehead.artifacts import InputError
from treehead.console import progress
from treehead.data.embeddings import Examples
from treehead.heads import costs, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head

# The selection uses every fourth image, which finds the features as well as all images do.
_EVERY = 4


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    alpha: Annotated[float, Ge(0)],
    iterations: Annotated[int, Ge(1), Le(1000000)] = 40,
    teacher: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Select features by the lasso, then fit a full layer to those.

    Args:
        alpha: strength of the penalty alpha * sum over features of |column|.
        iterations: proximal steps of the selection.
        teacher: logits (n, classes) instead of the labels, for the layer on the selected features.
    """
    inputs, mean, std = loop.standardized(train.features)
    some, labels = inputs[::_EVERY].contiguous(), torch.from_numpy(train.labels)[::_EVERY]
    each = torch.ones(len(some), 1)
    if sample_weight is not None:
        each = torch.from_numpy(sample_weight)[::_EVERY, None]
        some = some - (each * some).mean(0) / each.mean()  # the steps are for centred inputs
    kept = _selected(some, torch.eye(train.classes)[labels], each, alpha, iterations)
    if not len(kept):
        raise InputError(f"No feature is left at the lasso's alpha {alpha}; lower it in heads.")
    inputs = inputs[:, kept].contiguous()
    torch.manual_seed(seed)
    layer = nn.Linear(len(kept), train.classes)
    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def loss(rows: Tensor) -> Tensor:
        return toward(layer(inputs[rows]), rows)

    loop.train(layer, loss, n=len(inputs), training=training, seed=seed, what="lasso")
    weight, bias = loop.folded(layer.weight, layer.bias, mean[kept], std[kept])
    return Head({"weight": weight, "bias": bias, "kept": kept.numpy().astype(np.uint16)})


@torch.no_grad()
def _selected(
    inputs: Tensor, target: Tensor, each: Tensor, alpha: float, iterations: int
) -> Tensor:
    """Places of the features whose columns are not zero in the penalised optimum.

    The penalty of a column is in inverse proportion to its norm without one (the adaptive lasso of
    Zou, 2006), so that important features are shrunk less.
    """
    free = _columns(inputs, target, each, torch.zeros(inputs.shape[1]), iterations).norm(dim=1)
    penalty = alpha * free.mean() / free.clamp_min(1e-6 * free.max())
    return _columns(inputs, target, each, penalty, iterations).norm(dim=1).nonzero()[:, 0]


def _columns(
    inputs: Tensor, target: Tensor, each: Tensor, penalty: Tensor, iterations: int
) -> Tensor:
    """Columns (dim, classes) of softmax regression with penalty (dim,) times each one's norm.

    By accelerated proximal steps (Beck and Teboulle, 2009): the Hessian is at most half of the
    inputs' covariance.

    Args:
        inputs: centred, (n, dim).
        target: probabilities of the classes, (n, classes).
        each: weight of each image, (n, 1).
        penalty: of each column, (dim,).
        iterations: number of steps.
    """
    n, dim = inputs.shape
    step = 2 / loop.decomposed(torch.linalg.eigvalsh, inputs.T @ (each * inputs) / n)[-1]
    weight = ahead = torch.zeros(dim, target.shape[1])
    bias = (each * target).mean(0).clamp_min(1e-6).log()
    momentum = 1.0
    for _ in progress(range(iterations), "lasso", iterations, "steps"):
        error = each * (softmax(inputs @ ahead + bias, 1) - target)
        moved = ahead - step * (inputs.T @ error / n)
        norm = moved.norm(dim=1, keepdim=True)
        shrunk = moved * (1 - step * penalty[:, None] / norm.clamp_min(1e-12)).clamp_min(0)
        bias = bias - error.mean(0)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / following * (shrunk - weight)
        weight, momentum = shrunk, following
    return weight


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return features[:, head["kept"]] @ head["weight"].T + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """classes MACs for each kept feature, which is looked up."""
    classes, kept = head["weight"].shape
    return costs.same_for_all(len(features), macs=classes * kept, other=kept + 2 * classes)
