"""Weights of two or of three values, trained as such: a full head in a few thousand bytes.

Some features have weights -1, 0 and 1 (1.6 bits each as they are packed), the others -1 and 1 (one
bit), times a scale of the class for each kind. Rounding is in the loop, its gradient passed
straight through and the scales learned (Esser et al., ICLR 2020, section 2).
"""

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn
from torch.nn.functional import linear

from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import costs, loop
from treehead.heads.costs import Cost
from treehead.heads.head import Head


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    ternary: Annotated[float, Ge(0), Le(1)],
    rounded: Annotated[float, Ge(0), Lt(1)] = 0.3,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit a full layer, and round its weights in the loop after some of the steps.

    Args:
        ternary: share of the features whose weights have three values: those that gain most.
        rounded: share of the steps after which weights are rounded.
    """
    mean, _ = loop.mean_and_deviation(train.features)
    inputs = train.features.changed(lambda x: x - mean)
    torch.manual_seed(seed)
    layer = nn.Linear(inputs.shape[1], train.classes)
    nn.init.zeros_(layer.weight)
    scales = nn.Parameter(torch.zeros(2, train.classes, 1))
    three = torch.zeros(inputs.shape[1], dtype=torch.bool)
    rounding = False

    @torch.no_grad()
    def start_rounding(done: float) -> None:
        nonlocal rounding
        if rounding or done < rounded:
            return
        rounding = True
        size = layer.weight.abs().mean(1, keepdim=True)
        scales.copy_(torch.stack([size, 1.2 * size]).log())
        lost = (layer.weight - _two(layer.weight, scales[0].exp())).square().sum(0)
        still = (layer.weight - _three(layer.weight, scales[1].exp())).square().sum(0)
        three[(lost - still).topk(round(ternary * len(three))).indices] = True

    def weight() -> Tensor:
        if not rounding:
            return layer.weight
        two, more = _two(layer.weight, scales[0].exp()), _three(layer.weight, scales[1].exp())
        return torch.where(three, more, two)

    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return toward(linear(x, weight(), layer.bias), rows)

    model = nn.ParameterList([*layer.parameters(), scales])
    loop.train(
        model,
        loss,
        inputs=inputs,
        training=training,
        seed=seed,
        what="lowbit",
        before_step=start_rounding,
    )
    two, three_valued = (layer.weight.detach() / scale.detach().exp() for scale in scales)
    scale = scales.detach().exp().numpy()[:, :, 0]
    arrays = {
        "three": three.numpy(),
        "positive": (two[:, ~three] > 0).numpy().astype(np.int8),
        "code": three_valued[:, three].clamp(-1, 1).round().numpy().astype(np.int8),
        "scale_two": scale[0],
        "scale_three": scale[1],
        "bias": (layer.bias - weight() @ torch.from_numpy(mean)).detach().numpy(),
    }
    return Head(arrays)


def _two(weight: Tensor, scale: Tensor) -> Tensor:
    """Weight rounded to -scale and scale, with the gradient of what it was within twice that."""
    size = (weight / scale).clamp(-2, 2)
    sign = torch.where(weight > 0, 1.0, -1.0)
    return scale * (size + (sign - size).detach())


def _three(weight: Tensor, scale: Tensor) -> Tensor:
    """Weight rounded to -scale, 0 and scale, with the gradient of what it was within that."""
    size = (weight / scale).clamp(-1, 1)
    return scale * (size + (size.round() - size).detach())


def dense(head: Head) -> np.ndarray:
    """The weight (classes, dim)."""
    weight = np.empty((len(head["bias"]), len(head["three"])), np.float32)
    weight[:, ~head["three"]] = np.where(head["positive"], 1, -1) * head["scale_two"][:, None]
    weight[:, head["three"]] = head["code"] * head["scale_three"][:, None]
    return weight


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes)."""
    return features @ dense(head).T + head["bias"]


def cost(head: Head, features: np.ndarray) -> Cost:
    """Counted as if each weight that is not 0 were multiplied, though it is an addition."""
    macs = head["positive"].size + int(np.count_nonzero(head["code"]))
    other = 4 * len(head["bias"])
    return costs.same_for_all(len(features), macs=macs, other=other)
