"""The head that a backbone was trained with, on test and on val."""

from typing import Any

import numpy as np
import torch

from treehead.artifacts import InputError, Tensors
from treehead.data.embeddings import Embeddings
from treehead.evaluation import metrics
from treehead.training.objectives import Objective

# What the names of the figures of each level begin with.
_PREFIX = {"parent": "parent_", "child": "child_", "fine": ""}


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
    report, beside = {"network": settings["variant"]}, {}
    on_val = _answers(head, val)
    for level, answers in _answers(head, test).items():
        prefix = _PREFIX[level]
        report |= {prefix + name: share for name, share in metrics.shares(*answers).items()}
        right = int(np.equal(*answers).sum())
        beside[f"{prefix}accuracy_ci95"] = metrics.wilson_interval(right, len(test.fine))
        beside[f"val_{prefix}accuracy"] = metrics.accuracy(*on_val[level])
    balance = metrics.balance(test.fine, len(settings["parent_of"]))
    return report | beside | {"macs": head.macs(), "n_test": len(test.fine)} | balance


def _answers(head: Objective, part: Embeddings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What each level predicts for the images as they are, and the truth, (n,) each."""
    truth = {"parent": head.parent_of.numpy()[part.fine], "child": part.fine, "fine": part.fine}
    logits = head(torch.from_numpy(part.features[0]))
    return {level: (each.argmax(1).numpy(), truth[level]) for level, each in logits.items()}
