"""A tree of two-bit weights on some of the features: small in flash and in instructions at once.

Parents are clusters of classes that a linear head confuses. All parents within a margin of the best
one have their children asked. A weight is -3, -1, 1 or 3 halves of a scale of its row, rounded in
the loop as in `lowbit`, and only the features that matter most are read.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import linear

from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import loop
from treehead.heads import tree as trees
from treehead.heads.costs import Cost
from treehead.heads.head import Head
from treehead.heads.layers import Linear, Tree


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    margin: Annotated[float, Ge(0)],
    kept: Annotated[int, Ge(1)],
    groups: Annotated[int, Ge(1)] = 10,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit a tree of full layers, keep the features that matter most to it, and fit again, rounding.

    Both times the training is the same; the second one starts at what the first one found.

    Args:
        margin: how far below the best parent's logit those may be whose children are asked.
        kept: how many features are read: those with the largest weights.
        groups: number of clusters.
    """
    parent_of = trees.learned(train, groups, training, seed, sample_weight)
    parents = int(parent_of.max()) + 1
    to_parent, to_class = trees.losses(train, parent_of, training, teacher, sample_weight)

    def minimise(inputs: Rows, weight: Callable[[], Tensor], bias: Tensor, *more: Tensor) -> None:
        def loss(x: Tensor, rows: Tensor) -> Tensor:
            logits = linear(x, weight(), bias)
            return to_parent(logits[:, :parents], rows) + to_class(logits[:, parents:], rows)

        model = nn.ParameterList([bias, *more])
        loop.train(model, loss, inputs=inputs, training=training, seed=seed, what="twobit")

    mean, std = loop.mean_and_deviation(train.features)
    centred = train.features.changed(lambda x: x - mean)
    bias = nn.Parameter(torch.zeros(parents + train.classes))
    full = nn.Parameter(torch.zeros(len(bias), len(mean)))
    minimise(centred, lambda: full, bias, full)
    matters = (full.detach() * torch.from_numpy(std)).square().sum(0)
    read = matters.topk(min(kept, len(matters))).indices.sort().values
    some = nn.Parameter(full.detach()[:, read])
    level = torch.arange(len(bias)) >= parents  # whether a row is of a child
    sizes = [some.detach()[level == lower].abs().mean() for lower in (False, True)]
    scale = nn.Parameter(torch.stack(sizes).log())

    def of_rows() -> Tensor:
        return scale.exp()[level.long(), None]

    def rounded() -> Tensor:
        return _rounded(some, of_rows())

    minimise(centred.changed(lambda x: x.take(read.numpy(), 1)), rounded, bias, some, scale)
    arrays = {
        "code": (some / of_rows()).detach().floor().clamp(-2, 1).numpy().astype(np.int8),
        "scale": scale.detach().exp().numpy(),
        "bias": (bias - rounded() @ torch.from_numpy(mean)[read]).detach().numpy(),
        "read": np.isin(np.arange(len(mean)), read),
        "parent_of": parent_of.astype(np.uint16),
    }
    return Head(arrays, {"margin": margin})


def _rounded(weight: Tensor, scale: Tensor) -> Tensor:
    """Weight rounded to halves of a scale, with the gradient of what it was within twice that."""
    size = (weight / scale).clamp(-2, 2)
    return scale * (size + (size.floor().clamp(-2, 1) + 0.5 - size).detach())


def assembled(head: Head) -> Tree:
    """The tree on all features, of which those that are not read weigh 0."""
    rows, parents = len(head["code"]), int(head["parent_of"].max()) + 1
    weight = np.zeros((rows, len(head["read"])), np.float32)
    scale = np.repeat(head["scale"], [parents, rows - parents])
    weight[:, head["read"]] = (head["code"] + 0.5) * scale[:, None]
    upper, lower = slice(parents), slice(parents, None)
    layers = (Linear(weight[part], head["bias"][part]) for part in (upper, lower))
    return Tree(*layers, head["parent_of"].astype(np.int64), "features")


def _asked(head: Head, tree: Tree, features: np.ndarray) -> np.ndarray:
    """Which classes are asked, (n, classes)."""
    parents = tree.parent.logits(features)
    near = parents >= parents.max(1, keepdims=True) - np.float32(head.settings["margin"])
    return near[:, tree.parent_of]


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes), -inf for classes that were not asked."""
    tree = assembled(head)
    return np.where(_asked(head, tree, features), tree.child.logits(features), -np.inf)


def cost(head: Head, features: np.ndarray) -> Cost:
    """Read features times parents and asked classes."""
    tree, (rows, read) = assembled(head), head["code"].shape
    asked, parents = _asked(head, tree, features).sum(1), len(tree.parent.bias)
    return Cost(read * (parents + asked), read * rows, 4 * parents + 2 * asked)
