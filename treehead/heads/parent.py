"""The upper level of the tree: dim -> parents, trained for them alone or for their children too."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from treehead.heads import linear, training
from treehead.heads.linear import Linear


def fit(
    features: np.ndarray,
    fine: np.ndarray,
    parent_of: np.ndarray,
    settings: dict[str, Any],
    seed: int,
) -> Linear:
    """Fit the parent layer.

    Args:
        features: float32 (n, dim).
        fine: fine labels, int64 (n,).
        parent_of: parent of each fine class, int64 (classes,).
        settings: the `parent` part of the config; its `objective` chooses the loss.
        seed: seed of initialisation and order.
    """
    if settings["objective"] == "parent":
        parents = int(parent_of.max()) + 1
        return linear.fit(features, parent_of[fine], parents, settings, seed, "parent")
    return _fit_joint(features, fine, parent_of, settings, seed)


def _fit_joint(
    features: np.ndarray,
    fine: np.ndarray,
    parent_of: np.ndarray,
    settings: dict[str, Any],
    seed: int,
) -> Linear:
    """dim -> parents -> ReLU -> classes, of which the first layer is kept.

    With the loss parent + child_weight * class, the parent logits carry what their children need.
    The ReLU stands here since the children, who replace the second layer, read through one.
    """
    inputs, mean, std = training.standardized(features)
    torch.manual_seed(seed)
    upper = nn.Linear(inputs.shape[1], int(parent_of.max()) + 1)
    lower = nn.Linear(upper.out_features, len(parent_of))
    parents = torch.from_numpy(parent_of)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = upper(x)
        fine_loss = cross_entropy(lower(logits.relu()), y)
        return cross_entropy(logits, parents[y]) + settings["child_weight"] * fine_loss

    model = nn.ModuleList([upper, lower])
    training.train(model, loss, inputs, torch.from_numpy(fine), settings, seed, "parent")
    return Linear(*training.folded(upper, mean, std))
