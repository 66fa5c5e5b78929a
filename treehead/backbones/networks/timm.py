"""Models of timm by name, with or without the tag of their weights, without classifiers."""

import difflib
import math
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from treehead.artifacts import InputError

try:
    import timm
except ImportError as error:
    raise InputError(
        f"backbone.architecture timm/<name> needs timm, which can't be imported ({error}); install "
        "it with: pip install -e .[timm]"
    ) from error


def build(size: int, name: str) -> nn.Module:
    """A model without its classifier.

    Args:
        size: input side in pixels.
        name: a name in `timm.list_models()`, or in `timm.list_pretrained()` with its tag.
    """
    return timm.create_model(name, num_classes=0, **_sized(name, size))


def _sized(name: str, size: int) -> dict[str, int]:
    """The size as an argument of the models that are built for one."""
    return {"img_size": size} if _known(name).fixed_input_size else {}


def _known(name: str) -> Any:
    """What timm knows of the weights of a model.

    Raises:
        InputError: there is no such model, or none of its weights has such a tag.
    """
    model, _, tag = name.partition(".")
    known = timm.list_models()
    if model in known and tag:
        known = timm.list_models(f"{model}.*", pretrained=True)
    if (name if tag else model) not in known:
        near = difflib.get_close_matches(name, known or timm.list_models(), n=1, cutoff=0.0)[0]
        raise InputError(
            f"backbone.architecture timm/{name}: timm has no model of that name; did you mean "
            f"timm/{near}?"
        )
    return timm.get_pretrained_cfg(name)


def names() -> list[str]:
    """The models that timm has."""
    return timm.list_models()


def side(name: str) -> int:
    """A side of images in pixels that a model can read."""
    return _known(name).input_size[-1]


def alike(tensors: dict[str, Tensor]) -> list[str]:
    """The models whose first convolution has the name of one of these tensors, or the end of it."""
    ends = {
        ".".join(words[place:])
        for words in (name.split(".") for name, value in tensors.items() if value.ndim == 4)
        for place in range(len(words))
    }
    found = {name: timm.get_pretrained_cfg(name).first_conv for name in names()}
    return [
        name
        for name, first in found.items()
        if ends
        & {f"{part}.weight" for part in ([first] if isinstance(first, str) else first or [])}
    ]


def hosted(name: str) -> tuple[str, str]:
    """The repository on the hub that holds a model's weights, and their file there.

    Raises:
        InputError: there are none.
    """
    found = _known(name).hf_hub_id
    if not found:
        raise InputError(
            f"timm has no weights of {name} on the hub; set backbone.weights to scratch or a file."
        )
    return found, "model.safetensors"


def pretrained(name: str, size: int, file: str | Path) -> dict[str, Tensor]:
    """The tensors of timm's own weights of a model, as timm converts them for an input size.

    Args:
        name: as for `build`.
        size: input side in pixels.
        file: the downloaded file that `hosted` names.

    Raises:
        InputError: the file lacks a tensor, or has others than the model.
    """
    try:
        tensors = safetensors.torch.load(Path(file).read_bytes())
        # With its classifier, since timm then checks that no tensor is missing.
        model = timm.create_model(
            name,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": tensors},
            **_sized(name, size),
        )
    except (safetensors.SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"timm's weights of {name} do not fit the model ({reason}); set backbone.revision to "
            "another commit, or backbone.weights to scratch or a file."
        ) from error
    model.reset_classifier(0)
    return model.state_dict()


def brought(name: str, settings: dict[str, Any], sha256: str | None) -> dict[str, Any]:
    """What timm's own weights of a model need; {} for a file, which may be trained in any way.

    Args:
        name: as for `build`.
        settings: keyword arguments of `build`, which has none.
        sha256: of a file; None for the weights that `pretrained` gives.
    """
    found = _known(name)
    if sha256 is not None:
        return {}
    size = found.input_size[-1]
    return {
        "size": size,
        "interpolation": found.interpolation,
        "crop": size / math.floor(size / found.crop_pct),
        "mean": list(found.mean),
        "std": list(found.std),
    }
