"""The loop that trains a backbone with a head: steps, epochs, and all that changes in them."""

import copy
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.backbones.backbone import Backbone
from treehead.console import progress, say
from treehead.data import dataset
from treehead.training import augment, compute, optimization, parallel
from treehead.training.checkpoint import State
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


class Classifier(nn.Module):
    """A backbone and its head; called, the loss of normalised images against probabilities."""

    def __init__(self, backbone: Backbone, head: Objective) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor, fine: Tensor) -> Tensor:
        return self.head.loss(self.backbone.network(images), fine)


class Trainer:
    """A training under way; `state_dict` holds all that changes from step to step.

    Args:
        model: what to train; a copy of it on the device is.
        train, val: two disjoint parts of the training images.
        settings: as for `finetune.finetune`, with the device and the precision decided.
    """

    def __init__(
        self, model: Classifier, train: Images, val: Images, settings: dict[str, Any]
    ) -> None:
        self.settings, self.device = settings, settings["device"]
        self.train, self.val = train, val
        whole = len(batches(len(train.fine), settings["batch_size"], (0, 0)))
        self.steps = min(whole, settings["steps_per_epoch"] or whole)
        local = copy.deepcopy(model).to(self.device, memory_format=torch.channels_last)
        self.model = parallel.synchronized(local)
        self.stepping = parallel.averaging(
            torch.compile(self.model) if self.device == "cuda" else self.model
        )
        decay, steps = settings["average"], self.steps * settings["epochs"]
        self.average = optimization.average(self.model, decay) if decay else None
        self.optimizer = optimization.optimizer(self.model.parameters(), settings)
        self.schedule = optimization.schedule(self.optimizer, settings, steps)
        once = torch.Generator().manual_seed(step_seed(settings["seed"], 0, 0))
        self.mirrored = torch.rand(len(train.fine), generator=once) < 0.5
        self.epoch, self.step, self.loss_sum, self.first_loss, self.rate = 1, 0, 0.0, None, 0.0
        self.best_accuracy, self.best, self.history = -1.0, {}, []

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"average": self.average} if self.average else {})

    _COUNTS = ("epoch", "step", "loss_sum", "first_loss", "rate", "best_accuracy", "best")

    def state_dict(self) -> State:
        """All that changes from step to step."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {name: getattr(self, name) for name in self._COUNTS}
        return state | {"history": [list(row) for row in self.history]}

    def load_state_dict(self, state: State) -> None:
        """Go back to a state."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in self._COUNTS:
            setattr(self, name, state[name])
        self.history = [Epoch(*row) for row in state["history"]]

    def check_finite(self) -> None:
        """A state that is worth keeping has no NaN and no infinity."""
        for value in self.model.state_dict().values():
            if value.is_floating_point() and not value.isfinite().all():
                raise self._diverged("a weight is not a finite number", self.step)

    def _diverged(self, what: str, step: int) -> InputError:
        remedy = "lower finetune.learning_rate"
        if self.settings["optimizer"] == "muon":
            remedy += (
                ", or set it to 0.001 and finetune.optimizer to adamw if the network has a "
                "convolution without BatchNorm behind it, which muon does not suit"
            )
        return InputError(
            f"Training diverged: {what} in epoch {self.epoch}, step {step}; {remedy}."
        )

    def run(self) -> Iterator[None]:
        """Train the epochs that are left, and pause after each step and after each epoch."""
        epochs, begin, first = self.settings["epochs"], time.monotonic(), self.epoch
        while self.epoch <= epochs:
            start = time.monotonic()
            images = yield from self._train_epoch()
            self._end_epoch(images / (time.monotonic() - start))
            left = (time.monotonic() - begin) / (self.epoch - first) * (epochs + 1 - self.epoch)
            say(_line(self.history[-1], epochs, left))
            yield

    def _train_epoch(self) -> Generator[None, None, int]:
        """Make the steps that are left of this epoch; return how many images they see."""
        self.model.train()
        n, size = len(self.train.fine), self.settings["batch_size"]
        left = batches(n, size, (self.settings["seed"], self.epoch))[self.step : self.steps]
        total = sum(map(len, left))
        for rows in progress(left, f"epoch {self.epoch}", total, "images", size):
            self.train_step(rows)
            if self.step < self.steps:
                yield
        return total

    def train_step(self, rows: Tensor) -> None:
        """One step on the train images of these numbers, int64 (n,).

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
            raise self._diverged(f"the loss became {value:.4g}", self.step + 1)
        self.optimizer.zero_grad()
        (parallel.size() * loss).backward()
        if self.settings["gradient_clip"]:
            nn.utils.clip_grad_value_(self.model.parameters(), self.settings["gradient_clip"])
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.model)
        self.step += 1
        self.loss_sum += value * len(rows)

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
        steps = self.steps * self.settings["epochs"]
        share = ((self.epoch - 1) * self.steps + self.step) / steps
        images = shrunk(images, side_at(share, backbone, self.settings))
        return images.contiguous(memory_format=torch.channels_last), target

    def _end_epoch(self, speed: float) -> None:
        """Measure the weights on val, keep them if they are the best, and begin a new epoch."""
        judged = self.average.module if self.average else self.model
        accuracy = evaluate(judged, self.val, self.settings)
        seen = min(self.steps * self.settings["batch_size"], len(self.train.fine))
        self.history.append(Epoch(self.epoch, self.rate, self.loss_sum / seen, accuracy, speed))
        if accuracy > self.best_accuracy:
            self.best_accuracy = accuracy
            self.best = {name: value.cpu().clone() for name, value in judged.state_dict().items()}
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0


def _line(row: Epoch, epochs: int, left: float) -> str:
    return (
        f"epoch {row.epoch:>3}/{epochs}  loss {row.loss:.4f}  val accuracy "
        f"{100 * row.val_accuracy:5.2f} %  {row.images_per_second:6.0f} images/s  "
        f"{left // 60:.0f}:{left % 60:02.0f} left"
    )


def batches(n: int, size: int, key: tuple[int, int]) -> list[Tensor]:
    """Shuffled rows in batches; a last batch of one image joins the one before, for BatchNorm.

    Args:
        n: number of rows.
        size: of a batch.
        key: seed and epoch of the order.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(step_seed(*key, 0)))
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of a step's draws; step 0 is the order of an epoch."""
    return int(np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0] >> 1)


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
