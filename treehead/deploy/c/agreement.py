"""Whether a head's C gives the classes of the packed head that it is made of."""

from pathlib import Path

import numpy as np

from treehead.artifacts import InputError
from treehead.console import say
from treehead.deploy.c.build import IntegerHead
from treehead.heads import fitting, packing

# At most so many images are compared.
_IMAGES = 5000
# The least share that agrees, by the bits of a feature. Of 21 heads on the features of a float
# backbone (CIFAR-100, int8 and int4), each agrees on 0.9996 of val with 16 bits, 0.9668 with 8.
_LEAST = {16: 0.95, 8: 0.9}


def check(module: str, path: str | Path, head: IntegerHead, val: np.ndarray, remedy: str) -> float:
    """The share of images that get the packed head's class; the log tells it in one line.

    Args:
        module: module of the head.
        path: its packed file.
        head: what `build` made of that file.
        val: features of some images, float (n, dim); of more than 5,000, a part spread over all.
        remedy: what to do if too few agree, the end of a sentence.

    Raises:
        InputError: val is empty, or fewer agree than with any head of ordinary features.
    """
    features = head.reading.features
    some = spread(val, _IMAGES)
    expected = fitting.predict(module, packing.read(path), some).argmax(1)
    found = head.logits(features.quantized(some)[0])[0].argmax(1)
    share = float((found == expected).mean())
    told = f"its C gives {share:.2%} of {len(some):,} images of val the class of the packed head"
    if share < _LEAST[features.bits]:
        raise InputError(
            f"{path}: {told}, less than {_LEAST[features.bits]:.0%}, since features of large "
            f"numbers make the others coarse; {remedy}."
        )
    say(f"{path}: {told}.")
    return share


def spread(val: np.ndarray, most: int) -> np.ndarray:
    """At most so many images of val, spread over all of them."""
    if not len(val):
        raise InputError("val has no images to run the C on; raise dataset.val_fraction.")
    return val[:: -(-len(val) // most)]
