"""The loop that trains a backbone with a head: steps, epochs, and all that changes in them."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.backbones.backbone import Backbone
from treehead.console import progress
from treehead.data import dataset
from treehead.training import augment, compute, optimization, parallel
from treehead.training.epochs import Training, batches, step_seed
from treehead.training.objectives import Objective

# A loss this many times its first one has diverged: guessing costs less than twice the first one.
DIVERGED = 20


class Images(NamedTuple):
    """Images uint8 (n, 3, h, w) and fine labels int64 (n,) of one part of train.

    The images are an array, or in a file of which only a batch at a time is read.
    """

    pixels: np.ndarray | dataset.Pixels
    fine: Tensor

    def batch(self, rows: Tensor | slice, device: str) -> tuple[Tensor, Tensor]:
        """The images and labels of some rows, on a device."""
        places = rows if isinstance(rows, slice) else rows.numpy()
        pixels = torch.from_numpy(self.pixels[places])
        return pixels.to(device), self.fine[rows].to(device)


class Epoch(NamedTuple):
    """A row of the history table. Accuracies are on val and of what the objective trains."""

    epoch: int
    learning_rate: float
    loss: float
    val_accuracy: float
    images_per_second: float

    def on_val(self) -> str:
        """What a line of the log says of val."""
        return f"val accuracy {100 * self.val_accuracy:5.2f} %"


class Classifier(nn.Module):
    """A backbone and its head; called, the loss of normalised images against probabilities."""

    def __init__(self, backbone: Backbone, head: Objective) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor, fine: Tensor) -> Tensor:
        return self.head.loss(self.backbone.network(images), fine)


class Trainer(Training):
    """The training of a backbone with a head.

    Args:
        model: what to train; a copy of it on the device is.
        train, val: two disjoint parts of the training images.
        settings: as for `finetune.finetune`, with the device and the precision decided.

    Raises:
        InputError: train has fewer images than there are processes.
    """

    ROW = Epoch
    COUNTS = ("first_loss", "rate", "best_accuracy", "best")

    def __init__(
        self, model: Classifier, train: Images, val: Images, settings: dict[str, Any]
    ) -> None:
        n = len(train.fine)
        if n < parallel.size():
            raise InputError(
                f"Train has {n} images, and {parallel.size()} processes share each batch; lower "
                "finetune.processes or finetune.machines."
            )
        whole = len(batches(n, settings["batch_size"], (0, 0)))
        super().__init__(n, min(whole, settings["steps_per_epoch"] or whole), settings)
        self.device, self.train, self.val = settings["device"], train, val
        self.model = copy.deepcopy(model).to(self.device, memory_format=torch.channels_last)
        self.stepping = parallel.averaging(self.model)
        decay, steps = settings["average"], self.steps * settings["epochs"]
        self.average = optimization.average(self.model, decay) if decay else None
        self.optimizer = optimization.optimizer(self.model.parameters(), settings)
        self.schedule = optimization.schedule(self.optimizer, settings, steps)
        once = torch.Generator().manual_seed(step_seed(settings["seed"], 0, 0))
        self.mirrored = torch.rand(n, generator=once) < 0.5
        self.first_loss, self.rate = None, 0.0
        self.best_accuracy, self.best = -1.0, {}

    def parts(self) -> dict[str, Any]:
        """Model, optimiser and schedule, and the average of the model if there is one."""
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"average": self.average} if self.average else {})

    def diverged(self, what: str, step: int) -> InputError:
        """The error, with the remedies of the optimiser."""
        remedy = "lower finetune.learning_rate"
        if self.settings["optimizer"] == "muon":
            remedy += (
                ", or set it to 0.001 and finetune.optimizer to adamw if the network has a "
                "convolution without BatchNorm behind it, which muon does not suit"
            )
        return InputError(
            f"Training diverged: {what} in epoch {self.epoch}, step {step}; {remedy}."
        )

    @parallel.over_whole_batches()
    def learn(self, rows: Tensor) -> float:
        """Train on a batch; return its mean loss.

        Raises:
            InputError: the loss became NaN, infinite or `DIVERGED` times its first one, each
                relative to the weights of its images.
        """
        if self.step == 0:
            self.rate = self.schedule.get_last_lr()[0]
        key = step_seed(self.settings["seed"], self.epoch, self.step + 1)
        images, fine = self._augmented(rows, torch.Generator().manual_seed(key))
        torch.manual_seed(key + parallel.rank())
        mine = parallel.part(len(rows))
        share = (mine.stop - mine.start) / len(rows)
        with compute.products(self.settings):
            loss = share * self.stepping(images[mine], fine[mine])
        (value,) = parallel.total(loss.item())
        guess = self.model.head.mean_weight(fine)
        if self.first_loss is None:
            self.first_loss = value / guess
        if not value <= DIVERGED * guess * self.first_loss:
            raise self.diverged(f"the loss became {value:.4g}", self.step + 1)
        self.optimizer.zero_grad()
        (parallel.size() * loss).backward()
        if self.settings["gradient_clip"]:
            nn.utils.clip_grad_value_(self.model.parameters(), self.settings["gradient_clip"])
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.model)
        return value

    def _augmented(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch as trained on: images (n, 3, size, size), class probabilities (n, classes).

        Each process of a group makes the whole batch, so that mixing reaches across their parts.
        """
        chosen, backbone = self.settings["augment"], self.model.backbone
        pixels, fine = self.train.batch(rows, self.device)
        images = backbone.preprocess(pixels)
        mirrored = augment.mirrored(chosen["flip"], self.mirrored[rows], self.epoch, generator)
        images = augment.warp(images, mirrored, chosen, generator)
        images = augment.cutout(images, chosen["cutout"], generator)
        target = F.one_hot(fine, len(self.settings["parent_of"])).float()
        images, target = augment.mix(images, target, chosen, generator)
        images = shrunk(images, side_at(self.share(), backbone, self.settings))
        return images.contiguous(memory_format=torch.channels_last), target

    def end_epoch(self, loss: float, speed: float) -> Epoch:
        """Measure the weights on val, and keep them if they are the best."""
        judged = self.average.module if self.average else self.model
        accuracy = evaluate(judged, self.val, self.settings)
        if accuracy > self.best_accuracy:
            self.best_accuracy = accuracy
            self.best = {name: value.cpu().clone() for name, value in judged.state_dict().items()}
        return Epoch(self.epoch, self.rate, loss, accuracy, speed)


def side_at(share: float, backbone: Backbone, settings: dict[str, Any]) -> int:
    """Side in pixels of the images after this share of the steps: smaller ones at first."""
    early = (part for part in settings["progressive"] if share < part["until"])
    return next(early, {"image_size": backbone.size})["image_size"]


def shrunk(images: Tensor, size: int) -> Tensor:
    """Images (n, 3, h, h) as (n, 3, size, size)."""
    whole = images.shape[-1] == size
    return images if whole else F.interpolate(images, size, mode="bilinear", antialias=True)


@torch.inference_mode()
def evaluate(model: Classifier, images: Images, settings: dict[str, Any]) -> float:
    """Accuracy on images as they are; each process of a group takes a part of them."""
    model.eval()
    mine = parallel.part(len(images.fine))
    size, n = settings["batch_size"], mine.stop - mine.start
    starts = progress(range(mine.start, mine.stop, size), "val", n, "images", size)
    parts = (
        images.batch(slice(start, min(start + size, mine.stop)), settings["device"])
        for start in starts
    )
    level, right = model.head.chosen_by, 0
    for x, y in parts:
        with compute.products(settings):
            features = model.backbone(x)
        right += model.head.right(features.float(), y)[level]
    (right,) = parallel.total(right)
    return right / len(images.fine)
