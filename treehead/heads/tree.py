"""A tree of two levels: a parent layer routes each image to some parents, whose children compete.

Both layers are trained together, the children against all classes, so that the children of two
parents can be compared. On clusters with a matrix for each parent this is the study's "modifier".
"""

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from treehead.data import clusters
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import linear, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head
from treehead.heads.layers import Linear, Tree


def fit(
    train: Examples,
    *,
    parent_of: np.ndarray,
    training: dict[str, Any],
    seed: int,
    tree: Literal["taxonomy", "clusters", "random"] = "taxonomy",
    groups: Annotated[int, Ge(1)] = 10,
    reads: Literal["features", "parent_logits"] = "features",
    child_weight: Annotated[float, Gt(0)] = 1.0,
    k: Annotated[int, Ge(1)] = 1,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit with the loss parent + child_weight * class.

    Args:
        parent_of: parent of each class in the taxonomy of the configuration, (classes,).
        tree: "taxonomy", "clusters" (learned from what a linear head confuses) or "random".
        groups: number of clusters, of a random tree too.
        reads: what children read, "features" or "parent_logits" (through a ReLU, as the study's).
        k: number of parents whose children are asked.
        teacher: logits (n, classes) instead of the labels.
        sample_weight: weight of each image (n,) in both losses.
    """
    parent_of = partition(train, parent_of, tree, groups, training, seed, sample_weight)
    inputs, mean, std = loop.standardized(train.features)
    torch.manual_seed(seed)
    upper = nn.Linear(inputs.shape[1], int(parent_of.max()) + 1)
    lower = nn.Linear(inputs.shape[1] if reads == "features" else upper.out_features, train.classes)
    to_parent, to_class = losses(train, parent_of, training, teacher, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        logits = upper(x)
        read = x if reads == "features" else logits.relu()
        return to_parent(logits, rows) + child_weight * to_class(lower(read), rows)

    model = nn.ModuleList([upper, lower])
    loop.train(model, loss, inputs=inputs, training=training, seed=seed, what="tree")
    parent = Linear(*loop.folded(upper.weight, upper.bias, mean, std))
    child = Linear(lower.weight.detach().numpy(), lower.bias.detach().numpy())
    if reads == "features":
        child = Linear(*loop.folded(lower.weight, lower.bias, mean, std))
    arrays = {
        "parent_weight": parent.weight,
        "parent_bias": parent.bias,
        "child_weight": child.weight,
        "child_bias": child.bias,
        "parent_of": parent_of.astype(np.uint16),
    }
    return Head(arrays, {"k": k, "reads": reads})


def partition(
    train: Examples,
    parent_of: np.ndarray,
    tree: str,
    groups: int,
    training: dict[str, Any],
    seed: int,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """The parent of each class, (classes,), by the kind of tree."""
    if tree == "taxonomy":
        return parent_of
    if tree == "random":
        return clusters.random(train.classes, min(groups, train.classes), seed)
    return learned(train, groups, training, seed, sample_weight)


def learned(
    train: Examples,
    groups: int,
    training: dict[str, Any],
    seed: int,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """The cluster of each class, (classes,): `groups` of those that a linear head confuses."""
    flat = linear.fit(train, training=training, seed=seed, sample_weight=sample_weight)
    logits = train.features.changed(partial(linear.predict, flat))
    confused = clusters.confusion(logits, train.labels)
    return clusters.balanced(clusters.similarity(confused), min(groups, train.classes), seed)


def losses(
    train: Examples,
    parent_of: np.ndarray,
    training: dict[str, Any],
    teacher: Rows | None,
    sample_weight: np.ndarray | None,
) -> tuple[loop.Loss, loop.Loss]:
    """The losses of the logits of the parents and of the classes."""
    of_parents = None
    if teacher is not None:
        temperature = training["temperature"]
        of_parents = teacher.changed(lambda logits: _summed(logits, parent_of, temperature))
    to_parent = loop.toward(parent_of[train.labels], of_parents, training, sample_weight)
    return to_parent, loop.toward(train.labels, teacher, training, sample_weight)


def _summed(teacher: np.ndarray, parent_of: np.ndarray, temperature: float) -> np.ndarray:
    """A teacher's logits of the parents, (n, parents): those of the sums of its probabilities."""
    scaled = teacher / temperature
    exponentials = np.exp(scaled - scaled.max(1, keepdims=True))
    sums = exponentials @ np.eye(int(parent_of.max()) + 1, dtype=np.float32)[parent_of]
    return temperature * np.log(np.maximum(sums, np.finfo(np.float32).tiny))


def assembled(head: Head) -> Tree:
    """The tree of a head's arrays."""
    return Tree(
        Linear(head["parent_weight"], head["parent_bias"]),
        Linear(head["child_weight"], head["child_bias"]),
        head["parent_of"].astype(np.int64),
        head.settings["reads"],
    )


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes), -inf for classes that were not asked."""
    tree = assembled(head)
    return tree.scores(features, tree.route(features, head.settings["k"]))


def cost(head: Head, features: np.ndarray) -> Cost:
    """The parent layer, and the children of the routed parents."""
    tree = assembled(head)
    return tree.cost(tree.route(features, head.settings["k"]))
