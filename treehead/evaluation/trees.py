"""How a tree routes images, and the metrics of a hierarchy on a split."""

from typing import Any

import numpy as np

from treehead.data.embeddings import Embeddings
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import classes, metrics
from treehead.heads.costs import Cost
from treehead.heads.layers import Linear, Tree


def routing(
    tree: Tree, features: np.ndarray, fine: np.ndarray, *, top_k: list[int]
) -> dict[str, Any]:
    """How a tree routes images, and how accurate its children are.

    Args:
        tree: the classifier.
        features: of the images, (n, dim).
        fine: their labels, (n,).
        top_k: also with this many of the likeliest parents, at most all; soft routing asks all.
    """
    parent, parents = tree.parent_of[fine], len(tree.parent.bias)
    routed = tree.route(features, 1)
    reached = routed[:, 0] == parent
    predicted = tree.predict(features, routed)
    oracle = tree.predict(features, parent[:, None])

    asked = dict.fromkeys(min(k, parents) for k in top_k)

    def of_best(k: int) -> dict[str, float]:
        return metrics.shares(tree.predict(features, tree.route(features, k)), fine)

    of_parents = metrics.shares(routed[:, 0], parent)
    return {
        **{f"parent_{name}": share for name, share in of_parents.items()},
        "child_given_true_parent": metrics.accuracy(oracle, fine),
        "child_given_predicted_parent": metrics.accuracy(predicted[reached], fine[reached]),
        "top_k": {str(k): of_best(k) for k in asked},
        "soft_routing": of_best(parents)["accuracy"],
        "per_parent": _per_parent(parents, parent, reached, oracle == fine),
    }


def evaluate(
    tree: Tree,
    flat: Linear,
    *,
    val: Embeddings,
    test: Embeddings,
    taxonomy: Taxonomy,
    top_k: list[int],
) -> tuple[dict[str, Any], np.ndarray]:
    """All metrics on test, of val what ranks settings; and the predictions (n,) with one parent.

    Args:
        tree: the classifier.
        flat: the full head on the same features.
        val, test: embeddings of the splits, of which the images as they are count.
        taxonomy: names of the classes and of their parents.
        top_k: also with this many of the most likely parents.
    """
    ranks, _ = _measure(tree, flat, val, top_k)
    report, predicted = _measure(tree, flat, test, top_k)
    for row in report["per_parent"]:
        row["name"] = taxonomy.parent_names[row["parent"]]
    ranking = ("accuracy", "balanced_accuracy", "macro_f1", "parent_accuracy", "top_k", "flat")
    return {
        **report,
        "worst_classes": classes.worst(classes.table(predicted, test.fine, taxonomy)),
        "n_test": len(test.fine),
        **metrics.balance(test.fine, len(tree.parent_of)),
        "val": {key: ranks[key] for key in ranking},
    }, predicted


def _measure(
    tree: Tree, flat: Linear, embeddings: Embeddings, top_k: list[int]
) -> tuple[dict[str, Any], np.ndarray]:
    """All metrics of one split, and the predictions (n,) with one parent."""
    features, fine = embeddings.features[0], embeddings.fine
    routed = tree.route(features, 1)
    predicted = tree.predict(features, routed)
    routes = routing(tree, features, fine, top_k=top_k)
    for k, row in routes["top_k"].items():
        row.update(_macs(tree.cost(tree.route(features, int(k)))))
    full = flat.logits(features).argmax(1)
    report = {
        **metrics.shares(predicted, fine),
        "accuracy_ci95": metrics.wilson_interval(int((predicted == fine).sum()), len(fine)),
        **routes,
        "flat": {
            **metrics.shares(full, fine),
            "parent_accuracy": metrics.accuracy(tree.parent_of[full], tree.parent_of[fine]),
            "macs": flat.macs(),
        },
        **_macs(tree.cost(routed)),
        "parameters": sum(tensor.size for tensor in tree.tensors()),
        "bytes": sum(tensor.nbytes for tensor in tree.tensors()),
        "mistake_severity": metrics.mistake_severity(predicted, fine, tree.parent_of),
        "expected_calibration_error": metrics.calibration_error(
            tree.scores(features, routed), fine
        ),
    }
    return report, predicted


def _macs(cost: Cost) -> dict[str, float]:
    """MACs of the mean image and of the costliest one."""
    return {"macs": float(cost.macs.mean()), "macs_worst": cost.worst}


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
