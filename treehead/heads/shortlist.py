"""Shortlist: a low-rank preview of all classes, and the full head's rows for the best of them."""

from typing import Any

import numpy as np

from treehead.artifacts import InputError, Tensors
from treehead.data.embeddings import Examples
from treehead.heads import linear, lowrank
from treehead.heads.costs import Cost


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    rank: int,
    k: int | None = None,
    margin: float | None = None,
    teacher: np.ndarray | None = None,
) -> Tensors:
    """Fit the preview and the full head.

    Args:
        rank: of the preview.
        k: how many classes the full head looks at.
        margin: in its place, how far below the best preview such a class may be.
    """
    if (k is None) == (margin is None):
        raise InputError("A shortlist head takes k or margin; give one of them in heads.")
    preview = lowrank.fit(train, training=training, seed=seed, rank=rank, teacher=teacher)
    exact = linear.fit(train, training=training, seed=seed, teacher=teacher)
    return {
        **{f"preview_{name}": array for name, array in preview.items()},
        **exact,
        "k": np.array([k or train.classes], np.uint16),
        "margin": np.array([np.inf if margin is None else margin], np.float32),
    }


def _preview(head: Tensors) -> Tensors:
    prefix = "preview_"
    return {name.removeprefix(prefix): head[name] for name in head if name.startswith(prefix)}


def _listed(head: Tensors, features: np.ndarray) -> np.ndarray:
    """Which classes the full head looks at, bool (n, classes)."""
    previews = lowrank.predict(_preview(head), features)
    best = previews.max(1, keepdims=True)
    kth = np.partition(previews, -int(head["k"][0]), axis=1)[:, [-int(head["k"][0])]]
    return (previews >= kth) & (previews >= best - head["margin"])


def predict(head: Tensors, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes), -inf for classes that are not listed."""
    exact = features @ head["weight"].T + head["bias"]
    return np.where(_listed(head, features), exact, -np.inf)


def cost(head: Tensors, features: np.ndarray) -> Cost:
    """The preview, and dim MACs for each listed class; a single one is not looked at again."""
    preview = lowrank.cost(_preview(head), features)
    (classes, dim), listed = head["weight"].shape, _listed(head, features).sum(1)
    asked = np.where(listed > 1, listed, 0)
    worst = preview.worst + min(int(head["k"][0]), classes) * dim
    return Cost(preview.macs + asked * dim, worst, preview.other + classes + 3 * asked)
