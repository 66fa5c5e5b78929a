"""The head that a backbone is trained with, and its loss, for each of the four objectives."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Objective(nn.Module):
    """A head on the features, with its loss, for one of the four objectives.

    flat: dim -> classes. bottleneck: dim -> d -> classes. parent: dim -> parents.
    joint: dim -> parents -> ReLU -> classes, with the loss parent + weight * fine.

    Args:
        dim: number of features.
        parent_of: parent of each fine class, int64 (classes,).
        settings: the `finetune` part of the config.
    """

    def __init__(self, dim: int, parent_of: Tensor, settings: dict[str, Any]) -> None:
        super().__init__()
        kind = settings["objective"]
        classes, parents = len(parent_of), int(parent_of.max()) + 1
        self.kind = kind
        self.child_weight = settings["child_weight"] if kind == "joint" else 1.0
        self.smoothing = settings["label_smoothing"]
        self.register_buffer("belongs", F.one_hot(parent_of, parents).float(), persistent=False)
        self.register_buffer("parent_of", parent_of, persistent=False)
        width = settings["bottleneck"] if kind == "bottleneck" else parents
        self.first = nn.Linear(dim, classes if kind == "flat" else width)
        if kind in ("bottleneck", "joint"):
            self.second = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> list[tuple[Tensor, bool]]:
        """The logits that the loss sees, each with whether they are of parents."""
        logits = self.first(features)
        match self.kind:
            case "bottleneck":
                return [(self.second(logits), False)]
            case "joint":
                return [(logits, True), (self.second(logits.relu()), False)]
            case _:
                return [(logits, self.kind == "parent")]

    def loss(self, features: Tensor, fine: Tensor) -> Tensor:
        """Mean loss against probabilities of the fine classes, (n, classes)."""
        total = torch.zeros((), device=features.device)
        for logits, of_parents in self(features):
            target = fine @ self.belongs if of_parents else fine
            weight = 1.0 if of_parents else self.child_weight
            total = total + weight * F.cross_entropy(
                logits.float(), target, label_smoothing=self.smoothing
            )
        return total

    def correct(self, features: Tensor, fine: Tensor) -> int:
        """How many of the labels (n,) the last logits get right."""
        logits, of_parents = self(features)[-1]
        return int((logits.argmax(1) == (self.parent_of[fine] if of_parents else fine)).sum())


def measure(head: Objective, features: Tensor, fine: Tensor) -> dict[str, float]:
    """What the head gets right, "accuracy" of classes and "parent_accuracy", as far as it tells.

    Args:
        head: the trained head.
        features: float32 (n, dim).
        fine: labels (n,).
    """
    report = {}
    for logits, of_parents in head(features):
        truth = head.parent_of[fine] if of_parents else fine
        name = "parent_accuracy" if of_parents else "accuracy"
        report[name] = (logits.argmax(1) == truth).double().mean().item()
    return report


def macs(head: Objective) -> int:
    """Multiplications of the head for one image."""
    return sum(layer.weight.numel() for layer in head.children())
