"""Train a network of 8 bits to give the features of its float one; needs no labels.

The float network is the teacher, on the same augmented images (Beyer et al., CVPR 2022, "Knowledge
distillation: a good teacher is patient and consistent").
"""

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from treehead.artifacts import InputError
from treehead.backbones import equalized, quantized
from treehead.backbones.backbone import Backbone
from treehead.backbones.embed import Run
from treehead.console import progress
from treehead.data.dataset import Pixels
from treehead.training import augment, compute, optimization, resuming
from treehead.training.checkpoint import Checkpoint, State
from treehead.training.epochs import Training, batches, step_seed

# Shares of the steps: until the first, activations bend more and more until they are ReLUs; from
# the second on, all is rounded. Without ReLUs to come, all is rounded from the first step. From the
# third on, the ranges stay: weights learn to suit one grid, and lose much if it moves.
_BENT, _ROUNDED, _SETTLED = 0.1, 0.25, 0.35

# Images that a step of the calibration sees.
_BATCH = 64

# The least variance of a feature in its loss, as a share of the mean of all: few images tell that
# of one which is hardly ever above 0, and it would outweigh all others.
_LEAST = 1e-3


class Row(NamedTuple):
    """A row of the history.

    A loss is the mean squared error of a feature, in units of its variance on train.
    """

    epoch: int
    learning_rate: float
    loss: float
    val_loss: float
    images_per_second: float

    def on_val(self) -> str:
        """What a line of the log says of val."""
        return f"val loss {self.val_loss:.4f}"


def quantize(
    backbone: Backbone,
    teacher: Run,
    train: Pixels,
    val: Pixels,
    settings: dict[str, Any],
    checkpoint: Checkpoint | None = None,
) -> tuple[fx.GraphModule, list[Row]]:
    """The network of a backbone with rounding, in eval mode, and its history.

    Args:
        backbone: with its weights; stays as it is.
        teacher: the same, as `embed.opened` gives it.
        train, val: images; those of val only tell how well it does.
        settings: the `quantize` part of the config, and `seed`, `device` and `threads`. With no
            epochs, the weights are rounded as they are.
        checkpoint: holds the state of an unfinished training.

    Raises:
        InputError: the network can't be traced, there are no two images to calibrate it with, or
            the training diverged.
        SystemExit: SIGTERM or SIGINT came; the state is kept in the checkpoint.
    """
    if len(train) < 2:
        raise InputError(
            "Quantising needs two images of train to calibrate with; add pictures, or lower "
            "dataset.val_fraction."
        )
    torch.set_num_threads(settings["threads"])
    compute.keep_freed_memory()
    compute.repeat_bytes(settings["device"])
    training = Distillation(backbone, teacher, train, val, settings)
    resuming.run(training, checkpoint)
    return training.student.cpu().eval(), training.history


class Distillation(Training):
    """The training of a network of 8 bits; arguments as for `quantize`."""

    ROW = Row
    COUNTS = ("variance", "rounds", "divided")

    def __init__(
        self,
        backbone: Backbone,
        teacher: Run,
        train: Pixels,
        val: Pixels,
        settings: dict[str, Any],
    ) -> None:
        n = len(train)
        super().__init__(n, len(batches(n, settings["batch_size"], (0, 0))), settings)
        self.teacher, self.train, self.val = teacher, train, val
        self.device = settings["device"]
        self.preprocess = copy.deepcopy(backbone).to(self.device).preprocess
        relu_above, bits = settings["relu_above"], settings["activation_bits"]
        self.bends = relu_above is not None
        self.student = quantized.prepared(backbone.network, backbone.size, relu_above, bits)
        self.student.to(self.device, memory_format=torch.channels_last)
        adam = settings | {"optimizer": "adam", "weight_decay": 0.0}
        self.optimizer = optimization.optimizer(self.student.parameters(), adam)
        triangle = {"schedule": "triangle", "warmup": 0.05}
        steps = max(1, self.steps * settings["epochs"])
        self.schedule = optimization.schedule(self.optimizer, triangle, steps)
        self.rounds, self.divided = False, torch.ones(backbone.dim, device=self.device)
        self.variance = self._calibrate()
        if not self.bends or not settings["epochs"]:
            self._round()

    def parts(self) -> dict[str, Any]:
        """Student, optimiser and schedule."""
        return {"model": self.student, "optimizer": self.optimizer, "schedule": self.schedule}

    def load_state_dict(self, state: State) -> None:
        """Go back to a state, which is read onto the CPU."""
        super().load_state_dict(state)
        self.variance, self.divided = (
            part.to(self.device) for part in (self.variance, self.divided)
        )

    def diverged(self, what: str, step: int) -> InputError:
        """The error, with its remedy."""
        return InputError(
            f"Quantising diverged: {what} in epoch {self.epoch}, step {step}; lower "
            "quantize.learning_rate."
        )

    def _samples(self) -> list[np.ndarray]:
        """The images of the calibration, in batches."""
        rows = torch.cat(batches(len(self.train), _BATCH, (self.settings["seed"], 0)))
        parts = rows[: self.settings["calibration"]].split(_BATCH)
        return [self.train[part.numpy()] for part in parts]

    @torch.no_grad()
    def _calibrate(self) -> Tensor:
        """Set the range of each grid; return the variance of the features, (dim,)."""
        quantized.set_phase(self.student, 0, rounds=False)
        samples = self._samples()
        self._follow(samples)
        features = [torch.from_numpy(self.teacher(pixels)) for pixels in samples]
        variance = torch.cat(features).var(0)
        least = max(_LEAST * variance.mean().item(), 1e-12)
        return variance.clamp_min(least).to(self.device)

    @torch.no_grad()
    def _follow(self, samples: list[np.ndarray]) -> None:
        self.student.train()
        count = sum(map(len, samples))
        for pixels in progress(samples, "calibrate", count, "images", _BATCH):
            self.student(self._images(pixels))

    def _round(self) -> None:
        """From now on weights and values are rounded; before, the channels are equalised."""
        quantized.set_phase(self.student, 1, rounds=False)
        samples = self._samples()
        self.divided = equalized.equalize(self.student, list(map(self._images, samples)))
        self._follow(samples)
        quantized.set_phase(self.student, 1, rounds=True)
        self.rounds = True

    def _images(self, pixels: np.ndarray) -> Tensor:
        """What the student reads of images uint8 (n, 3, h, w)."""
        images = self.preprocess(torch.from_numpy(pixels).to(self.device))
        return images.contiguous(memory_format=torch.channels_last)

    def learn(self, rows: Tensor) -> float:
        """Train on a batch; return its loss."""
        share = self.share()
        if share >= _ROUNDED and not self.rounds:
            self._round()
        bent = 1 if self.rounds else share / _BENT
        quantized.set_phase(self.student, bent, self.rounds, settled=share >= _SETTLED)
        key = step_seed(self.settings["seed"], self.epoch, self.step + 1)
        pixels = self._augmented(rows, torch.Generator().manual_seed(key))
        loss = self._loss(self.student(self._images(pixels)), pixels)
        value = loss.item()
        if not math.isfinite(value):
            raise self.diverged(f"the loss became {value:.4g}", self.step + 1)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return value

    def _augmented(self, rows: Tensor, generator: torch.Generator) -> np.ndarray:
        """Images mirrored and shifted at random, uint8 (n, 3, h, w)."""
        images = torch.from_numpy(self.train[rows.numpy()]).float()
        mirrored = torch.rand(len(rows), generator=generator) < 0.5
        moves = {"rotation": 0, "crop": images.shape[-1] // 8}
        return augment.warp(images, mirrored, moves, generator).round().to(torch.uint8).numpy()

    def _loss(self, features: Tensor, pixels: np.ndarray) -> Tensor:
        wanted = torch.from_numpy(self.teacher(pixels)).to(self.device)
        return ((features * self.divided - wanted).square() / self.variance).mean()

    def end_epoch(self, loss: float, speed: float) -> Row:
        """Measure the student on val."""
        return Row(self.epoch, self.schedule.get_last_lr()[0], loss, self.val_loss(), speed)

    @torch.no_grad()
    def val_loss(self) -> float:
        """The loss on the images of val as they are, at the present phase."""
        self.student.eval()
        total, size = 0.0, self.settings["batch_size"]
        starts = range(0, len(self.val), size)
        for start in progress(starts, "val", len(self.val), "images", size):
            pixels = self.val[start : start + size]
            loss = self._loss(self.student(self._images(pixels)), pixels)
            total += loss.item() * len(pixels)
        return total / len(self.val)
