"""Low rank: dim -> rank -> classes without a non-linearity, rank * (dim + classes) MACs.

The study's "adaptive" heads, without its dropout in the bottleneck, and its heads on principal
components, whose product it did not count.
"""

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import costs, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    rank: Annotated[int, Ge(1)],
    basis: Literal["trained", "pca"] = "trained",
    relu: bool = False,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit both layers.

    Args:
        rank: width of the bottleneck.
        basis: "trained" starts at the discriminant directions and trains them; "pca" keeps the
            principal components of the standardised features.
        relu: read the ReLU of the features, as some of the study's heads do.
    """
    inputs, mean, std = loop.standardized(train.features.changed(partial(_read, relu=relu)))
    rank = min(rank, inputs.shape[1])
    torch.manual_seed(seed)
    start = {"trained": _discriminants, "pca": _principal}[basis](inputs, train, rank)
    down = nn.Parameter(start, requires_grad=basis == "trained")
    up = nn.Linear(rank, train.classes)
    model = nn.ParameterList([down, *up.parameters()])
    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return toward(up(x @ down.T), rows)

    loop.train(model, loss, inputs=inputs, training=training, seed=seed, what="lowrank")
    weight, offset = loop.folded(down, torch.zeros(rank), mean, std)
    upper = up.weight.detach().numpy()
    bias = up.bias.detach().numpy() + upper @ offset
    return Head({"down": weight, "up": upper, "bias": bias}, {"relu": relu})


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return _read(features, head.settings["relu"]) @ head["down"].T @ head["up"].T + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """rank * (dim + classes) MACs; the ReLU compares each feature."""
    (rank, dim), classes = head["down"].shape, len(head["bias"])
    other = 2 * classes + dim * head.settings["relu"]
    return costs.same_for_all(len(features), macs=rank * (dim + classes), other=other)


def _read(features: np.ndarray, relu: bool) -> np.ndarray:
    return np.maximum(features, 0) if relu else features


def _principal(inputs: Rows, train: Examples, rank: int) -> Tensor:
    """The principal components of inputs (n, dim), (rank, dim), of unit variance."""
    variances, components = loop.decomposed(torch.linalg.eigh, loop.covariance(inputs))
    largest = components.T[-rank:].flip(0)
    return largest / variances[-rank:].flip(0).clamp_min(1e-6).sqrt()[:, None]


def _discriminants(inputs: Rows, train: Examples, rank: int) -> Tensor:
    """The directions (rank, dim) that part the class means best in the metric of the features.

    Reduced-rank regression on the classes (Izenman, 1975), that is linear discriminant analysis;
    past the number of classes, principal components follow.
    """
    labels = torch.from_numpy(train.labels)
    sums = torch.zeros(train.classes, inputs.shape[1])
    for rows in inputs.slices():
        sums.index_add_(0, labels[rows], torch.from_numpy(inputs[rows]))
    counts = torch.bincount(labels, minlength=train.classes).clamp_min(1)[:, None]
    covariance = loop.covariance(inputs) + 1e-3 * torch.eye(inputs.shape[1])
    whitener = torch.linalg.inv(loop.decomposed(torch.linalg.cholesky, covariance))
    means = (sums / counts.sqrt()) @ whitener.T
    directions = loop.decomposed(_right_vectors, means)[:rank] @ whitener
    if len(directions) < rank:
        more = _principal(inputs, train, rank - len(directions))
        directions = torch.cat([directions, more])
    return directions


def _right_vectors(matrix: Tensor) -> Tensor:
    return torch.linalg.svd(matrix, full_matrices=False).Vh
