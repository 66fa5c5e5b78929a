"""micromind's XiNet (Ancilotto et al., ICCV 2023), for images of any side."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from micromind.networks import XiNet
from torch import Tensor, nn


def build(
    size: int,
    *,
    alpha: Annotated[int | float, Gt(0), Le(10)],
    gamma: Annotated[int | float, Ge(2), Le(64)],
    num_layers: Annotated[int, Ge(3), Le(12)],
    base_filters: Literal[4, 16],
) -> nn.Module:
    """The network without its classifier, by micromind's own arguments.

    Micromind's layers do not fit each other with other values of `base_filters`, or with a `gamma`
    of less than 2.
    """
    network = XiNet(
        input_shape=(3, size, size),
        alpha=alpha,
        gamma=gamma,
        num_layers=num_layers,
        base_filters=base_filters,
    )
    # micromind pools the skip connection to a side that fits powers of two alone.
    for place, layer in enumerate(network._layers[1:]):
        layer.adaptive_pooling = _Halved(min(place // 2, num_layers - 3))
    return network


def suggest(kernels: list[tuple[int, ...]]) -> Iterator[dict[str, Any]]:
    """Settings of networks whose convolutions may have these shapes.

    They are sought among those that people use: alpha in steps of 0.05.
    """
    stem = next((outputs for outputs, inputs, side, _ in kernels if (inputs, side) == (3, 7)), 0)
    # Each layer has a convolution of 3 x 3, and each but the last two one of its attention.
    depth, rest = divmod(sum(side == 3 for _, _, side, _ in kernels) + 6, 4)
    if not stem or rest or not 3 <= depth <= 12:
        return
    for base, twentieths, gamma in itertools.product((16, 4), range(1, 201), range(2, 9)):
        alpha = int(value) if (value := twentieths / 20).is_integer() else value
        if int(base * alpha) == stem:
            yield {"alpha": alpha, "gamma": gamma, "num_layers": depth, "base_filters": base}


class _Halved(nn.Module):
    """Averages maps (n, c, h, w) as max pooling halves them so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        sides = tuple(side >> self.times for side in x.shape[2:])
        return F.adaptive_avg_pool2d(x, sides)
