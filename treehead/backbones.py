"""Feature extractors: uint8 images in, pooled features out, resizing and normalising included."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Backbone(nn.Module):
    """A network with its preprocessing: images (n, 3, h, w) in 0..255 -> features (n, dim).

    Args:
        network: maps normalised images (n, 3, size, size) to features (n, dim).
        dim: number of features.
        size: side of the network's input in pixels; other sizes are resized bilinearly.
        mean, std: per-channel statistics of the data set, on the 0..1 scale.
    """

    def __init__(
        self, network: nn.Module, dim: int, size: int, mean: list[float], std: list[float]
    ) -> None:
        super().__init__()
        self.network = network
        self.dim = dim
        self.size = size
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.preprocess(images))

    def preprocess(self, images: Tensor) -> Tensor:
        """Resize and normalise: (n, 3, h, w) in 0..255 -> float32 (n, 3, size, size)."""
        images = (images.float() - self.mean) / self.std
        if images.shape[-2:] == (self.size, self.size):
            return images
        shrinks = images.shape[-1] > self.size
        return F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=shrinks)


def build(
    architecture: str, settings: dict[str, Any], size: int, normalization: dict[str, list[float]]
) -> Backbone:
    """A backbone with its preprocessing, initialised from torch's ambient generator.

    Args:
        architecture: a key of `ARCHITECTURES`.
        settings: that architecture's own settings, as under `backbone.<architecture>`.
        size: input side in pixels.
        normalization: `mean` and `std` of the data set per channel, on the 0..1 scale.
    """
    network, dim = ARCHITECTURES[architecture](size=size, **settings)
    return Backbone(network, dim, size, **normalization)


def phinet(
    size: int,
    alpha: float,
    beta: float,
    t_zero: float,
    num_layers: int,
    divisor: int,
    downsampling_layers: list[int],
) -> tuple[nn.Module, int]:
    """micromind's PhiNet (Paissan et al., ACM TECS 2022) with global average pooling."""
    from micromind.networks import PhiNet  # noqa: PLC0415 - 1.6 s, only for those who use it

    features = PhiNet(
        input_shape=(3, size, size),
        alpha=alpha,
        beta=beta,
        t_zero=t_zero,
        num_layers=num_layers,
        divisor=divisor,
        downsampling_layers=downsampling_layers,
        include_top=False,
    )
    features.eval()
    with torch.no_grad():
        dim = features(torch.zeros(1, 3, size, size)).shape[1]
    features.train()
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten()), dim


def resnet9(size: int, width: float) -> tuple[nn.Module, int]:
    """The study's ResNet9: 64-128-256-512-1028 channels times `width`, max-pooled to one pixel."""
    a, b, c, d, e = (max(1, round(width * channels)) for channels in (64, 128, 256, 512, 1028))
    network = nn.Sequential(
        _convolution(3, a),
        _convolution(a, b, pool=True),
        _Residual(_convolution(b, b), _convolution(b, b)),
        _convolution(b, c, pool=True),
        _convolution(c, d, pool=True),
        _Residual(_convolution(d, d), _convolution(d, d)),
        _convolution(d, e, pool=True),
        _Residual(_convolution(e, e), _convolution(e, e)),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
    )
    return network, e


def _convolution(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


ARCHITECTURES = {"phinet": phinet, "resnet9": resnet9}
