"""A whitening layer and residual stages, for 32 pixels and few epochs.

After the CIFAR-100 speed runs of autumn 2026 (github.com/AIDDA-Institute/CIFAR-100-speedrun: the
structure of futurebiohackers, the settings of NAVIER-STOKED), which build on airbench (Jordan,
2024). With the default widths it has 8.5 million parameters and 175 million MACs at 32 pixels.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from torch import Tensor, nn

from treehead.backbones.networks.airbench import identity_convolution
from treehead.backbones.whitening import Whitening

_KERNELS = ((3, 1, 1), (3, 3, 1), (2, 3, 3))


def build(
    size: int,
    *,
    widths: Annotated[list[Annotated[int, Ge(1), Le(4096)]], MinLen(3), MaxLen(3)],
    middles: Annotated[list[Annotated[int, Ge(1), Le(4096)]], MinLen(3), MaxLen(3)],
) -> nn.Module:
    """Three stages of `widths` channels, with `middles` within their residual pairs."""
    inputs = [24, *widths[:-1]]
    stages = map(_Stage, inputs, widths, middles, _KERNELS)
    return nn.Sequential(Whitening(), nn.SiLU(inplace=True), *stages, _MaxAndMean())


class _Stage(nn.Module):
    """A convolution and max pooling that halve the side, and a residual pair of convolutions."""

    def __init__(self, inputs: int, outputs: int, middle: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third = kernels
        self.halved = nn.Sequential(
            identity_convolution(inputs, outputs, first),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(outputs),
            nn.SiLU(inplace=True),
        )
        self.pair = nn.Sequential(
            identity_convolution(outputs, middle, second),
            nn.BatchNorm2d(middle),
            nn.SiLU(inplace=True),
            identity_convolution(middle, outputs, third),
            nn.BatchNorm2d(outputs),
            nn.SiLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.halved(x)
        return x + self.pair(x)


class _MaxAndMean(nn.Module):
    """Maps (n, dim, h, w) to the sum of their largest and their mean value, (n, dim)."""

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # whose gradient is channels_last, as x is
        return pixels.amax(1) + pixels.mean(1)


def suggest(kernels: list[tuple[int, ...]]) -> Iterator[dict[str, Any]]:
    """Settings of networks whose convolutions may have these shapes, in the network's order."""
    outputs = [outputs for outputs, *_ in kernels]
    if len(outputs) == 10:  # the first is the whitening layer
        yield {"widths": outputs[1::3], "middles": outputs[2::3]}
