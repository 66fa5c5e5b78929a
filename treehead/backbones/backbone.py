"""Feature extractors: uint8 images in, pooled features out, resizing and normalising included."""

import importlib
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treehead.backbones.whitening import Whitening


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
    """A backbone with its preprocessing, initialised from torch's global generator.

    Args:
        architecture: a file of `networks`, or `torchvision/<name>`.
        settings: keyword arguments of that file's `build`, as under `backbone.<architecture>`.
        size: input side in pixels.
        normalization: `mean` and `std` of the data set per channel, on the 0..1 scale.
    """
    network, dim = network_of(architecture, settings, size)
    return Backbone(network, dim, size, **normalization)


def network_of(architecture: str, settings: dict[str, Any], size: int) -> tuple[nn.Module, int]:
    """The network without preprocessing, and its number of features; arguments as for `build`."""
    file, *name = architecture.split("/", 1)
    return _file(file).build(size, *name, **settings)


def pretrained(architecture: str) -> dict[str, Tensor]:
    """The weights that the library of an architecture `<library>/<name>` has for it."""
    file, name = architecture.split("/", 1)
    return _file(file).pretrained(name)


def _file(name: str) -> ModuleType:
    return importlib.import_module(f"treehead.backbones.networks.{name}")
