"""Fine-tune a backbone with a head on top; the best epoch by val is kept."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treehead import augment
from treehead.artifacts import InputError
from treehead.backbones import Backbone
from treehead.console import progress, say


class Images(NamedTuple):
    """Images uint8 (n, 3, h, w) and fine labels int64 (n,) of one part of train."""

    pixels: Tensor
    fine: Tensor


class Epoch(NamedTuple):
    """A row of the history table. Accuracies are on val and of what the objective trains."""

    epoch: int
    learning_rate: float
    loss: float
    val_accuracy: float
    images_per_second: float


class Objective(nn.Module):
    """A head on the features, with its loss, for one of the four objectives.

    flat: dim -> classes. bottleneck: dim -> d -> classes. parent: dim -> parents.
    joint: dim -> parents -> ReLU -> classes, with the loss parent + weight * fine.
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
        total = torch.zeros(())
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


def finetune(
    backbone: Backbone,
    train: Images,
    val: Images,
    settings: dict[str, Any],
) -> tuple[nn.Module, list[Epoch]]:
    """Train backbone and head; put the weights of the best epoch by val into `backbone`.

    Args:
        backbone: the network to train, in place.
        train, val: two disjoint parts of the training images.
        settings: the `finetune` part of the config; `parent_of`, the parent of each fine class;
            `seed`, of head, order, augmentation and dropout, which seeds each step by
            (seed, epoch, step).

    Returns:
        The head of the best epoch, and the history, one row an epoch.

    Raises:
        InputError: the loss became NaN or infinite; the message names epoch and step.
    """
    torch.manual_seed(settings["seed"])
    head = Objective(backbone.dim, torch.tensor(settings["parent_of"]), settings)
    model = nn.ModuleDict({"backbone": backbone, "head": head}).to(
        memory_format=torch.channels_last
    )
    steps = math.ceil(len(train.fine) / settings["batch_size"])
    optimizer, schedule = _optimizer(model, settings, steps)
    history: list[Epoch] = []
    best, best_state, begin = -1.0, {}, time.monotonic()
    for epoch in range(1, settings["epochs"] + 1):
        rate, start = schedule.get_last_lr()[0], time.monotonic()
        loss = _train_epoch(model, train, settings, (settings["seed"], epoch), optimizer, schedule)
        seconds = time.monotonic() - start
        accuracy = evaluate(model, val, settings)
        history.append(Epoch(epoch, rate, loss, accuracy, len(train.fine) / seconds))
        left = (time.monotonic() - begin) / epoch * (settings["epochs"] - epoch)
        say(_line(history[-1], settings["epochs"], left))
        if accuracy > best:
            best = accuracy
            best_state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(best_state)
    say(f"Kept epoch {max(history, key=lambda row: row.val_accuracy).epoch}, the best by val.")
    return head, history


def _line(row: Epoch, epochs: int, left: float) -> str:
    return (
        f"epoch {row.epoch:>3}/{epochs}  loss {row.loss:.4f}  val accuracy "
        f"{100 * row.val_accuracy:5.2f} %  {row.images_per_second:6.0f} images/s  "
        f"{left // 60:.0f}:{left % 60:02.0f} left"
    )


def _optimizer(
    model: nn.Module, settings: dict[str, Any], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    rate, total = settings["learning_rate"], steps * settings["epochs"]
    optimizer = kinds[settings["optimizer"]](
        model.parameters(), lr=rate, weight_decay=settings["weight_decay"]
    )
    if settings["schedule"] == "onecycle":
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=total)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)


def _train_epoch(
    model: nn.ModuleDict,
    train: Images,
    settings: dict[str, Any],
    key: tuple[int, int],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """One pass over train; returns the mean loss."""
    model.train()
    total = 0.0
    size, n = settings["batch_size"], len(train.fine)
    batches = progress(_batches(n, size, key), f"epoch {key[1]}", n, "images", size)
    for step, rows in enumerate(batches, start=1):
        generator = torch.Generator().manual_seed(_step_seed(*key, step))
        torch.manual_seed(_step_seed(*key, step))
        images, fine = _augmented(model["backbone"], train, rows, settings, generator)
        with _autocast(settings):
            loss = model["head"].loss(model["backbone"].network(images), fine)
        if not math.isfinite(loss.item()):
            raise InputError(
                f"The loss became {loss.item()} in epoch {key[1]}, step {step}; "
                "lower finetune.learning_rate."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(rows)
    return total / n


def _batches(n: int, size: int, key: tuple[int, int]) -> Iterator[Tensor]:
    """Shuffled rows in batches; a last batch of one image joins the one before, for BatchNorm."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_step_seed(*key, 0)))
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    yield from batches


def _step_seed(seed: int, epoch: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0] >> 1)


def _augmented(
    backbone: Backbone,
    train: Images,
    rows: Tensor,
    settings: dict[str, Any],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """A batch as trained on: images (n, 3, size, size), class probabilities (n, classes)."""
    chosen = settings["augment"]
    images = backbone.preprocess(train.pixels[rows])
    images = augment.warp(images, chosen["flip"], chosen["rotation"], chosen["crop"], generator)
    classes = len(settings["parent_of"])
    images, fine = augment.mix(
        images, train.fine[rows], classes, chosen["mix"], chosen["mix_alpha"], generator
    )
    return images.contiguous(memory_format=torch.channels_last), fine


def _autocast(settings: dict[str, Any]) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=settings["precision"] == "bfloat16")


@torch.inference_mode()
def evaluate(model: nn.ModuleDict, images: Images, settings: dict[str, Any]) -> float:
    """Accuracy on images as they are, in float32."""
    model.eval()
    size, n = settings["batch_size"], len(images.fine)
    starts = progress(range(0, n, size), "val", n, "images", size)
    parts = (Images(*(part[start : start + size] for part in images)) for start in starts)
    return sum(model["head"].correct(model["backbone"](x), y) for x, y in parts) / n
