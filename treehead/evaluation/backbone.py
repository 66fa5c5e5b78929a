"""The head that a backbone was trained with, on test and on val."""

from typing import Any

import torch
from torch import Tensor

from treehead.artifacts import InputError, Tensors
from treehead.data.embeddings import Embeddings
from treehead.evaluation import metrics
from treehead.training.objectives import Objective

# What the share of right answers is called.
_NAMES = {"parent": "parent_accuracy", "fine": "accuracy"}


def evaluate(
    tensors: Tensors, settings: dict[str, Any], val: Embeddings, test: Embeddings
) -> dict[str, Any]:
    """The accuracy of each of the head's outputs with its interval, val's beside it, and its MACs.

    Args:
        tensors: the head's arrays.
        settings: the `variant` that was trained, its `objective`, `parent_of` and `epochs`.
        val, test: features of the trained backbone, of the images as they are.
    """
    if settings["epochs"] == 0:
        raise InputError(
            "The backbone was not trained here, so it has no head of its own; set finetune.epochs."
        )
    dim, parent_of = test.features.shape[2], torch.tensor(settings["parent_of"])
    head = Objective(dim, parent_of, settings["objective"])
    head.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    right, on_val = head.right(*_first_view(test)), head.right(*_first_view(val))
    report = {"network": settings["variant"]}
    report |= {_NAMES[level]: count / len(test.fine) for level, count in right.items()}
    for level, count in right.items():
        report[f"{_NAMES[level]}_ci95"] = metrics.wilson_interval(count, len(test.fine))
        report[f"val_{_NAMES[level]}"] = on_val[level] / len(val.fine)
    return report | {"macs": head.macs(), "n_test": len(test.fine)}


def _first_view(part: Embeddings) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.features[0]), torch.from_numpy(part.fine)
