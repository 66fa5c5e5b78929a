"""A training in epochs, which can stop between two steps and go on there."""

import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from treehead.artifacts import InputError
from treehead.console import progress, say
from treehead.training import parallel
from treehead.training.checkpoint import State


class Training:
    """A training under way: its loop over epochs and steps, and the state of all that changes.

    A kind of training has `parts`, `learn`, `end_epoch` and `diverged`, the class `ROW` of a
    row of its history, and `COUNTS`, the names of what changes beside the parts and `epoch`, `step`
    and `loss_sum`.

    Args:
        n: number of train images.
        steps: of an epoch.
        settings: `epochs`, `batch_size` and `seed`, and more of the kind's own.
    """

    ROW: Any
    COUNTS: tuple[str, ...]

    def __init__(self, n: int, steps: int, settings: dict[str, Any]) -> None:
        self.n, self.steps, self.settings = n, steps, settings
        self.epoch, self.step, self.loss_sum, self.history = 1, 0, 0.0, []

    def parts(self) -> dict[str, Any]:
        """What has a state of its own, by name; "model" is what is trained."""
        raise NotImplementedError

    def learn(self, rows: Tensor) -> float:
        """Train on a batch, the train images of these numbers, int64 (n,); return its mean loss."""
        raise NotImplementedError

    def end_epoch(self, loss: float, speed: float) -> Any:
        """The row of the epoch that ends, of which loss and images per second are known."""
        raise NotImplementedError

    def diverged(self, what: str, step: int) -> InputError:
        """The error of a training that diverged."""
        raise NotImplementedError

    def share(self) -> float:
        """The share of all steps that are made."""
        return ((self.epoch - 1) * self.steps + self.step) / (self.steps * self.settings["epochs"])

    def state_dict(self) -> State:
        """All that changes from step to step."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {name: getattr(self, name) for name in self._counts()}
        return state | {"history": [list(row) for row in self.history]}

    def load_state_dict(self, state: State) -> None:
        """Go back to a state."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        for name in self._counts():
            setattr(self, name, state[name])
        self.history = [self.ROW(*row) for row in state["history"]]

    def _counts(self) -> tuple[str, ...]:
        return ("epoch", "step", "loss_sum", *self.COUNTS)

    def check_finite(self) -> None:
        """A state that is worth keeping has no NaN and no infinity."""
        for value in self.parts()["model"].state_dict().values():
            if value.is_floating_point() and not value.isfinite().all():
                raise self.diverged("a weight is not a finite number", self.step)

    def run(self) -> Iterator[None]:
        """Train the epochs that are left, and pause after each step and after each epoch."""
        epochs, begin, first = self.settings["epochs"], time.monotonic(), self.epoch
        while self.epoch <= epochs:
            start = time.monotonic()
            images = yield from self._train_epoch()
            seen = min(self.steps * self.settings["batch_size"], self.n)
            speed = images / (time.monotonic() - start)
            row = self.end_epoch(self.loss_sum / seen, speed)
            self.history.append(row)
            self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0
            left = (time.monotonic() - begin) / (self.epoch - first) * (epochs + 1 - self.epoch)
            say(
                f"epoch {row.epoch:>3}/{epochs}  loss {row.loss:.4f}  {row.on_val()}  "
                f"{speed:6.0f} images/s  {left // 60:.0f}:{left % 60:02.0f} left"
            )
            yield

    def _train_epoch(self) -> Generator[None, None, int]:
        """Make the steps that are left of this epoch; return how many images they see."""
        self.parts()["model"].train()
        size = self.settings["batch_size"]
        left = batches(self.n, size, (self.settings["seed"], self.epoch))[self.step : self.steps]
        total = sum(map(len, left))
        for rows in progress(left, f"epoch {self.epoch}", total, "images", size):
            self.train_step(rows)
            if self.step < self.steps:
                yield
        return total

    def train_step(self, rows: Tensor) -> None:
        """One step on the train images of these numbers, int64 (n,).

        Raises:
            InputError: the training diverged.
        """
        loss = self.learn(rows)
        self.step += 1
        self.loss_sum += loss * len(rows)


def batches(n: int, size: int, key: tuple[int, int]) -> list[Tensor]:
    """Shuffled rows in batches; a last one that is too small joins the one before.

    BatchNorm needs two images, and each process one.

    Args:
        n: number of rows.
        size: of a batch.
        key: seed and epoch of the order.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(step_seed(*key, 0)))
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) < max(2, parallel.size()):
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of a step's draws; step 0 is the order of an epoch."""
    return int(np.random.SeedSequence((seed, epoch, step)).generate_state(1, np.uint64)[0] >> 1)
