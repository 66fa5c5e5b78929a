"""A head fitted once for each seed, by the module that the configuration names.

Every head reads features that are shifted by a power of two to a deviation near 1. A shift is no
multiplication, it lets all weights of a class share one scale when they are packed, and its
exponents are among the head's arrays.
"""

import importlib
import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from treehead.artifacts import InputError, read_metadata, read_tensors, write_tensors
from treehead.console import progress
from treehead.data import balance
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads.costs import Cost
from treehead.heads.head import Head
from treehead.heads.layers import Linear

_EXPONENT = "exponent"


def module(name: str) -> ModuleType:
    """A head's module: `fit(train, *, ...)`, `predict(head, features)`, `cost(head, features)`."""
    return importlib.import_module(f"treehead.heads.{name}")


def fit(
    name: str,
    train: Examples,
    *,
    settings: dict[str, Any],
    seeds: list[int],
    what: str,
    class_weights: str = "none",
    teacher: tuple[str, dict[int, Head]] | None = None,
) -> dict[int, Head]:
    """Fit a head for each seed.

    Args:
        name: module of the head.
        train: what it is fitted to.
        settings: keyword arguments of its `fit`, but for the seed and the teacher.
        seeds: seeds of initialisation and order.
        what: name of the head in the log.
        class_weights: by which images weigh, as for `balance.class_weights`.
        teacher: module and heads of a teacher; its logits of the same seed replace the labels.
    """
    if "parent_of" in settings:
        settings = settings | {"parent_of": np.array(settings["parent_of"])}
    if class_weights != "none":
        weights = balance.sample_weight(train.labels, train.classes, class_weights)
        settings = settings | {"sample_weight": weights}
    exponent = _exponents(train.features)
    own = train._replace(features=train.features.changed(partial(_shifted, exponent=exponent)))
    fitted = {}
    for seed in progress(seeds, what, len(seeds), "seeds"):
        given = dict(settings)
        if teacher is not None:
            kind, heads = teacher
            given["teacher"] = train.features.changed(partial(predict, kind, heads[seed])).held()
        head = module(name).fit(own, **given, seed=seed)
        fitted[seed] = Head(head.arrays | {_EXPONENT: exponent}, head.settings)
    return fitted


def save(path: str | Path, heads: dict[int, Head]) -> None:
    """Write the heads of all seeds to one file: arrays "<seed>/<name>", settings in its header."""
    settings, *others = (head.settings for head in heads.values())
    if any(other != settings for other in others):
        raise ValueError("the settings of a head depend on its seed")
    arrays = {
        f"{seed}/{name}": a for seed, head in heads.items() for name, a in head.arrays.items()
    }
    write_tensors(path, arrays, {"settings": json.dumps(settings)})


def load(path: str | Path) -> dict[int, Head]:
    """Read the head of each seed."""
    metadata = read_metadata(path)
    if "settings" not in metadata:
        raise InputError(f"{path} was written by an older version; delete it and run again.")
    arrays: dict[int, dict[str, np.ndarray]] = {}
    for key, array in read_tensors(path).items():
        seed, _, name = key.partition("/")
        arrays.setdefault(int(seed), {})[name] = array
    settings = json.loads(metadata["settings"])
    return {seed: Head(arrays[seed], settings) for seed in sorted(arrays)}


def predict(name: str, head: Head, features: np.ndarray) -> np.ndarray:
    """Logits (n, classes) of features (n, dim); -inf for classes that the head did not look at."""
    return module(name).predict(*as_fitted(head, features))


def cost(name: str, head: Head, features: np.ndarray) -> Cost:
    """What the head costs for each of features (n, dim), with a shift for each feature."""
    found = module(name).cost(*as_fitted(head, features))
    return found._replace(other=found.other + features.shape[1])


def as_fitted(head: Head, features: np.ndarray) -> tuple[Head, np.ndarray]:
    """The head as its module fitted it, and the features (n, dim) shifted as that module reads."""
    own = {name: array for name, array in head.arrays.items() if name != _EXPONENT}
    return Head(own, head.settings), _shifted(features, head[_EXPONENT])


def _exponents(features: Rows) -> np.ndarray:
    """For each feature the power of two that is nearest to its deviation, int8 (dim,).

    A feature that never varied is shifted to nearly nothing.
    """
    std = features.moments.deviation
    varied = std > 1e-6 * std.max()
    exponents = np.rint(np.log2(np.where(varied, std, 1)))
    return np.where(varied, np.clip(exponents, -15, 15), 15).astype(np.int8)


def _shifted(features: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return np.ldexp(features, -exponent.astype(np.int32))


def linear(head: Head) -> Linear:
    """The full head on features as they are."""
    return Linear(_shifted(head["weight"], head[_EXPONENT]), head["bias"])
