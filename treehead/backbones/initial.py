"""The weights that a run starts from: the hub's, a library's, a file's, or drawn by a seed."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.backbones import weights
from treehead.backbones.backbone import brought, hosted, network_of, pretrained
from treehead.backbones.checkpoints import inspection, matching, opening
from treehead.backbones.checkpoints.matching import Fitted, Misfit
from treehead.console import say
from treehead.data import hub

# The hub's ImageNet weights of the study's PhiNet.
_OWN = ("micromind/ImageNet", "v7/state_dict.pth.tar")


def write(path: str | Path, settings: dict[str, Any], given: str | None) -> dict[str, Any]:
    """Write the weights as a canonical file.

    Args:
        path: the safetensors file.
        settings: the network's `architecture`, `settings` and `size`; the `source` of its weights
            with the `seed` of scratch, or the `revision` and the `sha256` of the hub. A size of
            None is that of the weights, or else the `image_size` of the data.
        given: the user's weights file; None if the source is another.

    Returns:
        Where the weights are from: the settings, the hub's `commit`, the SHA-256 of what was read
        and of what was written, and the `input` of the network: its size, and what comes with the
        weights.
    """
    architecture, source = settings["architecture"], settings["source"]
    origin = dict(settings)
    with tempfile.TemporaryDirectory() as downloads:
        if source in ("hub", "timm"):
            given, origin["commit"] = _downloaded(settings, downloads)
        if given:
            origin["source_sha256"] = artifacts.sha256(given)
        own = brought(architecture, settings["settings"], source, origin.get("source_sha256"))
        size = settings["size"] or own.get("size") or settings["image_size"]
        origin["input"] = own | {"size": size}
        torch.manual_seed(settings.get("seed", 0))
        chosen = own.get("settings", {}) | settings["settings"]
        network, dim = network_of(architecture, chosen, size)
        fitted = Fitted(network.state_dict(), {}, [])
        if source in ("torchvision", "timm"):
            loaded = pretrained(architecture, size, given)
            fitted = matching.fit(loaded, network, dim, f"The file of {architecture}")
        elif given:
            fitted = _fitted(given, settings, network, dim)
    weights.save(path, fitted.tensors, fitted.head)
    origin["sha256"] = artifacts.sha256(path)
    count = sum(parameter.numel() for parameter in network.parameters())
    say(f"{architecture}: {count} parameters from {source}")
    for remark in fitted.remarks:
        say(remark)
    if own:
        told = ", ".join(f"{key} {value}" for key, value in own.items() if value)
        say(f"With the weights come, where the configuration has null: {told}.")
    return origin


def _fitted(path: str, settings: dict[str, Any], network: nn.Module, dim: int) -> Fitted:
    """What a file has for the network; if that is not enough, an error says what it would fit."""
    loaded = opening.tensors(path)
    try:
        return matching.fit(loaded, network, dim, path, settings.get("weights_key"))
    except Misfit as error:
        architecture, given = settings["architecture"], settings["settings"]
        would = {
            name: value
            for name, value in inspection.suggested(architecture, loaded).items()
            if value != given.get(name)
        }
        if not would:
            raise
        told = ", ".join(f"{architecture}.{name} {value}" for name, value in would.items())
        raise InputError(f"{error} With {told} it would fit.") from None


def _downloaded(settings: dict[str, Any], folder: str) -> tuple[str, str]:
    """ImageNet weights from the hub, of the study's PhiNet or of timm, and their commit."""
    own = settings["source"] == "hub"
    repository, name = _OWN if own else hosted(settings["architecture"])
    file = Path(folder, Path(name).name)
    commit = hub.fetch(
        repository,
        name,
        settings["revision"],
        file,
        key="backbone.weights",
        sha256=settings["sha256"],
    )
    return str(file), commit
