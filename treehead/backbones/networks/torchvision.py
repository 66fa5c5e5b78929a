"""Classification models of torchvision by their names, without their classifiers."""

import difflib
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.hub import HASH_REGEX
from torchvision import models

from treehead.artifacts import InputError

_CLASSIFIERS = ("classifier", "fc", "head", "heads")

# Models that may normalise their input once more, as torchvision's own weights of them need it.
_TRANSFORMING = ("googlenet", "inception_v3")


def build(size: int, name: str, *, transform_input: bool | None = None) -> nn.Module:
    """A model without its classifiers, its maps averaged to one pixel.

    Args:
        size: input side in pixels.
        name: a name in `torchvision.models.list_models(module=torchvision.models)`.
        transform_input: torchvision's own argument of googlenet and inception_v3.

    Raises:
        InputError: there is no such model, or it has no transform_input.
    """
    _check(name)
    options = {}
    if name.startswith("vit_"):
        options = {"image_size": size}
    if name in _TRANSFORMING:
        options = {"aux_logits": False, "init_weights": True}
        options["transform_input"] = bool(transform_input)
    elif transform_input is not None:
        raise InputError(
            f"torchvision/{name} has no transform_input; set backbone.torchvision.transform_input "
            "to null."
        )
    return _without_classifier(models.get_model(name, weights=None, **options))


def _without_classifier(model: nn.Module) -> nn.Module:
    classifier = next(child for child in _CLASSIFIERS if hasattr(model, child))
    setattr(model, classifier, _Pooled())
    return model


class _Pooled(nn.Module):
    """Features (n, dim) as they are, maps (n, dim, h, w) averaged over their pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.ndim == 4 else x


def names() -> list[str]:
    """The models that there are."""
    return models.list_models(module=models)


def alike(tensors: Iterable[str]) -> list[str]:
    """The models that tensors of these names may be of.

    RegNets, which take seconds to build, have names that no other model has.
    """
    regnet = any("trunk_output" in name for name in tensors)
    return [name for name in names() if name.startswith("regnet") == regnet]


def side(name: str) -> int:
    """Side in pixels of the images that a model reads by default."""
    return 224


def _check(name: str) -> None:
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)[0]
        raise InputError(
            f"backbone.architecture torchvision/{name}: torchvision has no classification model of "
            f"that name; did you mean torchvision/{near}?"
        )


def pretrained(name: str, size: int, file: None) -> dict[str, Tensor]:
    """The tensors of torchvision's own weights of a model, without the classifiers'.

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
    if name == "inception_v3":
        model.AuxLogits = None  # torchvision removes googlenet's own
    return _without_classifier(model).state_dict()


def brought(name: str, settings: dict[str, Any], sha256: str | None) -> dict[str, Any]:
    """What torchvision's own weights of a model need; {} for a file that is none of them.

    Args:
        name: as for `build`.
        settings: keyword arguments of `build`.
        sha256: of a file; None for the weights that `pretrained` gives.

    Raises:
        InputError: the file is unknown, and only its owner can know `transform_input`.
    """
    _check(name)
    every = models.get_model_weights(name)
    own = every.DEFAULT
    if sha256:
        # torch.hub checks a download by the hash in the file's name.
        same = (each for each in every if sha256.startswith(HASH_REGEX.search(each.url)[1]))
        own = next(same, None)
    transforms = name in _TRANSFORMING
    if own is None:
        if transforms and "transform_input" not in settings:
            raise InputError(
                f"backbone.weights is not one of torchvision's own files of {name}; set "
                "backbone.torchvision.transform_input to true if the network was trained further "
                "from one of them, or to false if it was trained from scratch."
            )
        return {}
    found = own.transforms()
    (size,), (resized,) = found.crop_size, found.resize_size
    return {
        "size": size,
        "interpolation": found.interpolation.value,
        "crop": size / resized,
        "mean": list(found.mean),
        "std": list(found.std),
        "settings": {"transform_input": True} if transforms else {},
    }
