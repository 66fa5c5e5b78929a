"""Optimisers, learning rate schedules and averaged weights by the names of the config."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler, swa_utils


def optimizer(
    parameters: Iterable[nn.Parameter], settings: dict[str, Any]
) -> torch.optim.Optimizer:
    """The optimiser of `finetune.optimizer`; biases and BatchNorm's scales do not decay.

    Args:
        parameters: what is trained.
        settings: `optimizer`, `learning_rate`, `weight_decay`, for sgd and muon the `momentum`
            (Nesterov's), and for muon the `muon_learning_rate` and `muon_momentum` of filters, and
            the `precision` of the training, in which their updates are made orthogonal.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate = settings["learning_rate"]
    filters = []
    if settings["optimizer"] == "muon":
        filters = [parameter for parameter in trained if parameter.ndim == 4]
    weights, others = (
        [p for p in trained if (p.ndim > 1) == decays and not (filters and p.ndim == 4)]
        for decays in (True, False)
    )
    groups = [
        {"params": weights, "weight_decay": settings["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    match settings["optimizer"]:
        case "adam":
            return torch.optim.Adam(groups, lr=rate)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate)
        case "sgd":
            momentum = settings["momentum"]
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
        case "muon":
            return Muon(filters, groups, settings)
    raise ValueError(settings["optimizer"])


class Muon(torch.optim.SGD):
    """Muon for the filters of convolutions, Nesterov's SGD for all else (Jordan, 2024).

    A filter's update is its gradient with momentum, made nearly orthogonal; before each step each
    weight is scaled so that the mean squared norm of its output channels is 1. After
    airbench94_muon (github.com/KellerJordan/cifar10-airbench).

    Args:
        filters: weights (outputs, inputs, h, w).
        groups: the other parameters, as for SGD.
        settings: as for `optimizer`.
    """

    def __init__(
        self,
        filters: list[nn.Parameter],
        groups: list[dict[str, Any]],
        settings: dict[str, Any],
    ) -> None:
        momentum = settings["momentum"]
        self.kind = getattr(torch, settings["precision"])
        muon = {"lr": settings["muon_learning_rate"], "momentum": settings["muon_momentum"]}
        super().__init__(
            [{"params": filters, "weight_decay": 0.0, **muon}, *groups],
            lr=settings["learning_rate"],
            momentum=momentum,
            nesterov=momentum > 0,
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of both."""
        group = self.param_groups[0]
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            buffer = state["momentum_buffer"]
            buffer.mul_(group["momentum"]).add_(weight.grad)
            update = weight.grad.add(buffer, alpha=group["momentum"])
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            direction = orthogonal(update.flatten(1).to(self.kind)).to(weight.dtype)
            weight.sub_(direction.view_as(weight), alpha=group["lr"])
            weight.grad = None  # SGD passes over it
        super().step(closure)


# Of the iteration of five terms, whose slope at zero is the largest (Jordan, 2024).
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(matrix: Tensor, iterations: int = 3) -> Tensor:
    """A matrix (n, m) with the same singular vectors and singular values of about 1.

    Newton-Schulz iterations, which do not converge to 1. Three take singular values of at least a
    twentieth of the matrix's norm to 0.68 to 1.21; smaller ones grow up to 41 times.
    """
    a, b, c = _NEWTON_SCHULZ
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x = wide / (wide.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if len(matrix) > matrix.shape[1] else x


def schedule(
    optimizer: torch.optim.Optimizer, settings: dict[str, Any], steps: int
) -> lr_scheduler.LRScheduler:
    """The learning rate of each step.

    triangle climbs from zero for `warmup` of the steps, and falls to zero in a straight line
    (Smith and Topin, 2018); onecycle does so along cosines; cosine only falls; step divides the
    rate by ten after each third of the steps.

    Args:
        optimizer: at the highest rate.
        settings: `schedule`, `optimizer`, and `warmup` of triangle.
        steps: of the whole training.
    """
    match settings["schedule"]:
        case "triangle":
            climb = max(1, round(settings["warmup"] * steps))

            def share(step: int) -> float:
                rising, falling = (step + 1) / climb, (steps - step) / (steps - climb + 1)
                return max(0.0, min(rising, falling))

            return lr_scheduler.LambdaLR(optimizer, share)
        case "onecycle":
            # Each group has its own peak; sgd and muon keep the momentum that is set.
            peaks = [group["lr"] for group in optimizer.param_groups]
            cycles = settings["optimizer"] in ("adam", "adamw")
            return lr_scheduler.OneCycleLR(
                optimizer, peaks, total_steps=steps, cycle_momentum=cycles
            )
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, steps)
        case "step":
            return lr_scheduler.StepLR(optimizer, math.ceil(steps / 3))
    raise ValueError(settings["schedule"])


def average(model: nn.Module, decay: float) -> swa_utils.AveragedModel:
    """An exponential average of parameters and buffers over about 1 / (1 - decay) steps."""
    return swa_utils.AveragedModel(
        model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay), use_buffers=True
    )
