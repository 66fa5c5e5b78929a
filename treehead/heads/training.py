"""The loop that every gradient-trained head shares: AdamW, one cycle, whole tensors in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.console import say


def standardized(features: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, dim) with mean 0 and deviation 1, their mean (dim,) and deviation (dim,).

    A feature that never varied is 0 and gets an infinite deviation: folded, its weight is zero.
    """
    raw = torch.from_numpy(features)
    std, mean = torch.std_mean(raw, dim=0)
    std = torch.where(std > 1e-6 * std.max(), std, torch.inf)
    return (raw - mean) / std, mean, std


def folded(layer: nn.Linear, mean: Tensor, std: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Weight (out, dim), bias (out,): on raw features what `layer` is on standardised ones."""
    weight = layer.weight.detach() / std
    return weight.numpy(), (layer.bias.detach() - weight @ mean).numpy()


def train(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    features: Tensor,
    labels: Tensor,
    settings: dict[str, Any],
    seed: int,
    what: str,
) -> None:
    """Minimise `loss(features, labels)` over the parameters of `model`, in place.

    Args:
        model: the head.
        loss: mean loss of a batch.
        features: float32 (n, dim).
        labels: int64 (n,).
        settings: `epochs`, `batch_size`, `learning_rate` (the peak) and `weight_decay`.
        seed: seed of the order of the batches.
        what: name of the head in the lines that are told.

    Raises:
        InputError: the loss became NaN or infinite; the message names epoch and step.
    """
    size, epochs = settings["batch_size"], settings["epochs"]
    steps = -(-len(features) // size)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings["learning_rate"], total_steps=steps * epochs
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = torch.randperm(len(features), generator=generator).split(size)
        for step, rows in enumerate(order, start=1):
            value = loss(features[rows], labels[rows])
            if not value.isfinite():
                raise InputError(
                    f"The loss of the {what} became {value.item()} in epoch {epoch}, step {step}; "
                    "lower its learning_rate."
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item() * len(rows)
        say(f"{what}: epoch {epoch:>3}/{epochs}  loss {total / len(features):.4f}")
