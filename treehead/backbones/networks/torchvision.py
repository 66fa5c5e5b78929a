"""Classification models of torchvision by their names, without their classifiers."""

import copy
import difflib
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from treehead.artifacts import InputError

_CLASSIFIERS = ("classifier", "fc", "head", "heads")

# Models that have auxiliary classifiers by default.
_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def build(size: int, name: str) -> tuple[nn.Module, int]:
    """A model without its classifier, its maps averaged to one pixel, and its number of features.

    Args:
        size: input side in pixels.
        name: a name in `torchvision.models.list_models(module=torchvision.models)`.

    Raises:
        InputError: there is no such model, or it can't read images of that size.
    """
    network = _without_classifier(name, size)
    shapes = copy.deepcopy(network).to("meta").eval()
    try:
        dim = shapes(torch.empty(2, 3, size, size, device="meta")).shape[1]
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"backbone.architecture torchvision/{name} can't read images of backbone.image_size "
            f"{size} ({reason}); give it larger ones."
        ) from error
    return network, dim


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
    setattr(model, _classifier(model), _Pooled())
    return model


def _classifier(model: nn.Module) -> str:
    return next(child for child in _CLASSIFIERS if hasattr(model, child))


class _Pooled(nn.Module):
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


def pretrained(name: str) -> dict[str, Tensor]:
    """The tensors of torchvision's own weights of a model, without the classifier's.

    torch keeps the downloaded file in its cache, under `TORCH_HOME`, and checks its hash.

    Raises:
        InputError: there is no such model, or its file can't be fetched.
    """
    _check(name)
    try:
        model = models.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"torchvision's weights of {name} can't be fetched ({error}); check the connection, or "
            "set backbone.weights to scratch or a file."
        ) from error
    setattr(model, _classifier(model), nn.Identity())
    return model.state_dict()
