"""A tree of ternary weights on some of the features: small in bytes and in instructions at once.

Parents are clusters of classes that a linear head confuses. All parents within a margin of the best
one have their children asked. All weights are -1, 0 or 1 times a scale of their row, rounded in the
loop as in `lowbit`, and only the features that matter most are read.
"""

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import linear

from treehead.data.embeddings import Examples
from treehead.heads import loop, lowbit
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
    rounded: Annotated[float, Gt(0), Lt(1)] = 0.3,
    teacher: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit parents and classes as two full layers; after some of the steps prune and round both.

    Args:
        margin: how far below the best parent's logit those may be whose children are asked.
        kept: how many features are read: those with the largest weights.
        groups: number of clusters.
        rounded: share of the steps after which features are chosen and weights rounded.
    """
    parent_of = trees.learned(train, groups, training, seed, sample_weight)
    parents = int(parent_of.max()) + 1
    raw = torch.from_numpy(train.features)
    std, mean = torch.std_mean(raw, dim=0)
    inputs = raw - mean
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], parents + train.classes)
    nn.init.zeros_(layer.weight)
    scale = nn.Parameter(torch.zeros(len(layer.weight), 1))
    read = torch.ones(inputs.shape[1])
    rounding = False

    @torch.no_grad()
    def start_rounding(done: float) -> None:
        nonlocal rounding
        if rounding or done < rounded:
            return
        rounding = True
        largest = (layer.weight * std).square().sum(0).topk(min(kept, len(read))).indices
        read.zero_()[largest] = 1
        layer.weight.mul_(read)
        scale.copy_((1.2 * layer.weight.abs().sum(1, keepdim=True) / read.sum()).log())

    def weight() -> Tensor:
        return lowbit.of_three(layer.weight, scale.exp()) * read if rounding else layer.weight

    to_parent, to_class = trees.losses(train, parent_of, training, teacher, sample_weight)

    def loss(rows: Tensor) -> Tensor:
        logits = linear(inputs[rows], weight(), layer.bias)
        return to_parent(logits[:, :parents], rows) + to_class(logits[:, parents:], rows)

    loop.train(
        nn.ParameterList([*layer.parameters(), scale]),
        loss,
        n=len(inputs),
        training=training,
        seed=seed,
        what="ternary",
        before_step=start_rounding,
    )
    size = scale.detach().exp()
    code = (layer.weight.detach() / size).clamp(-1, 1).round()[:, read.bool()]
    arrays = {
        "code": code.numpy().astype(np.int8),
        "scale": size.numpy()[:, 0],
        "bias": (layer.bias - weight() @ mean).detach().numpy(),
        "read": read.bool().numpy(),
        "parent_of": parent_of.astype(np.uint16),
    }
    return Head(arrays, {"margin": margin})


def assembled(head: Head) -> Tree:
    """The tree on all features, of which those that are not read weigh 0."""
    rows, parents = len(head["code"]), int(head["parent_of"].max()) + 1
    weight = np.zeros((rows, len(head["read"])), np.float32)
    weight[:, head["read"]] = head["code"] * head["scale"][:, None]
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
    """Read features times parents and asked classes, as if additions were multiplications."""
    tree, (rows, read) = assembled(head), head["code"].shape
    asked, parents = _asked(head, tree, features).sum(1), len(tree.parent.bias)
    return Cost(read * (parents + asked), read * rows, 4 * parents + 2 * asked)
