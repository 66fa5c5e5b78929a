"""The loop that every gradient-trained head shares: AdamW, one cycle, rows read by the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from treehead.artifacts import InputError
from treehead.console import progress
from treehead.data.rows import Rows

# Mean loss of inputs or logits (batch, columns) of the images at the places `rows` (batch,).
Loss = Callable[[Tensor, Tensor], Tensor]


def tensor(numbers: Rows, rows: Tensor) -> Tensor:
    """The numbers of the images at the places `rows` (batch,): float32 (batch, columns)."""
    return torch.from_numpy(numbers[rows.numpy()])


def standardized(features: Rows) -> tuple[Rows, Tensor, Tensor]:
    """Features (n, dim) with mean 0 and deviation 1, their mean (dim,) and deviation (dim,).

    A feature that never varied is 0 and gets an infinite deviation: folded, its weight is zero.
    """
    mean, std = mean_and_deviation(features)
    std = np.where(std > 0, std, np.float32(np.inf))
    inputs = features.changed(lambda x: (x - mean) / std).held()
    return inputs, torch.from_numpy(mean), torch.from_numpy(std)


def mean_and_deviation(features: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Of each feature, float32 (dim,); the deviation, that of a sample, is 0 if it never varied."""
    n, mean, deviation, varies = features.moments
    std = np.float32(deviation * np.sqrt(n / max(n - 1, 1)))
    return np.float32(mean), np.where(varies & (std > 1e-6 * std.max()), std, np.float32(0))


def covariance(inputs: Rows, weights: np.ndarray | None = None) -> Tensor:
    """Mean product of each two inputs of mean 0, (dim, dim), of images that weigh (n,)."""
    total = torch.zeros(inputs.shape[1], inputs.shape[1])
    for rows in inputs.slices():
        x = inputs[rows]
        weighted = x if weights is None else weights[rows, None] * x
        total += torch.from_numpy(x).T @ torch.from_numpy(weighted)
    return total / len(inputs)


def folded(
    weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Weight (out, dim), bias (out,): on raw features what these are on standardised ones."""
    weight = weight.detach() / std
    return weight.numpy(), (bias.detach() - weight @ mean).numpy()


def decomposed(decompose: Callable[[Tensor], Any], matrix: Tensor) -> Any:
    """`decompose(matrix)`, in float64 where float32 does not converge.

    LAPACK's float32 routines fail on some singular matrices, such as the covariance of features of
    which most never vary.
    """
    try:
        return decompose(matrix)
    except torch.linalg.LinAlgError:
        found = decompose(matrix.double())
        return tuple(part.float() for part in found) if isinstance(found, tuple) else found.float()


def toward(
    labels: np.ndarray,
    teacher: Rows | None,
    training: dict[str, Any],
    sample_weight: np.ndarray | None = None,
    label_smoothing: float = 0.0,
) -> Loss:
    """The loss of logits against the labels (n,), or against a teacher's logits (n, classes).

    With a teacher it is T^2 * KL(teacher || head) at the `temperature` T of the training, without
    the labels (Hinton, Vinyals and Dean, 2015, section 2). An image of `sample_weight` (n,) 2
    counts as two images; the sum over a batch is divided by its images, not by their weights.
    """
    if teacher is None:
        truth = torch.from_numpy(labels)

        def difference(logits: Tensor, rows: Tensor, reduction: str = "mean") -> Tensor:
            return cross_entropy(
                logits, truth[rows], reduction=reduction, label_smoothing=label_smoothing
            )

    else:
        temperature = training["temperature"]
        target = teacher.changed(
            lambda logits: softmax(torch.from_numpy(logits) / temperature, 1).numpy()
        ).held()

        def difference(logits: Tensor, rows: Tensor, reduction: str = "batchmean") -> Tensor:
            found = log_softmax(logits / temperature, 1)
            return temperature**2 * kl_div(found, tensor(target, rows), reduction=reduction)

    if sample_weight is None:
        return difference
    weights = torch.from_numpy(sample_weight)

    def weighted(logits: Tensor, rows: Tensor) -> Tensor:
        each = difference(logits, rows, "none").view(len(rows), -1).sum(1)
        return (weights[rows] * each).mean()

    return weighted


def train(
    model: nn.Module,
    loss: Loss,
    *,
    inputs: Rows,
    training: dict[str, Any],
    seed: int,
    what: str,
    before_step: Callable[[float], None] | None = None,
) -> None:
    """Minimise a loss over the parameters of `model`, in place.

    Args:
        model: what holds the parameters of the head.
        loss: of the inputs of a batch and the places of its images.
        inputs: what the head reads of each image.
        training: `epochs`, `batch_size`, `learning_rate` (the peak) and `weight_decay`.
        seed: seed of the order of the batches.
        what: name of the head in the log.
        before_step: called with the share of the steps that are done, before each and after all.

    Raises:
        InputError: the loss became NaN or infinite; the message names epoch and step.
    """
    size, epochs = training["batch_size"], training["epochs"]
    inputs, n = inputs.held(), len(inputs)
    steps = -(-n // size)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training["learning_rate"], weight_decay=training["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training["learning_rate"], total_steps=steps * epochs
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in progress(range(epochs), what, epochs, "epochs"):
        order = torch.randperm(n, generator=generator).split(size)
        for step, rows in enumerate(order):
            if before_step:
                before_step((epoch * steps + step) / (epochs * steps))
            value = loss(tensor(inputs, rows), rows)
            if not value.isfinite():
                raise InputError(
                    f"The loss of the {what} became {value.item()} in epoch {epoch + 1}, step "
                    f"{step + 1}; lower its learning_rate."
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
    if before_step:
        before_step(1.0)
