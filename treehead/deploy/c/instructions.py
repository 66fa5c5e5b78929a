"""What a head costs as C on an emulated processor at each precision, over images of val."""

from pathlib import Path
from typing import Any

import numpy as np

from treehead.deploy.c import agreement, build, emulated
from treehead.deploy.c.build import IntegerHead
from treehead.deploy.c.integer import Features
from treehead.heads import packing

# At most so many images of val are run.
_IMAGES = 500
_REMEDY = "set comparison.feature_bits to 16 if it is 8, else comparison.processor to null"


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
        val: features of images (n, dim), of which a part spread over all of them is run.
        features: how they arrive.
        module: module of the head.
        processor: of `emulated.PROCESSORS`; "<processor>-loop" is its plain loop.

    Returns:
        `processor`, `feature_bits`, `images`, and of each of `precisions` the figures of
        `emulated.Figures` and `loop_instructions_mean`, or the `reason` why it has none.

    Raises:
        InputError: val is empty, a command is missing, the C does not equal its reference, or its
            classes are not the packed head's (`agreement.check`).
    """
    q, _ = features.quantized(agreement.spread(val, _IMAGES))

    def agreeing(path: str | Path) -> IntegerHead:
        head = build.build(module, path, features, sample)
        agreement.check(module, path, head, val, _REMEDY)
        return head

    measured = {
        precision: _without(module, precision) or _figures(agreeing(path), path, q, processor)
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
    head: IntegerHead, path: str | Path, q: np.ndarray, processor: str
) -> dict[str, float]:
    own, loop = (emulated.measure(head, path, q, name) for name in (processor, f"{processor}-loop"))
    return own._asdict() | {"loop_instructions_mean": loop.instructions_mean}
