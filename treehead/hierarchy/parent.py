"""The upper level of the tree: dim -> parents, trained for them alone or for their children too."""

from typing import Any

import numpy as np

from treehead.data import balance
from treehead.data.embeddings import Examples
from treehead.heads import linear, tree
from treehead.heads.layers import Linear


def fit(
    train: Examples,
    *,
    parent_of: np.ndarray,
    training: dict[str, Any],
    seed: int,
    objective: str,
    child_weight: float = 1.0,
    class_weights: str = "none",
) -> Linear:
    """Fit the parent layer.

    Args:
        train: features and fine labels.
        parent_of: parent of each class, (classes,).
        training: as for `loop.train`.
        seed: seed of initialisation and order.
        objective: "parent" is the loss of the parents alone. "joint" adds child_weight times that
            of a layer for the classes on the ReLU of the parent logits, so that these carry what
            children need.
        class_weights: as for `balance.class_weights`; an image weighs by its class, not by its
            parent, in both losses.
    """
    weights = balance.sample_weight(train.labels, train.classes, class_weights)
    shared = {"training": training, "seed": seed, "sample_weight": weights}
    if objective == "parent":
        parents = Examples(train.features, parent_of[train.labels], int(parent_of.max()) + 1)
        return Linear(**linear.fit(parents, **shared).arrays)
    joint = tree.fit(
        train, parent_of=parent_of, reads="parent_logits", child_weight=child_weight, **shared
    )
    return Linear(joint["parent_weight"], joint["parent_bias"])
