"""What a weights file is: what it holds, which network it fits, and how to use it."""

import importlib.util
import pkgutil
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.backbones import networks
from treehead.backbones.backbone import network_file, network_of
from treehead.backbones.checkpoints import matching, opening
from treehead.backbones.checkpoints.matching import Fitted, Misfit
from treehead.console import progress, say

Tensors = dict[str, Tensor]
Shapes = Counter[tuple[int, ...]]
Settings = dict[str, Any]
# An architecture, its settings, the side of its images (None for any), and it without numbers.
Candidate = tuple[str, Settings, int | None, nn.Module]

# In the order in which they are tried.
_LIBRARIES = ("torchvision", "timm")

# Side in pixels of a network of ours; its tensors do not depend on it.
_SIDE = 64


class Found(NamedTuple):
    """A network that a file fits.

    Args:
        architecture, settings: as in the configuration.
        size: side in pixels of the images that it reads by default; None for any.
        dim: number of features.
        parameters: how many it has.
        fitted: its tensors.
        others: other architectures with the same tensors.
    """

    architecture: str
    settings: Settings
    size: int | None
    dim: int
    parameters: int
    fitted: Fitted
    others: list[str]


def text(path: str, key: str | None = None) -> str:
    """What a weights file is, for people, with the lines of a configuration that uses it.

    Args:
        path: the file.
        key: as backbone.weights_key.
    """
    loaded = opening.tensors(path)
    lines = [*_layout(path, loaded), ""]
    try:
        found = find(loaded, path, key)
        lines += [*_about(found), "", "To use it:", "", *_usage(path, key, found)]
    except InputError as error:
        lines.append(str(error))
    return "\n".join(lines) + "\n"


def find(loaded: Tensors, path: str, key: str | None = None) -> Found:
    """The network that the tensors of a file fit.

    Raises:
        InputError: they fit none that we can build; the message says how the nearest one differs.
    """
    near: list[tuple[int, str]] = []
    shapes = _shapes(loaded)
    for candidates in (_of_ours(loaded), *(_of(library, loaded) for library in _LIBRARIES)):
        named = []
        for architecture, settings, size, outline in candidates:
            try:
                if not _shapes(outline.state_dict()) <= shapes:  # only its names fit
                    matching.fit(loaded, outline, 0, path, key)
                network, dim = network_of(architecture, settings, size or _SIDE)
                fitted = matching.fit(loaded, network, dim, path, key)
            except Misfit as error:
                near.append((error.wrong, f" Nearest is {architecture}, but {error.reason}."))
                continue
            count = sum(parameter.numel() for parameter in network.parameters())
            named.append(Found(architecture, settings, size, dim, count, fitted, []))
        if named:
            others = [found.architecture for found in named[1:]]
            return named[0]._replace(others=others)
    nearest = min(near, key=itemgetter(0))[1] if near else ""
    raise InputError(
        f"{path} fits no network of treehead, torchvision or timm; set backbone.architecture to "
        f"<file>.py:<function> for one of your own (docs/adding-a-backbone.md).{nearest}"
    )


def _of_ours(loaded: Tensors) -> Iterator[Candidate]:
    for file in pkgutil.iter_modules(networks.__path__):
        if file.name not in _LIBRARIES and (settings := suggested(file.name, loaded)):
            outline = _outline(network_file(file.name), _SIDE, **settings)
            yield file.name, settings, None, outline


def _of(library: str, loaded: Tensors) -> Iterator[Candidate]:
    """A library's networks all of whose tensors have a shape, or a name, that the file has."""
    if not any(value.ndim == 4 for value in loaded.values()):
        return  # no convolution: no network for images
    if importlib.util.find_spec(library) is None:
        say(f"{library} is not installed, so its networks are not tried.")
        return
    module, shapes = network_file(library), _shapes(loaded)
    ends = {name[place:] for name in loaded for place in _starts(name)}
    names = module.alike(loaded)
    for name in progress(names, f"trying {library}", len(names), "networks"):
        size = module.side(name)
        outline = _outline(module, size, name)
        tensors = outline.state_dict()
        if _shapes(tensors) <= shapes or tensors.keys() <= ends:
            yield f"{library}/{name}", {}, size, outline


def suggested(architecture: str, loaded: Tensors) -> Settings:
    """Settings of one of our networks with which it has most of the shapes of a file.

    Args:
        architecture: as backbone.architecture, or a file of `networks`.
        loaded: all tensors of the file.

    Returns:
        The settings; {} if the network has other shapes with any, or none of them are sought.
    """
    module = network_file(architecture.partition("/")[0])
    if not hasattr(module, "suggest"):
        return {}
    shapes = _shapes(loaded)
    found: tuple[int, Settings] = (0, {})
    for kernels in _kernels(loaded):
        for settings in module.suggest(kernels):
            own = _shapes(_outline(module, _SIDE, **settings).state_dict())
            if own <= shapes and own.total() > found[0]:
                found = own.total(), settings
    return found[1]


def _starts(name: str) -> list[int]:
    """Where the words of a name start."""
    return [0, *(place + 1 for place, letter in enumerate(name) if letter == ".")]


def _outline(module: ModuleType, size: int, *name: str, **settings: Any) -> nn.Module:
    """A network without its numbers, for the shapes of its tensors."""
    try:
        with torch.device("meta"):
            return module.build(size, *name, **settings)
    except NotImplementedError:  # torchvision's RegNets count with tensors while they are built
        return module.build(size, *name, **settings)


def _shapes(tensors: Tensors) -> Shapes:
    return Counter(tuple(value.shape) for value in tensors.values() if value.ndim > 0)


def _kernels(loaded: Tensors) -> Iterator[list[tuple[int, ...]]]:
    """Shapes of convolutions in the order of their names: of the file, and of each part of it."""
    root = _root(loaded)
    groups: dict[str, list[tuple]] = {"": []}
    for name, value in loaded.items():
        words = name.split(".")
        if value.ndim == 4:
            order = [(word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words]
            for group in ("", words[root]):
                groups.setdefault(group, []).append((order, tuple(value.shape)))
    for ordered in groups.values():
        yield [shape for _, shape in sorted(ordered)]


def _root(loaded: Tensors) -> int:
    """How many words all names begin with."""
    return len(matching.shared(tuple(name.split(".")) for name in loaded))


def _layout(path: str, loaded: Tensors) -> list[str]:
    """The file, and its tensors by the first word in which their names differ."""
    root = _root(loaded)
    groups: dict[str, list[Tensor]] = {}
    for name, value in loaded.items():
        groups.setdefault(".".join(name.split(".")[: root + 1]), []).append(value)
    lines = [f"{path}: {Path(path).stat().st_size:,} bytes, SHA-256 {artifacts.sha256(path)}"]
    width = max(map(len, groups))
    for group, values in groups.items():
        kinds = sorted({str(value.dtype).removeprefix("torch.") for value in values})
        numbers = sum(value.numel() for value in values)
        lines.append(
            f"  {group:{width}} {len(values):5} tensors {numbers:12,} numbers  {', '.join(kinds)}"
        )
    return lines


def _about(found: Found) -> list[str]:
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    others = f" {', '.join(found.others)} have the same tensors." if found.others else ""
    classes = len(found.fitted.head.get("weight", ()))
    return [
        f"It fits {found.architecture}{f' with {settings}' if settings else ''}: "
        f"{found.parameters:,} parameters, {found.dim} features.{others}",
        f"Its head is one linear layer for {classes} classes."
        if classes
        else "It has no head of one linear layer on the features.",
        *found.fitted.remarks,
    ]


def _usage(path: str, key: str | None, found: Found) -> list[str]:
    backbone = {"architecture": found.architecture, "weights": path}
    backbone |= {"weights_key": key} if key else {}
    backbone |= {found.architecture: found.settings} if found.settings else {}
    text = yaml.safe_dump({"backbone": backbone}, sort_keys=False, default_flow_style=None)
    return ["# To train it further, put config/finetune.yaml first.", *text.splitlines()]
