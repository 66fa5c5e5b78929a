"""The study's ResNet9: 64-128-256-512-1028 channels, max-pooled to one pixel."""

from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Gt, Le
from torch import Tensor, nn

from treehead.backbones.convolution import Convolution, GlobalMaxPool


def build(size: int, *, width: Annotated[int | float, Gt(0), Le(8)]) -> nn.Module:
    """Five levels of channels, each times `width`."""
    a, b, c, d, e = (max(1, round(width * channels)) for channels in (64, 128, 256, 512, 1028))
    return nn.Sequential(
        _convolution(3, a),
        _convolution(a, b, pool=True),
        _Residual(_convolution(b, b), _convolution(b, b)),
        _convolution(b, c, pool=True),
        _convolution(c, d, pool=True),
        _Residual(_convolution(d, d), _convolution(d, d)),
        _convolution(d, e, pool=True),
        _Residual(_convolution(e, e), _convolution(e, e)),
        GlobalMaxPool(),
    )


def suggest(kernels: list[tuple[int, ...]]) -> Iterator[dict[str, Any]]:
    """Settings of networks whose convolutions may have these shapes, in the network's order."""
    first = next((outputs for outputs, inputs, *_ in kernels if inputs == 3), 0)
    for step in (20, 64):
        width = round(first / 64 * step) / step
        if 0 < width <= 8:
            yield {"width": int(width) if width == int(width) else width}


def _convolution(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers = [
        Convolution(inputs, outputs),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)
