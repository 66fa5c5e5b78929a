"""The weights of a run: one safetensors file of the network's tensors and of its linear head.

Canonical names: `backbone.<name in the network>`, and `head.weight`, `head.bias`.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from treehead.artifacts import InputError, read_tensors, write_tensors

Tensors = dict[str, Tensor]


def save(path: str | Path, backbone: Tensors, head: Tensors) -> None:
    """Write the canonical file."""
    named = {f"backbone.{name}": value for name, value in backbone.items()}
    named |= {f"head.{name}": value for name, value in head.items()}
    write_tensors(path, {name: value.detach().cpu().numpy() for name, value in named.items()})


def into(network: nn.Module, path: str | Path) -> None:
    """Load the backbone's tensors of a canonical file into `network`."""
    tensors = {name: torch.from_numpy(array) for name, array in _part(path, "backbone").items()}
    try:
        restore(network, tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(
            f"{path} is of another network ({reason}); delete it, and it is made again."
        ) from error


def restore(network: nn.Module, tensors: Tensors) -> None:
    """Put tensors into the network that they are from.

    Modules such as torchvision's MNASNet load tensors by the version that wrote them: this one.
    """
    named = OrderedDict(tensors)
    named._metadata = network.state_dict()._metadata
    network.load_state_dict(named)


def head(path: str | Path) -> dict[str, np.ndarray]:
    """The linear head of a canonical file: weight (classes, dim) and bias (classes,)."""
    tensors = _part(path, "head")
    if not tensors:
        raise InputError(f"{path} has no linear head; use weights that were trained with one.")
    return tensors


def _part(path: str | Path, part: str) -> dict[str, np.ndarray]:
    named = read_tensors(path)
    return {
        name.removeprefix(f"{part}."): array
        for name, array in named.items()
        if name.startswith(f"{part}.")
    }
