"""The study's "shift": one layer for parents and children, on features that the parent scales.

The shared layer gives the parents of the features, and the children of the features times their
parent's vector: a child is a row of that layer, by its place among its siblings. Its
cross-entropies are those of logits, where the study's were of probabilities.
"""

from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from treehead.data.embeddings import Examples
from treehead.heads import loop
from treehead.heads import tree as trees
from treehead.heads.costs import Cost
from treehead.heads.head import Head
from treehead.heads.layers import Linear, Tree


def fit(
    train: Examples,
    *,
    parent_of: np.ndarray,
    training: dict[str, Any],
    seed: int,
    tree: Literal["taxonomy", "clusters", "random"] = "clusters",
    groups: Annotated[int, Ge(1)] = 10,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit the shared layer and the vectors; the arguments are those of `tree.fit`."""
    parent_of = trees.partition(train, parent_of, tree, groups, training, seed, sample_weight)
    place = _places(parent_of)
    parents, places = int(parent_of.max()) + 1, int(place.max()) + 1
    inputs, mean, std = loop.standardized(train.features)
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], max(parents, places))
    vectors = nn.Parameter(torch.ones(parents, inputs.shape[1]))
    parent = torch.from_numpy(parent_of[train.labels])
    empty = torch.arange(places) >= torch.bincount(torch.from_numpy(parent_of))[:, None]

    to_parent = loop.toward(parent_of[train.labels], None, training, sample_weight)
    to_child = loop.toward(place[train.labels], None, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        p = parent[rows]
        children = layer(x * vectors[p])[:, :places].masked_fill(empty[p], -torch.inf)
        return to_parent(layer(x)[:, :parents], rows) + to_child(children, rows)

    model = nn.ParameterList([*layer.parameters(), vectors])
    loop.train(model, loss, inputs=inputs, training=training, seed=seed, what="shift")
    arrays = {
        "mean": mean.numpy(),
        "inverse_std": (1 / std).numpy(),
        "weight": layer.weight.detach().numpy(),
        "bias": layer.bias.detach().numpy(),
        "vectors": vectors.detach().numpy(),
        "parent_of": parent_of.astype(np.uint16),
    }
    return Head(arrays)


def _places(parent_of: np.ndarray) -> np.ndarray:
    """The place of each class among its siblings, (classes,)."""
    return np.array([int((parent_of[:fine] == p).sum()) for fine, p in enumerate(parent_of)])


def as_tree(head: Head) -> Tree:
    """The same function with a separate row for each child, on standardised features."""
    parent_of = head["parent_of"].astype(np.int64)
    place, parents = _places(parent_of), len(head["vectors"])
    parent = Linear(head["weight"][:parents], head["bias"][:parents])
    child = Linear(head["weight"][place] * head["vectors"][parent_of], head["bias"][place])
    return Tree(parent, child, parent_of, reads="features")


def _standardized(head: Head, features: np.ndarray) -> np.ndarray:
    return (features - head["mean"]) * head["inverse_std"]


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes), -inf for classes that were not asked."""
    tree, read = as_tree(head), _standardized(head, features)
    return tree.scores(read, tree.route(read, 1))


def cost(head: Head, features: np.ndarray) -> Cost:
    """dim products to standardise and to shift, and a row of dim for each parent and child."""
    tree, dim = as_tree(head), features.shape[1]
    macs, worst, other = tree.cost(tree.route(_standardized(head, features), 1))
    return Cost(macs + 2 * dim, worst + 2 * dim, other + dim)
