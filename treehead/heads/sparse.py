"""Sparse: each class keeps some of its weights. 100 classes of 68 weights are 6,800 MACs.

Sparse multiplications are not cycles: each weight looks its feature up. A structured head keeps one
weight of each group of features in a row (1:M sparsity), so that a place takes log2(M) bits and the
loop over the groups is regular.
"""

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from treehead.artifacts import Tensors
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import costs, loop, pruning
from treehead.heads.costs import Cost
from treehead.heads.head import Head


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    kept: Annotated[int, Ge(1)],
    structured: bool = False,
    pruned: Annotated[float, Gt(0), Lt(1)] = 0.8,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit a full layer and prune it while it trains.

    Args:
        kept: weights of each class.
        structured: keep one of each group of features; `kept` becomes the number of groups.
        pruned: share of the steps after which pruning ends.
    """
    inputs, mean, std = loop.standardized(train.features)
    dim = inputs.shape[1]
    torch.manual_seed(seed)
    layer = nn.Linear(dim, train.classes)
    nn.init.zeros_(layer.weight)
    size = pruning.final_count(dim, kept, structured)
    prune = pruning.Pruning(layer.weight, [size], structured, pruned)
    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return toward(nn.functional.linear(x, layer.weight * prune.masks[0], layer.bias), rows)

    loop.train(
        layer, loss, inputs=inputs, training=training, seed=seed, what="sparse", before_step=prune
    )
    return Head(folded(layer.weight, prune.masks[0], layer.bias, mean, std))


def folded(
    weight: torch.Tensor,
    mask: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
) -> Tensors:
    """The kept weights on raw features (classes, kept), their mask (classes, dim), and the bias."""
    raw, offset = loop.folded(weight * mask, bias, mean, std)
    return {
        "values": pruning.gathered(torch.from_numpy(raw), mask).numpy(),
        "mask": mask.bool().numpy(),
        "bias": offset,
    }


def dense(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The weight (classes, dim) of kept values (classes, kept) at the places of a mask."""
    weight = np.zeros(mask.shape, np.float32)
    weight[mask] = values.ravel()
    return weight


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return features @ dense(head["values"], head["mask"]).T + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """A MAC and a look-up for each kept weight."""
    macs, classes = head["values"].size, len(head["bias"])
    return costs.same_for_all(len(features), macs=macs, other=macs + 2 * classes)
