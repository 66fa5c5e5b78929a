"""Shortlist: a low-rank preview of all classes, and the full head's rows for the best of them."""

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from treehead.artifacts import InputError
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import linear, lowrank
from treehead.heads.costs import Cost
from treehead.heads.head import Head


def check(*, k: int | None = None, margin: float | None = None, **_: object) -> str | None:
    """What is wrong with a combination of valid settings."""
    return "give either k or margin" if (k is None) == (margin is None) else None


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    rank: Annotated[int, Ge(1)],
    k: Annotated[int, Ge(1)] | None = None,
    margin: Annotated[float, Ge(0)] | None = None,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit the preview and the full head.

    Args:
        rank: of the preview.
        k: how many classes the full head looks at.
        margin: in its place, how far below the best preview such a class may be.
    """
    if mistake := check(k=k, margin=margin):
        raise InputError(f"A shortlist head: {mistake}.")
    shared = {"training": training, "seed": seed, "teacher": teacher}
    shared["sample_weight"] = sample_weight
    preview, exact = lowrank.fit(train, rank=rank, **shared), linear.fit(train, **shared)
    arrays = {f"preview_{name}": array for name, array in preview.arrays.items()} | exact.arrays
    return Head(arrays, {"margin": margin} if k is None else {"k": min(k, train.classes)})


def _preview(head: Head) -> Head:
    prefix = "preview_"
    arrays = head.arrays.items()
    own = {name.removeprefix(prefix): array for name, array in arrays if name.startswith(prefix)}
    return Head(own, {"relu": False})


def _listed(head: Head, features: np.ndarray) -> np.ndarray:
    """Which classes the full head looks at, bool (n, classes)."""
    previews = lowrank.predict(_preview(head), features)
    if "k" in head.settings:
        k = head.settings["k"]
        return previews >= np.partition(previews, -k, axis=1)[:, [-k]]
    return previews >= previews.max(1, keepdims=True) - np.float32(head.settings["margin"])


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes), -inf for classes that are not listed."""
    exact = features @ head["weight"].T + head["bias"]
    return np.where(_listed(head, features), exact, -np.inf)


def cost(head: Head, features: np.ndarray) -> Cost:
    """The preview, and dim MACs for each listed class; a single one is not looked at again."""
    preview = lowrank.cost(_preview(head), features)
    (classes, dim), listed = head["weight"].shape, _listed(head, features).sum(1)
    asked = np.where(listed > 1, listed, 0)
    worst = preview.worst + head.settings.get("k", classes) * dim
    return Cost(preview.macs + asked * dim, worst, preview.other + classes + 3 * asked)
