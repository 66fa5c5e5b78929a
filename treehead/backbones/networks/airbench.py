"""A whitening layer and stages of convolutions, after airbench94 (Jordan, 2024), for 32 pixels."""

from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from torch import nn

from treehead.backbones.convolution import Convolution, GlobalMaxPool
from treehead.backbones.whitening import Whitening


def build(
    size: int,
    *,
    widths: Annotated[list[Annotated[int, Ge(1), Le(4096)]], MinLen(1), MaxLen(4)],
) -> nn.Module:
    """A stage for each of `widths`: two convolutions, of which the first halves the side."""
    inputs = [24, *widths[:-1]]
    stages = (_stage(before, after) for before, after in zip(inputs, widths, strict=True))
    return nn.Sequential(Whitening(), nn.ReLU(inplace=True), *stages, GlobalMaxPool())


def suggest(kernels: list[tuple[int, ...]]) -> Iterator[dict[str, Any]]:
    """Settings of networks whose convolutions may have these shapes, in the network's order."""
    widths = [outputs for outputs, _, side, _ in kernels if side == 3][::2]
    if 1 <= len(widths) <= 4:
        yield {"widths": widths}


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        identity_convolution(inputs, outputs),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        identity_convolution(outputs, outputs),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def identity_convolution(inputs: int, outputs: int, side: int = 3) -> Convolution:
    """A convolution that first passes on each input channel as it is."""
    layer = Convolution(inputs, outputs, side)
    nn.init.dirac_(layer.weight[: min(inputs, outputs)])
    return layer
