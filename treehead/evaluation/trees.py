"""How trees route images, and what the hierarchy gets right of one split."""

from typing import Any, Protocol

import numpy as np

from treehead.data.embeddings import Embeddings
from treehead.evaluation import metrics
from treehead.heads import costs
from treehead.heads.linear import Linear
from treehead.hierarchy.tree import Hierarchy


class Routed(Protocol):
    """What routes images (n, dim) to parents, and predicts a class among the children of some."""

    def route(self, features: np.ndarray, k: int) -> np.ndarray:
        """The k likeliest parents of each image, likeliest first, (n, k)."""

    def predict(self, features: np.ndarray, routed: np.ndarray) -> np.ndarray:
        """The likeliest class among the children of the routed parents (n, k): labels (n,)."""


def routing(
    tree: Routed, parent_of: np.ndarray, features: np.ndarray, fine: np.ndarray, top_k: list[int]
) -> dict[str, Any]:
    """How a tree routes images, and what its children make of it.

    Args:
        tree: the classifier.
        parent_of: parent of each class, (classes,).
        features: of the images, (n, dim).
        fine: their labels, (n,).
        top_k: also with this many of the likeliest parents; soft routing asks all of them.
    """
    parent, parents = parent_of[fine], int(parent_of.max()) + 1
    routed = tree.route(features, 1)
    reached = routed[:, 0] == parent
    predicted = tree.predict(features, routed)
    oracle = tree.predict(features, parent[:, None])

    def right(k: int) -> float:
        return metrics.accuracy(tree.predict(features, tree.route(features, k)), fine)

    return {
        "parent_accuracy": float(reached.mean()),
        "child_given_true_parent": metrics.accuracy(oracle, fine),
        "child_given_predicted_parent": metrics.accuracy(predicted[reached], fine[reached]),
        "top_k": {str(k): {"accuracy": right(k)} for k in top_k},
        "soft_routing": right(parents),
        "per_parent": _per_parent(parents, parent, reached, oracle == fine),
    }


def evaluate(
    hierarchy: Hierarchy, flat: Linear, embeddings: Embeddings, top_k: list[int]
) -> tuple[dict[str, Any], np.ndarray]:
    """All metrics of one split, images as they are, and the predictions (n,) with one parent."""
    features, fine = embeddings.features[0], embeddings.fine
    parent_of = hierarchy.taxonomy.parent_of()
    routed = hierarchy.route(features, 1)
    predicted = hierarchy.predict(features, routed)
    right = metrics.accuracy(predicted, fine)
    routes = routing(hierarchy, parent_of, features, fine, top_k)
    for k, row in routes["top_k"].items():
        row.update(_cost(hierarchy, features.shape[1], hierarchy.route(features, int(k))))
    for row in routes["per_parent"]:
        row["name"] = hierarchy.taxonomy.parent_names[row["parent"]]
    report = {
        "accuracy": right,
        "accuracy_ci95": metrics.wilson_interval(int((predicted == fine).sum()), len(fine)),
        **routes,
        "flat": {
            "accuracy": metrics.accuracy(flat.logits(features).argmax(1), fine),
            "macs": flat.macs(),
        },
        **_cost(hierarchy, features.shape[1], routed),
        "parameters": costs.parameters(hierarchy.tensors()),
        "bytes": costs.stored_bytes(hierarchy.tensors()),
        "mistake_severity": metrics.mistake_severity(predicted, fine, parent_of),
        "expected_calibration_error": metrics.calibration_error(
            hierarchy.scores(features, routed), fine
        ),
    }
    return report, predicted


def _cost(hierarchy: Hierarchy, dim: int, routed: np.ndarray) -> dict[str, float]:
    """MACs of the mean image and of the costliest one."""
    sizes = np.array([len(members) for members in hierarchy.taxonomy.classes])
    child_dim = hierarchy.child[0].weight.shape[1]
    return {
        "macs": float(costs.routed_macs(dim, child_dim, sizes, routed).mean()),
        "macs_worst": costs.worst_macs(dim, child_dim, sizes, routed.shape[1]),
    }


def _per_parent(
    parents: int, parent: np.ndarray, reached: np.ndarray, child_right: np.ndarray
) -> list[dict[str, Any]]:
    """One row a parent; shares are None where a parent has no image."""
    rows = []
    for index in range(parents):
        mine = parent == index
        shares = {"recall": reached[mine], "child_accuracy": child_right[mine]}
        means = {key: float(share.mean()) if len(share) else None for key, share in shares.items()}
        rows.append({"parent": index, **means, "count": int(mine.sum())})
    return rows
