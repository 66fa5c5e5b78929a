"""A packed head in whole numbers, for features as a quantised network gives them."""

from pathlib import Path
from typing import Protocol

import numpy as np

from treehead.artifacts import InputError
from treehead.deploy.c.integer import Features, Reading
from treehead.deploy.c.kinds import dense, lowbit, nested, shortlist, sparse, tree
from treehead.deploy.c.program import Program
from treehead.heads import packing
from treehead.heads.packing import Whole

# What makes each module's heads of whole numbers.
KINDS = {
    "lasso": dense.linear,
    "linear": dense.linear,
    "lowbit": lowbit.lowbit,
    "lowrank": dense.lowrank,
    "mlp": dense.mlp,
    "nested": nested.nested,
    "nonnegative": dense.nonnegative,
    "shortlist": shortlist.shortlist,
    "sparse": sparse.sparse,
    "tree": tree.tree,
    "twobit": tree.twobit,
}


class IntegerHead(Protocol):
    """What each kind has; a logit is a whole number times 2^-fraction."""

    reading: Reading
    fraction: int

    def logits(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers q (n, dim) -> logits int64 (n, classes), and how many were out of range (n,)."""

    def program(self) -> Program:
        """Its C."""


def build(module: str, path: str | Path, features: Features, sample: np.ndarray) -> IntegerHead:
    """The head of a packed file in whole numbers.

    Args:
        module: module of the head.
        path: its packed file, of whole numbers of 8 bits or fewer.
        features: how features arrive.
        sample: features of some images, float (n, dim); no number of theirs is out of range. Not
            of test images.

    Raises:
        InputError: the head has no C yet, or the three do not go together.
    """
    if module not in KINDS:
        raise InputError(f"{path}: {module} has no C yet; these have: {', '.join(KINDS)}.")
    features.check()
    arrays, settings = packing.read_stored(path)
    for array in arrays.values():
        if isinstance(array, Whole):
            continue
        if array.dtype.kind == "f" and array.ndim == 2:
            raise InputError(f"{path} holds floats, which have no C; pack the head at int8.")
        if not np.isfinite(array).all():
            raise InputError(f"{path} holds numbers that are not finite; fit the head again.")
    dim = len(arrays["exponent"])
    if sample.ndim != 2 or sample.shape[1] != dim or not len(sample):
        raise InputError(f"{path} reads {dim} features, the sample is {sample.shape}.")
    return KINDS[module](arrays, settings, features, features.quantized(sample)[0])
