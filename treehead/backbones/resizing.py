"""Resizing as a matrix product: exact in any format, with the centre crop at no cost."""

from functools import cache

import numpy as np


@cache
def matrix(side: int, size: int, interpolation: str, crop: float) -> np.ndarray:
    """What resizes one axis, float32 (size, side): Pillow's kernels, antialiased when it shrinks.

    Args:
        side: pixels that there are.
        size: pixels to make.
        interpolation: nearest, bilinear or bicubic.
        crop: share of the resized pixels that is kept, in the middle.
    """
    whole = round(size / crop)
    first = round((whole - size) / 2)
    pixels = np.arange(side) + 0.5
    centres = (np.arange(first, first + size) + 0.5) * side / whole
    if interpolation == "nearest":
        return (np.floor(centres)[:, None] == np.floor(pixels)).astype(np.float32)
    width = max(side / whole, 1)
    distances = np.abs(pixels - centres[:, None]) / width
    weights = _KERNELS[interpolation](distances)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - x, 0)


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, equation 15."""
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


_KERNELS = {"bilinear": _triangle, "bicubic": _cubic}
