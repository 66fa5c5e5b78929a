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
from treehead.data.rows import Rows
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
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Select features by the lasso, then fit a full layer to those.

    Args:
        alpha: strength of the penalty alpha * sum over features of |column|.
        iterations: proximal steps of the selection.
        teacher: logits (n, classes) instead of the labels, for the layer on the selected features.
    """
    inputs, mean, std = loop.standardized(train.features)
    some = inputs.every(_EVERY)
    weights = np.ones(len(some), np.float32)
    if sample_weight is not None:
        weights = sample_weight[::_EVERY]
        centre = _mean(some, weights)  # the steps are for centred inputs
        some = some.changed(lambda x: x - centre)
    seen = Examples(some.held(), train.labels[::_EVERY], train.classes)
    kept = _selected(seen, weights, alpha, iterations)
    if not len(kept):
        raise InputError(f"No feature is left at the lasso's alpha {alpha}; lower it in heads.")
    inputs = inputs.changed(lambda x: x.take(kept, 1))
    torch.manual_seed(seed)
    layer = nn.Linear(len(kept), train.classes)
    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return toward(layer(x), rows)

    loop.train(layer, loss, inputs=inputs, training=training, seed=seed, what="lasso")
    weight, bias = loop.folded(layer.weight, layer.bias, mean[kept], std[kept])
    return Head({"weight": weight, "bias": bias, "kept": kept.astype(np.uint16)})


def _mean(inputs: Rows, weights: np.ndarray) -> np.ndarray:
    """Mean of inputs (n, dim) of images that weigh (n,)."""
    sums = sum((weights[rows, None] * inputs[rows]).sum(0) for rows in inputs.slices())
    return sums / weights.sum()


def _selected(train: Examples, weights: np.ndarray, alpha: float, iterations: int) -> np.ndarray:
    """Places of the features whose columns are not zero in the penalised optimum.

    The penalty of a column is in inverse proportion to its norm without one (the adaptive lasso of
    Zou, 2006), so that important features are shrunk less.
    """
    none = torch.zeros(train.features.shape[1])
    free = _columns(train, weights, none, iterations).norm(dim=1)
    penalty = alpha * free.mean() / free.clamp_min(1e-6 * free.max())
    return _columns(train, weights, penalty, iterations).norm(dim=1).nonzero()[:, 0].numpy()


@torch.no_grad()
def _columns(train: Examples, weights: np.ndarray, penalty: Tensor, iterations: int) -> Tensor:
    """Columns (dim, classes) of softmax regression with penalty (dim,) times each one's norm.

    By accelerated proximal steps (Beck and Teboulle, 2009): the Hessian is at most half of the
    inputs' covariance.

    Args:
        train: its features are centred.
        weights: of the images, (n,).
        penalty: of each column, (dim,).
        iterations: number of steps.
    """
    spread = loop.covariance(train.features, weights)
    step = 2 / loop.decomposed(torch.linalg.eigvalsh, spread)[-1]
    shares = np.bincount(train.labels, weights, train.classes) / len(train.labels)
    weight = ahead = torch.zeros(len(penalty), train.classes)
    bias = torch.from_numpy(shares).float().clamp_min(1e-6).log()
    momentum = 1.0
    for _ in progress(range(iterations), "lasso", iterations, "steps"):
        slope, error = _gradient(train, weights, ahead, bias)
        moved = ahead - step * slope
        norm = moved.norm(dim=1, keepdim=True)
        shrunk = moved * (1 - step * penalty[:, None] / norm.clamp_min(1e-12)).clamp_min(0)
        bias = bias - error
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / following * (shrunk - weight)
        weight, momentum = shrunk, following
    return weight


def _gradient(
    train: Examples, weights: np.ndarray, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the mean cross-entropy: by the columns (dim, classes), and by the bias (classes,)."""
    slope, error = torch.zeros_like(weight), torch.zeros_like(bias)
    for rows in train.features.slices():
        x = torch.from_numpy(train.features[rows])
        off = softmax(x @ weight + bias, 1)
        off[torch.arange(len(x)), torch.from_numpy(train.labels[rows])] -= 1
        off *= torch.from_numpy(weights[rows, None])
        slope += x.T @ off
        error += off.sum(0)
    n = len(train.labels)
    return slope / n, error / n


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return features[:, head["kept"]] @ head["weight"].T + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """classes MACs for each kept feature, which is looked up."""
    classes, kept = head["weight"].shape
    return costs.same_for_all(len(features), macs=classes * kept, other=kept + 2 * classes)
