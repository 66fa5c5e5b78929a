"""A head fitted once for each seed, by the module that the configuration names.

Every head reads features that are shifted by a power of two to a deviation near 1. A shift is no
multiplication, it lets all weights of a class share one scale when they are packed, and its
exponents are among the head's arrays.
"""

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from treehead.artifacts import Tensors
from treehead.console import progress
from treehead.data.embeddings import Examples
from treehead.heads.costs import Cost
from treehead.heads.linear import Linear
from treehead.heads.seeds import of_seed

_EXPONENT = "exponent"


def module(name: str) -> ModuleType:
    """A head's module: `fit(train, *, ...)`, `predict(head, features)`, `cost(head, features)`."""
    return importlib.import_module(f"treehead.heads.{name}")


def fit(
    name: str,
    train: Examples,
    settings: dict[str, Any],
    seeds: list[int],
    teacher: tuple[str, Tensors] | None,
    what: str,
) -> Tensors:
    """Fit a head for each seed.

    Args:
        name: module of the head.
        train: what it is fitted to.
        settings: keyword arguments of its `fit`, but for the seed and the teacher.
        seeds: seeds of initialisation and order.
        teacher: module and arrays of a head whose logits of the same seed take the labels' place.
        what: name of the head in the lines that are told.

    Returns:
        The arrays of all seeds, named "<seed>/<array>".
    """
    if "parent_of" in settings:
        settings = settings | {"parent_of": np.array(settings["parent_of"])}
    exponent = _exponents(train.features)
    own = train._replace(features=_shifted(train.features, exponent))
    fitted: Tensors = {}
    for seed in progress(seeds, what, len(seeds), "seeds"):
        given = dict(settings)
        if teacher is not None:
            kind, arrays = teacher
            given["teacher"] = predict(kind, of_seed(arrays, seed), train.features)
        head = module(name).fit(own, **given, seed=seed) | {_EXPONENT: exponent}
        fitted |= {f"{seed}/{key}": np.asarray(array) for key, array in head.items()}
    return fitted


def predict(name: str, head: Tensors, features: np.ndarray) -> np.ndarray:
    """Logits (n, classes) of features (n, dim); -inf for classes that the head did not look at."""
    return module(name).predict(*read(head, features))


def cost(name: str, head: Tensors, features: np.ndarray) -> Cost:
    """What the head costs for each of features (n, dim), with a shift for each feature."""
    found = module(name).cost(*read(head, features))
    return found._replace(other=found.other + features.shape[1])


def read(head: Tensors, features: np.ndarray) -> tuple[Tensors, np.ndarray]:
    """The arrays of the head's own module, and the features (n, dim) as that module reads them."""
    own = {key: array for key, array in head.items() if key != _EXPONENT}
    return own, _shifted(features, head[_EXPONENT])


def _exponents(features: np.ndarray) -> np.ndarray:
    """For each feature the power of two that is nearest to its deviation, int8 (dim,).

    A feature that never varied is shifted out of sight.
    """
    std = features.std(0)
    varied = std > 1e-6 * std.max()
    exponents = np.rint(np.log2(np.where(varied, std, 1)))
    return np.where(varied, np.clip(exponents, -15, 15), 15).astype(np.int8)


def _shifted(features: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return np.ldexp(features, -exponent.astype(np.int32))


def linear(head: Tensors) -> Linear:
    """The full head on features as they are."""
    return Linear(_shifted(head["weight"], head[_EXPONENT]), head["bias"])
