"""Optimisers, learning rate schedules and averaged weights by the names of the config."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler, swa_utils


def optimizer(
    parameters: Iterable[nn.Parameter], settings: dict[str, Any]
) -> torch.optim.Optimizer:
    """The optimiser of `finetune.optimizer`; biases and BatchNorm's scales do not decay.

    Args:
        parameters: what is trained.
        settings: `optimizer`, `learning_rate`, `weight_decay`, and for sgd its `momentum`
            (Nesterov's).
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    weights, others = (
        [parameter for parameter in trained if (parameter.ndim > 1) == decays]
        for decays in (True, False)
    )
    groups = [
        {"params": weights, "weight_decay": settings["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    rate = settings["learning_rate"]
    match settings["optimizer"]:
        case "adam":
            return torch.optim.Adam(groups, lr=rate)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate)
        case "sgd":
            momentum = settings["momentum"]
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
    raise ValueError(settings["optimizer"])


def schedule(
    optimizer: torch.optim.Optimizer, settings: dict[str, Any], steps: int
) -> lr_scheduler.LRScheduler:
    """The learning rate of each step.

    triangle climbs from zero for `warmup` of the steps, and falls to zero in a straight line
    (Smith and Topin, 2018); onecycle does so along cosines; cosine only falls; step divides the
    rate by ten after each third of the steps.

    Args:
        optimizer: at the highest rate.
        settings: `schedule`, `learning_rate`, and `warmup` of triangle.
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
            return lr_scheduler.OneCycleLR(optimizer, settings["learning_rate"], total_steps=steps)
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
