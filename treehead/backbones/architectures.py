"""Feature extractors: uint8 images in, pooled features out, resizing and normalising included."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treehead.backbones import torchvision_models


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

    def whiten(self, images: Tensor) -> None:
        """Give the network's whitening layer its weights, if it has one that has none yet.

        Args:
            images: some of train, uint8 (n, 3, h, w).
        """
        for layer in self.network.modules():
            if isinstance(layer, Whitening) and not layer.weight.any():
                layer.fit(self.preprocess(images))

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
        architecture: a key of `ARCHITECTURES`, or `torchvision/<name>`.
        settings: that architecture's own settings, as under `backbone.<architecture>`.
        size: input side in pixels.
        normalization: `mean` and `std` of the data set per channel, on the 0..1 scale.
    """
    network, dim = network_of(architecture, settings, size)
    return Backbone(network, dim, size, **normalization)


def network_of(architecture: str, settings: dict[str, Any], size: int) -> tuple[nn.Module, int]:
    """The network without preprocessing, and its number of features; arguments as for `build`."""
    library, _, name = architecture.partition("/")
    if library == "torchvision":
        return torchvision_models.extractor(name, size)
    return ARCHITECTURES[architecture](size=size, **settings)


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
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Whitening(nn.Module):
    """A fixed 2 x 2 convolution to uncorrelated values of both signs; its bias is learned.

    After the first layer of airbench (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
    2024, section 3.2).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(24, 3, 2, 2))
        self.bias = nn.Parameter(torch.zeros(24))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor, floor: float = 5e-4) -> None:
        """Take the weights from the patches of normalised images (n, 3, h, w).

        Args:
            images: some of train.
            floor: added to the variance along each axis.
        """
        patches = F.unfold(images, 2).transpose(1, 2).reshape(-1, 12).double()
        variance, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (axes / (variance + floor).sqrt()).T.flip(0).view(12, 3, 2, 2)
        self.weight.copy_(torch.cat([filters, -filters]))


def airbench(size: int, widths: list[int]) -> tuple[nn.Module, int]:
    """A whitening layer and a stage for each of `widths`, after airbench94 (Jordan, 2024).

    A stage is two convolutions, the first of which halves the side.
    """
    inputs = [24, *widths[:-1]]
    stages = (_stage(before, after) for before, after in zip(inputs, widths, strict=True))
    pooled = [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    return nn.Sequential(Whitening(), nn.ReLU(inplace=True), *stages, *pooled), widths[-1]


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _identity_convolution(inputs, outputs),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        _identity_convolution(outputs, outputs),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _identity_convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3 x 3 convolution that first passes on each input channel as it is."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[: min(inputs, outputs)])
    return layer


ARCHITECTURES = {"phinet": phinet, "resnet9": resnet9, "airbench": airbench}
