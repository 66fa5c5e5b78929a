"""The upper level of the tree: dim -> parents, trained for them alone or for their children too."""

from typing import Any

import numpy as np
import torch
from torch import nn

from treehead.heads import loop
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
    parents = int(parent_of.max()) + 1
    inputs, mean, std = loop.standardized(features)
    torch.manual_seed(seed)
    upper = nn.Linear(inputs.shape[1], parents)
    to_parent = loop.toward(parent_of[fine], None, 1)
    if settings["objective"] == "parent":
        model: nn.Module = upper

        def loss(rows: torch.Tensor) -> torch.Tensor:
            return to_parent(upper(inputs[rows]), rows)

    else:
        lower = nn.Linear(parents, len(parent_of))
        model = nn.ModuleList([upper, lower])
        to_fine = loop.toward(fine, None, 1)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            """Parent + child_weight * class, so that the logits carry what children need.

            The ReLU stands here since the children, who replace the lower layer, read through one.
            """
            logits = upper(inputs[rows])
            fine_loss = to_fine(lower(logits.relu()), rows)
            return to_parent(logits, rows) + settings["child_weight"] * fine_loss

    loop.train(model, loss, len(inputs), settings, seed, "parent")
    return Linear(*loop.folded(upper.weight, upper.bias, mean, std))
