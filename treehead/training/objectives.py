"""The head that a backbone is trained with, and its loss, for each of the five objectives."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Objective(nn.Module):
    """A head on the features, with its loss, for one of the five objectives.

    flat: dim -> classes. bottleneck: dim -> d -> classes. parent: dim -> parents.
    joint: dim -> parents -> ReLU -> classes, with the loss parent + child_weight * children.
    multitask: flat and joint on the same features, with the loss fine + tree_weight * joint; the
    targets of joint are mixed with the probabilities of flat (self-distillation: Zhang et al., ICCV
    2019), which are `self_distillation` of them.
    Its accuracy on the level `chosen_by` is the objective's.

    Args:
        dim: number of features.
        parent_of: parent of each fine class, int64 (classes,).
        settings: the `finetune` part of the config.
        class_weights: weight of an image of each class in the loss, (classes,); None for 1.
    """

    def __init__(
        self,
        dim: int,
        parent_of: Tensor,
        settings: dict[str, Any],
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        kind = settings["objective"]
        classes, parents = len(parent_of), int(parent_of.max()) + 1
        self.kind = kind
        self.chosen_by = "parent" if kind == "parent" else "fine"
        self.weights = _weights(settings)
        self.scale = settings.get("logit_scale", 1.0)
        self.smoothing = settings["label_smoothing"]
        self.distilled = settings["self_distillation"] if kind == "multitask" else 0.0
        self.register_buffer("belongs", F.one_hot(parent_of, parents).float(), persistent=False)
        self.register_buffer("parent_of", parent_of, persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)
        width = settings["bottleneck"] if kind == "bottleneck" else parents
        self.first = nn.Linear(dim, classes if kind == "flat" else width)
        if kind in ("bottleneck", "joint", "multitask"):
            self.second = nn.Linear(width, classes)
        if kind == "multitask":
            self.flat = nn.Linear(dim, classes)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """The logits that the loss sees, by level.

        These are of the "parent", of the "fine" class, and of the "child", which is the class by
        the parent logits where there is one by the features too.
        """
        logits = self.scale * self.first(features)
        match self.kind:
            case "bottleneck":
                return {"fine": self.second(logits)}
            case "joint":
                return {"parent": logits, "fine": self.second(logits.relu())}
            case "multitask":
                flat = self.scale * self.flat(features)
                return {"parent": logits, "child": self.second(logits.relu()), "fine": flat}
            case _:
                return {self.chosen_by: logits}

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the layers on the features by the logits' scale, which is 1 from then on."""
        for name, parameter in self.named_parameters():
            if not name.startswith("second."):
                parameter.mul_(self.scale)
        self.scale = 1.0

    def loss(self, features: Tensor, fine: Tensor) -> Tensor:
        """Mean loss against probabilities of the fine classes, (n, classes).

        With class weights, each part of a mixed image has the weight of its own class. The sum over
        the batch is divided by n, not by the weights.
        """
        if self.class_weights is not None:
            fine = fine * self.class_weights
        logits = {level: values.float() for level, values in self(features).items()}
        losses = []
        for level, values in logits.items():
            target = self._at(level, fine)
            target = target.lerp(target.mean(1, keepdim=True), self.smoothing)
            if self.distilled and level != "fine":
                own = logits["fine"].detach().softmax(1) * fine.sum(1, keepdim=True)
                target = target.lerp(self._at(level, own), self.distilled)
            losses.append(self.weights[level] * F.cross_entropy(values, target))
        return torch.stack(losses).sum()

    def _at(self, level: str, fine: Tensor) -> Tensor:
        """Probabilities of the fine classes, (n, classes), as those of a level."""
        return fine @ self.belongs if level == "parent" else fine

    def mean_weight(self, fine: Tensor) -> float:
        """The mean weight of a batch of probabilities of the fine classes, (n, classes)."""
        return 1.0 if self.class_weights is None else (fine @ self.class_weights).mean().item()

    def right(self, features: Tensor, fine: Tensor) -> dict[str, int]:
        """How many of the labels (n,) and of their parents the logits get right, by level."""
        truth = {"parent": self.parent_of[fine], "child": fine, "fine": fine}
        return {
            level: int((logits.argmax(1) == truth[level]).sum())
            for level, logits in self(features).items()
        }

    def macs(self) -> int:
        """Multiplications for one image."""
        return sum(layer.weight.numel() for layer in self.children())


def _weights(settings: dict[str, Any]) -> dict[str, float]:
    """The weight of each level's loss."""
    match settings["objective"]:
        case "joint":
            return {"parent": 1.0, "fine": settings["child_weight"]}
        case "multitask":
            tree = settings["tree_weight"]
            return {"parent": tree, "child": tree * settings["child_weight"], "fine": 1.0}
        case _:
            return {"parent": 1.0, "fine": 1.0}
