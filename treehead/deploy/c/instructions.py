"""What a head costs as C on an emulated processor at each precision, over images of val."""

from pathlib import Path
from typing import Any

import numpy as np

from treehead.artifacts import InputError
from treehead.deploy.c import build, emulated
from treehead.deploy.c.integer import Features
from treehead.heads import packing

# At most so many images of val are run.
_IMAGES = 500


def count(
    files: dict[str, str | Path],
    sample: np.ndarray,
    val: np.ndarray,
    features: Features,
    *,
    module: str,
    processor: str,
) -> dict[str, Any]:
    """Measure the packed files of one head.

    Args:
        files: packed file of each precision.
        sample: features of train (n, dim), of which no number of the head's is out of range.
        val: features of the images that are run, (n, dim), or of a part spread over all of them.
        features: how they arrive.
        module: module of the head.
        processor: of `emulated.PROCESSORS`; "<processor>-loop" is its plain loop.

    Returns:
        `processor`, `feature_bits`, `images`, and of each of `precisions` the figures of
        `emulated.Figures` and `loop_instructions_mean`, or the `reason` why it has none.

    Raises:
        InputError: val is empty, a command is missing, or the C does not equal its reference.
    """
    if not len(val):
        raise InputError("val has no images to run the C on; raise dataset.val_fraction.")
    q, _ = features.quantized(val[:: -(-len(val) // _IMAGES)])
    measured = {
        precision: _without(module, precision)
        or _figures(module, path, features, sample, q, processor)
        for precision, path in files.items()
    }
    about = {"processor": processor, "feature_bits": features.bits, "images": len(q)}
    return about | {"precisions": measured}


def _without(module: str, precision: str) -> dict[str, str]:
    """Why a head has no C at a precision; empty if it has."""
    if module not in build.KINDS:
        return {"reason": f"{module} has no C"}
    return {"reason": "floats have no C"} if packing.PRECISIONS[precision] > 8 else {}


def _figures(
    module: str,
    path: str | Path,
    features: Features,
    sample: np.ndarray,
    q: np.ndarray,
    processor: str,
) -> dict[str, float]:
    head = build.build(module, path, features, sample)
    own, loop = (emulated.measure(head, path, q, name) for name in (processor, f"{processor}-loop"))
    return own._asdict() | {"loop_instructions_mean": loop.instructions_mean}
