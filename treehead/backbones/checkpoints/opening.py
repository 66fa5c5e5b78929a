"""All tensors of a weights file, whoever wrote it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from treehead.artifacts import InputError
from treehead.backbones.checkpoints import foreign, pickles, shards
from treehead.backbones.checkpoints.pickles import StandIn

Tensors = dict[str, Tensor]
_MANY = 1_000_000  # names: what holds its parts again and again would never end


def tensors(path: str | Path) -> Tensors:
    """All tensors of a weights file, in its order; keys that lead to one are joined by "."."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"The weights file {path} does not exist; check backbone.weights.")
    if index := shards.index(path):
        return _joined(path, index)
    return _one(path)


def _one(path: Path) -> Tensors:
    try:
        if other := foreign.description(path):
            raise InputError(other)
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}); check the path and its permissions."
        ) from error
    if foreign.is_safetensors(head):
        return _safetensors(path)
    return _flat(pickles.load(path), path)


def _joined(path: Path, index: dict[str, Path]) -> Tensors:
    for file in set(index.values()):
        if not file.is_file():
            raise InputError(f"{path} names {file}, which does not exist; download it too.")
    held = {file: _one(file) for file in dict.fromkeys(index.values())}
    for name, file in index.items():
        if name not in held[file]:
            raise InputError(f"{path}: {file} lacks the tensor {name}; download both again.")
    return {name: held[file][name] for name, file in index.items()}


def _safetensors(path: Path) -> Tensors:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}
    except (SafetensorError, KeyError, OSError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({error}); download or save it again."
        ) from error


def _flat(loaded: object, path: Path) -> Tensors:
    found: Tensors = {}
    try:
        named = _within(loaded, {})
    except RecursionError as error:
        raise InputError(
            f"{path} nests too deep or without end; save its state dict alone."
        ) from error
    for name, tensor in named:
        if name in found and found[name] is not tensor:
            raise InputError(f"{path} has two tensors {name}; save its state dict alone.")
        found[name] = tensor
    if not found or "" in found:
        keys = ", ".join(map(str, list(loaded)[:8])) if isinstance(loaded, dict) else "no mapping"
        raise InputError(f"{path} holds no named tensors (keys: {keys}); save a state dict.")
    return {name: _values(tensor, name, path) for name, tensor in found.items()}


def _values(tensor: Tensor, name: str, path: Path) -> Tensor:
    """The tensor without its gradient, quantisation and sparsity."""
    tensor = Tensor.detach(tensor)
    if tensor.is_meta or tensor.is_nested:
        what = "without its values (device meta)" if tensor.is_meta else "of changing shape"
        raise InputError(f"{path} holds the tensor {name} {what}; save the trained state dict.")
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def _within(value: object, known: dict[int, list]) -> list[tuple[str, Tensor]]:
    """The tensors in `value` with their names; what holds itself is passed over inside itself."""
    if isinstance(value, Tensor):
        return [("", value)]
    if not isinstance(value, dict | list | tuple):
        return []
    if id(value) not in known:
        known[id(value)] = []
        found = []
        for key, child in _children(value):
            found += [
                (f"{key}.{rest}" if rest else key, tensor) for rest, tensor in _within(child, known)
            ]
            if len(found) > _MANY:
                raise RecursionError
        known[id(value)] = found
    return known[id(value)]


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, StandIn):
        yield from _of_stand_in(value)
    elif isinstance(value, dict):
        yield from _items(value)
    elif isinstance(value, list | tuple):
        yield from ((str(place), child) for place, child in enumerate(value))


def _items(mapping: dict) -> Iterable[tuple[str, object]]:
    """The values by key; a key that is no text or number, such as a tensor, by its place."""
    for place, (key, child) in enumerate(mapping.items()):
        yield (str(key) if isinstance(key, str | int) else str(place)), child


def _of_stand_in(value: StandIn) -> Iterator[tuple[str, object]]:
    attributes = {}
    for state in value.states:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                attributes |= part
    if {"_parameters", "_buffers", "_modules"} <= attributes.keys():
        yield from _of_module(attributes)
        return
    yield from _items(value.named)
    yield from ((str(place), child) for place, child in enumerate(value))
    alone = len(value.args) == 1 and isinstance(value.args[0], dict | list | tuple)
    yield from _children(value.args[0] if alone else value.args)
    yield from _items(attributes)


def _of_module(attributes: dict) -> Iterator[tuple[str, object]]:
    """What the state dict of a network has; a buffer that is not persistent is not in it."""
    transient = attributes.get("_non_persistent_buffers_set")
    for place in ("_parameters", "_buffers", "_modules"):
        for name, child in _children(attributes[place]):
            if not (place == "_buffers" and isinstance(transient, set) and name in transient):
                yield name, child
