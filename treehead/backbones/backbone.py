"""Feature extractors: uint8 images in, pooled features out, resizing and normalising included."""

import importlib
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from treehead.artifacts import InputError, lacks_memory
from treehead.backbones import own, resizing
from treehead.backbones.whitening import Whitening


class Backbone(nn.Module):
    """A network with its preprocessing: images (n, 3, h, w) in 0..255 -> features (n, dim).

    Args:
        network: maps normalised images (n, 3, size, size) to features (n, dim).
        dim: number of features.
        size: side of the network's input in pixels; images of other sizes are resized.
        mean, std: per-channel statistics of the data set, on the 0..1 scale.
        interpolation: nearest, bilinear or bicubic.
        crop: share of the resized image's side that is kept, in its centre.
    """

    def __init__(
        self,
        network: nn.Module,
        dim: int,
        size: int,
        mean: list[float],
        std: list[float],
        interpolation: str = "bilinear",
        crop: float = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.dim = dim
        self.size = size
        self.interpolation = interpolation
        self.crop = crop
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
        """Resize, crop and normalise: (n, 3, h, w) in 0..255 -> float32 (n, 3, size, size)."""
        images = (images.float() - self.mean) / self.std
        if self.crop == 1 and images.shape[-2:] == (self.size, self.size):
            return images
        if self.crop == 1 and self.interpolation == "bilinear":
            shrinks = images.shape[-1] > self.size
            return F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=shrinks)
        rows, columns = (
            torch.from_numpy(resizing.matrix(side, self.size, self.interpolation, self.crop))
            for side in images.shape[-2:]
        )
        return rows.to(images) @ images @ columns.to(images).T


def build(
    architecture: str,
    settings: dict[str, Any],
    size: int,
    normalization: dict[str, list[float]],
    interpolation: str = "bilinear",
    crop: float = 1,
) -> Backbone:
    """A backbone with its preprocessing, initialised from torch's global generator.

    Args:
        architecture: a file of `networks`, `<library>/<name>`, or one's own `<file>.py:<function>`.
        settings: keyword arguments of that file's `build`, as under `backbone.<architecture>`.
        size: input side in pixels.
        normalization: `mean` and `std` of the data set per channel, on the 0..1 scale.
        interpolation: nearest, bilinear or bicubic.
        crop: share of the resized image's side that is kept.
    """
    network, dim = network_of(architecture, settings, size)
    return Backbone(network, dim, size, **normalization, interpolation=interpolation, crop=crop)


def network_of(architecture: str, settings: dict[str, Any], size: int) -> tuple[nn.Module, int]:
    """The network without preprocessing, and its number of features; arguments as for `build`.

    Maps (n, dim, h, w) are averaged over their pixels.

    Raises:
        InputError: the network can't be built, can't read images of that size, or has no features.
    """
    file, *name = _parts(architecture)
    key = f"backbone.architecture {architecture}"
    at = f"backbone.image_size {size}"
    try:
        network = network_file(file).build(size, *name, **settings)
    except InputError:
        raise
    except Exception as error:  # libraries and networks of one's own fail in any way
        if lacks_memory(error):
            raise
        reason = _reason(architecture, error)
        raise InputError(
            f"{key} can't be built for {at} ({reason}); correct its settings or the size."
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{key} gives a {type(network).__name__}; return a torch.nn.Module from it."
        )
    try:
        features = _features(network, size)
    except Exception as error:
        if lacks_memory(error):
            raise
        raise InputError(
            f"{key} can't read images of {at} ({_reason(architecture, error)}); give a larger size."
        ) from error
    found = getattr(features, "shape", None)
    if not isinstance(features, Tensor) or len(found) not in (2, 4) or found[0] != 2:
        told = f"shape {tuple(found)}" if found is not None else f"type {type(features).__name__}"
        raise InputError(
            f"{key} gives features of {told} for 2 images; return a tensor (n, dim) or "
            "(n, dim, h, w)."
        )
    if not features.isfinite().all():
        raise InputError(
            f"{key} gives NaN or infinity for {at}; correct its layers or their initialisation."
        )
    if features.ndim == 4:
        network = nn.Sequential(network, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return network, features.shape[1]


def _features(network: nn.Module, size: int) -> Any:
    """What a network gives for two random images; its state and torch's generator stay."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return functional_call(network.eval(), buffers, images)
    finally:
        for module, training in modes.items():
            module.training = training


def _reason(architecture: str, error: Exception) -> str:
    """What went wrong; in a network of one's own, with the line."""
    lines = str(error).splitlines()
    told = lines[0] if lines else type(error).__name__
    return own.told(error, told) if _parts(architecture)[0] == "own" else told


def _parts(architecture: str) -> list[str]:
    """The file of `networks` that builds an architecture, and what else its `build` takes."""
    return ["own", architecture] if ".py:" in architecture else architecture.split("/", 1)


def brought(
    architecture: str, settings: dict[str, Any], source: str, sha256: str | None
) -> dict[str, Any]:
    """What belongs to the weights of an architecture and comes with them; {} if nothing is known.

    Args:
        architecture: as for `build`.
        settings: of the architecture, as for `build`.
        source: as `backbone.weights`: the name of the architecture's library, or another.
        sha256: of a file of weights, if the source is one.

    Returns:
        Some of `size`, `interpolation`, `crop`, `mean` and `std`, and more `settings` of `build`.
    """
    library, *name = _parts(architecture)
    if not name or library == "own" or (source != library and sha256 is None):
        return {}
    return network_file(library).brought(*name, settings, None if source == library else sha256)


def hosted(architecture: str) -> tuple[str, str]:
    """The repository of the hub with the weights of an architecture of a library, and the file."""
    library, name = architecture.split("/", 1)
    return network_file(library).hosted(name)


def pretrained(architecture: str, size: int, file: str | None) -> dict[str, Tensor]:
    """The weights that the library of an architecture `<library>/<name>` has for it.

    Args:
        architecture, size: as for `build`.
        file: what `hosted` named; None for torchvision, which downloads by itself.
    """
    library, name = architecture.split("/", 1)
    return network_file(library).pretrained(name, size, file)


def network_file(architecture: str) -> ModuleType:
    """The module of `networks` that builds an architecture, or has that name."""
    file = _parts(architecture)[0]
    return own if file == "own" else importlib.import_module(f"treehead.backbones.networks.{file}")
