"""Classification models of torchvision by their names, with the classifier taken off."""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from treehead.artifacts import InputError

_CLASSIFIERS = ("classifier", "fc", "head", "heads")

# What some models must be told so that they are built for features alone.
_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def extractor(name: str, size: int) -> tuple[nn.Module, int]:
    """A model without its classifier, its maps averaged to one pixel, and its number of features.

    Args:
        name: a name in `torchvision.models.list_models(module=torchvision.models)`.
        size: input side in pixels.

    Raises:
        InputError: there is no such model, or it can't read images of that size.
    """
    with torch.device("meta"):
        features = _without_classifier(name, size).eval()
        try:
            dim = features(torch.empty(2, 3, size, size)).shape[1]
        except (AssertionError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"backbone.architecture torchvision/{name} can't read images of backbone.image_size "
                f"{size} ({reason}); give it larger ones."
            ) from error
    return _without_classifier(name, size), dim


def _without_classifier(name: str, size: int) -> nn.Module:
    options = dict(_OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        options["image_size"] = size
    _check(name)
    try:
        model = models.get_model(name, weights=None, **options)
    except ValueError as error:
        raise InputError(
            f"torchvision can't build {name} for backbone.image_size {size} ({error})."
        ) from error
    end = next(child for child in _CLASSIFIERS if hasattr(model, child))
    setattr(model, end, nn.Identity())
    return nn.Sequential(model, _Flat())


class _Flat(nn.Module):
    """Features (n, dim) as they are, maps (n, dim, h, w) averaged over their pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.ndim == 4 else x


def _check(name: str) -> None:
    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"backbone.architecture torchvision/{name}: torchvision has no classification model of "
            f"that name; did you mean torchvision/{near}?"
        )


def fetch(name: str, path: str | Path) -> str:
    """Download torchvision's own weights of a model to `path`; returns their address.

    Raises:
        InputError: the server can't be reached, or the file has not the hash that its name tells.
    """
    _check(name)
    url = models.get_model_weights(name).DEFAULT.url
    prefix = Path(url).stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"torchvision's weights of {name} can't be fetched ({error}); check the connection, or "
            "set backbone.weights to scratch or a file."
        ) from error
    return url
