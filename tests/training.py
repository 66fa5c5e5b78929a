"""A small training of each setting, for the tests of training."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from treehead.backbones.backbone import Backbone, build
from treehead.training import finetune
from treehead.training.checkpoint import Checkpoint
from treehead.training.finetune import Images

PARENT_OF = [0, 1, 0, 2, 1]
SETTINGS: dict[str, Any] = {
    "epochs": 1,
    "steps_per_epoch": None,
    "objective": "joint",
    "bottleneck": 3,
    "child_weight": 1.5,
    "tree_weight": 0.5,
    "self_distillation": 0.0,
    "logit_scale": 1,
    "batch_size": 8,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "muon_learning_rate": 0.1,
    "muon_momentum": 0.6,
    "weight_decay": 0.01,
    "gradient_clip": 0,
    "schedule": "onecycle",
    "warmup": 0.25,
    "label_smoothing": 0.0,
    "class_weights": "none",
    "average": 0,
    "progressive": [],
    "augment": {
        "flip": "random",
        "rotation": 5,
        "crop": 1,
        "cutout": 0,
        "mix": "none",
        "mix_alpha": 0.5,
    },
    "device": "cpu",
    "precision": "float32",
    "portable": False,
    "processes": 1,
    "machines": 1,
    "parent_of": PARENT_OF,
    "seed": 0,
}


def coloured(n: int, seed: int) -> Images:
    """Noise (n, 3, 16, 16) whose class is its colour."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.arange(n) % 5
    noise = torch.randint(0, 100, (n, 3, 16, 16), generator=generator)
    colours = torch.tensor([[150, 0, 0], [0, 150, 0], [0, 0, 150], [150, 150, 0], [0, 150, 150]])
    return Images((noise + colours[fine][:, :, None, None]).to(torch.uint8).numpy(), fine)


def fresh(seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    normalization = {"mean": [0.5] * 3, "std": [0.25] * 3}
    return build("airbench", {"widths": [8, 16]}, 16, normalization)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def digest(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers."""
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


class Training:
    """A backbone to train on some images, and what became of it."""

    def __init__(self, settings: dict[str, Any], images: int = 20) -> None:
        self.settings = {**SETTINGS, **settings}
        self.images = images
        self.backbone = fresh()
        self.head: nn.Module | None = None
        self.history: list[finetune.Epoch] = []

    def run(
        self, checkpoint: Checkpoint | None = None, rendezvous: str | None = None
    ) -> "Training":
        parts = coloured(self.images, 1), coloured(15, 2)
        self.head, self.history = finetune.finetune(
            self.backbone, *parts, self.settings, checkpoint=checkpoint, rendezvous=rendezvous
        )
        return self

    def model(self) -> nn.Module:
        return nn.ModuleDict({"backbone": self.backbone, "head": self.head})
