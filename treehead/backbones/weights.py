"""Pretrained weights of several formats as one safetensors file; nothing in them is executed.

Canonical names: `backbone.<name in the network>`, and `head.weight`, `head.bias` of a linear head.
"""

import pickle
import re
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from treehead.artifacts import InputError, write_tensors

Tensors = dict[str, Tensor]


class _Inert:
    """Replaces an optimiser or a scheduler of a training checkpoint; it does nothing."""


def _plain_dict(*_: object) -> dict:
    return {}


# What micromind's training checkpoints hold besides tensors. Each name is mapped to an inert class:
# not even torch's own optimisers are constructed.
_INERT_GLOBALS = [
    dict,
    (_plain_dict, "collections.defaultdict"),
    (_Inert, "torch.optim.adam.Adam"),
    (_Inert, "torch.optim.adamw.AdamW"),
    (_Inert, "torch.optim.sgd.SGD"),
    (_Inert, "torch.optim.lr_scheduler.StepLR"),
    (_Inert, "torch.optim.lr_scheduler.CosineAnnealingLR"),
]

# Keys under which checkpoints hold the backbone's tensors, and prefixes that trainers add to names.
_BACKBONE_KEYS = ("feature_extractor", "state_dict", "model")
_PREFIXES = ("backbone.", "feature_extractor.", "module.", "_orig_mod.", "model.")
_HEAD_KEYS = ("classifier", "head", "heads", "fc")


def load(path: str | Path) -> tuple[Tensors, Tensors]:
    """Read a weights file: the tensors of the backbone, and of its linear head ({} without one).

    Accepts .safetensors, and a state dict or a micromind checkpoint written by `torch.save`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"The weights file {path} does not exist; check backbone.weights.")
    loaded = (_load_safetensors if path.suffix == ".safetensors" else _load_pickle)(path)
    if not isinstance(loaded, dict):
        raise InputError(
            f"{path} holds a {type(loaded).__name__}, not named tensors; save a state dict."
        )
    return _separate(loaded, path)


def _load_safetensors(path: Path) -> Tensors:
    try:
        return safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, KeyError, OSError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({error}); download or save it again."
        ) from error


def _load_pickle(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_INERT_GLOBALS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = found[1] if found else "more than tensors"
        raise InputError(
            f"{path} is refused because it holds {what}; save its state dict alone, with "
            "torch.save or as .safetensors."
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is not a complete weights file ({reason}); download or save it again."
        ) from error


def _separate(loaded: dict, path: Path) -> tuple[Tensors, Tensors]:
    inner = next(
        (loaded[key] for key in _BACKBONE_KEYS if isinstance(loaded.get(key), dict)), loaded
    )
    tensors = {_strip(name): value for name, value in _tensors(inner)}
    if not tensors:
        raise InputError(
            f"{path} holds no tensors (keys: {', '.join(map(str, loaded))}); save a state dict."
        )
    head = next((loaded[key] for key in _HEAD_KEYS if isinstance(loaded.get(key), dict)), {})
    flat = {**tensors, **{f"head.{name}": value for name, value in _tensors(head)}}
    owners = {name: name.split(".")[0] in _HEAD_KEYS for name in flat}
    backbone = {name: value for name, value in flat.items() if not owners[name]}
    return backbone, _linear([value for name, value in flat.items() if owners[name]])


def _strip(name: str) -> str:
    while prefix := next(filter(name.startswith, _PREFIXES), None):
        name = name.removeprefix(prefix)
    return name


def _tensors(named: dict) -> list[tuple[str, Tensor]]:
    """The tensors among a checkpoint's values."""
    pairs = named.items()
    return [pair for pair in pairs if isinstance(pair[0], str) and isinstance(pair[1], Tensor)]


def _linear(tensors: list[Tensor]) -> Tensors:
    """The weight (classes, dim) and bias (classes,) of a head that is one linear layer, else {}."""
    if sorted(tensor.ndim for tensor in tensors) != [1, 2]:
        return {}
    bias, weight = sorted(tensors, key=lambda tensor: tensor.ndim)
    return {"weight": weight.float(), "bias": bias.float()}


def fit(tensors: Tensors, network: nn.Module, path: str | Path) -> Tensors:
    """Check names and shapes of `tensors` against `network`, and return them in its order.

    The network's names may have a prefix that the file's names lack.
    """
    wanted = network.state_dict()
    tensors = _align(tensors, wanted)
    for name, value in wanted.items():
        if name not in tensors:
            raise InputError(
                f"{path} does not fit backbone.architecture: the file lacks the tensor {name} "
                f"of shape {tuple(value.shape)}; choose the architecture that it was trained with."
            )
        if tensors[name].shape != value.shape:
            raise InputError(
                f"{path} does not fit backbone.architecture: its tensor {name} has shape "
                f"{tuple(tensors[name].shape)}, the network's {tuple(value.shape)}; "
                "give the settings that it was trained with."
            )
        if value.is_floating_point() and not tensors[name].isfinite().all():
            raise InputError(f"{path}: the tensor {name} holds NaN or infinity; use another file.")
    if surplus := sorted(set(tensors) - set(wanted)):
        raise InputError(
            f"{path} does not fit backbone.architecture: the network has no tensor {surplus[0]} "
            f"of shape {tuple(tensors[surplus[0]].shape)}; choose the architecture that the file "
            "was trained with."
        )
    return {name: tensors[name].to(value.dtype) for name, value in wanted.items()}


def _align(tensors: Tensors, wanted: Tensors) -> Tensors:
    """Add the prefix, such as a Sequential's "0.", with which most of the tensors fit."""
    ends = {f".{name}": name for name in tensors}
    prefixes = {
        full.removesuffix(name)
        for full in wanted
        for end, name in ends.items()
        if full.endswith(end)
    }
    best = max(
        ["", *sorted(prefixes)], key=lambda prefix: sum(prefix + name in wanted for name in tensors)
    )
    return {best + name: value for name, value in tensors.items()}


def save(path: str | Path, backbone: Tensors, head: Tensors) -> None:
    """Write the canonical safetensors file."""
    named = {f"backbone.{name}": value for name, value in backbone.items()}
    named |= {f"head.{name}": value for name, value in head.items()}
    write_tensors(path, {name: value.detach().cpu().numpy() for name, value in named.items()})


def into(network: nn.Module, path: str | Path) -> None:
    """Load the backbone's tensors of a canonical file into `network`."""
    tensors, _ = load(path)
    network.load_state_dict(fit(tensors, network, path))


def head(path: str | Path) -> dict[str, np.ndarray]:
    """The linear head of a canonical file: weight (classes, dim) and bias (classes,)."""
    _, tensors = load(path)
    if not tensors:
        raise InputError(f"{path} has no linear head; use weights that were trained with one.")
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise InputError(f"{path}: the linear head holds NaN or infinity; use another file.")
    return {name: tensor.numpy() for name, tensor in tensors.items()}
