"""Pictures of any size as images of one, within a graph: what `data.pictures` does to them."""

import torch
from torch import Tensor

# As `data.pictures`: mid-grey beside a padded picture.
_FILL = 128


def resized(pictures: Tensor, size: int, resize: str) -> Tensor:
    """Pictures (n, 3, h, w) in 0..255 -> whole numbers in 0..255, float32 (n, 3, size, size).

    Pillow's bicubic filter, antialiased, as one matrix product an axis, rounded after each, as
    Pillow does, but columns always first. A picture of size x size stays as it is.

    Args:
        pictures: h and w may be symbolic.
        size: sides of the result in pixels.
        resize: "crop", "pad" or "stretch", as `data.pictures.decode`.
    """
    height, width = (torch.scalar_tensor(side) for side in pictures.shape[-2:])
    shorter, longer = torch.minimum(height, width), torch.maximum(height, width)
    rows, columns = (
        _matrix(side, count, size, resize, shorter, longer)
        for side, count in zip((height, width), pictures.shape[-2:], strict=True)
    )
    across = _levels(pictures.float() @ columns.T)
    images = _levels(rows @ across)
    beside = 1 - rows.sum(1, keepdim=True).round() * columns.sum(1).round()
    return images + _FILL * beside


def _levels(x: Tensor) -> Tensor:
    return (x + 0.5).floor().clamp(0, 255)


def _matrix(
    side: Tensor, count: int, size: int, resize: str, shorter: Tensor, longer: Tensor
) -> Tensor:
    """What resizes one axis, (size, side): rows beside a padded picture are 0.

    Args:
        side: pixels of the axis; `count` is the same as a number of the graph.
        shorter, longer: the sides of the picture.
    """
    start, extent, first, made = torch.zeros(()), side, torch.zeros(()), torch.full((), float(size))
    if resize == "crop":
        start, extent = (side - shorter) / 2, shorter
    if resize == "pad":
        made = (side * size / longer).round().clamp_min(1)
        first = ((size - made) / 2).floor()
    place = torch.arange(size) - first
    scale = extent / made
    centres = start + (place + 0.5) * scale
    distances = (torch.arange(count) + 0.5 - centres[:, None]).abs() / scale.clamp_min(1)
    weights = _cubic(distances)
    inside = ((place >= 0) & (place < made))[:, None]
    return torch.where(inside, weights / weights.sum(1, keepdim=True), 0.0)


def _cubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, equation 15."""
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
