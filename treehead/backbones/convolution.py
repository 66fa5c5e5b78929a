"""A convolution that a CPU trains fast on small maps too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """A square convolution of stride 1 that keeps the map's size and has no bias.

    In training on a CPU, a map of no more pixels than the kernel is a row of one matrix product,
    whose matrix has a block of the kernel for each pair of pixels. oneDNN computes with the zeros
    of the padding, and in bfloat16 has no fast kernels for such maps: docs/experiments.md, "One
    step of training", has the ratios.

    Args:
        inputs, outputs: channels.
        side: of the kernel, in pixels; an even one reaches one pixel further down and right.
    """

    def __init__(self, inputs: int, outputs: int, side: int = 3) -> None:
        before, after = (side - 1) // 2, side // 2  # rows and columns of padding
        super().__init__(inputs, outputs, side, padding=before, bias=False)
        self.more = (0, after - before) * 2 if after > before else None

    def forward(self, x: Tensor) -> Tensor:
        small = 1 < x.shape[2] * x.shape[3] <= self.weight[0, 0].numel()
        if small and self.training and x.device.type == "cpu":
            return product(x, self.weight)
        return self.convolved(x)

    def convolved(self, x: Tensor) -> Tensor:
        """The same by torch's own convolution, whatever the map."""
        return super().forward(F.pad(x, self.more) if self.more else x)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of x (n, inputs, h, w) with weight (outputs, inputs, side, side).

    Returns:
        (n, outputs, h, w), channels_last.
    """
    n, inputs, height, width = x.shape
    outputs, _, side, _ = weight.shape
    pixels, before = height * width, (side - 1) // 2
    row, column = torch.arange(pixels) // width, torch.arange(pixels) % width
    down, right = (at[:, None] - at + before for at in (row, column))  # from output to input
    reached = (down >= 0) & (down < side) & (right >= 0) & (right < side)
    block = torch.where(reached, down * side + right, side * side)
    blocks = weight.permute(2, 3, 1, 0).reshape(side * side, inputs, outputs)
    blocks = torch.cat([blocks, blocks.new_zeros(1, inputs, outputs)])
    pairs = blocks.index_select(0, block.flatten()).view(pixels, pixels, inputs, outputs)
    matrix = pairs.transpose(1, 2).reshape(pixels * inputs, pixels * outputs)
    maps = x.permute(0, 2, 3, 1).reshape(n, pixels * inputs)
    return (maps @ matrix).view(n, height, width, outputs).permute(0, 3, 1, 2)


class GlobalMaxPool(nn.Module):
    """Maps (n, channels, h, w) -> their largest values (n, channels).

    AdaptiveMaxPool2d adds up its gradient in another order each time on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3))
