"""A two-level classifier, put together from a parent layer and bare child tensors."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from treehead import cost, metrics
from treehead.embeddings import Embeddings
from treehead.heads import children
from treehead.heads.linear import Linear
from treehead.taxonomy import Taxonomy


class Hierarchy(NamedTuple):
    """A parent layer, one child layer for each parent, and which classes they stand for."""

    taxonomy: Taxonomy
    parent: Linear
    child: list[Linear]
    child_input: str

    def parent_logits(self, features: np.ndarray) -> np.ndarray:
        """Features (n, dim) -> logits (n, parents)."""
        return self.parent.logits(features)

    def child_log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Features (n, dim) -> log p(class | its parent) of all classes, (n, classes)."""
        from_logits = self.child_input == "parent_logits"
        read = children.inputs(features, self.parent._asdict() if from_logits else None)
        scores = np.empty((len(features), len(self.taxonomy.fine_names)), dtype=np.float32)
        for members, head in zip(self.taxonomy.classes, self.child, strict=True):
            scores[:, list(members)] = _log_softmax(head.logits(read))
        return scores

    def route(self, features: np.ndarray, k: int) -> np.ndarray:
        """The k likeliest parents of each image, likeliest first, (n, k)."""
        return np.argsort(-self.parent_logits(features), axis=1, kind="stable")[:, :k]

    def predict(self, features: np.ndarray, routed: np.ndarray) -> np.ndarray:
        """The likeliest class among the children of the routed parents (n, k): labels (n,)."""
        return self.scores(features, routed).argmax(1)

    def scores(self, features: np.ndarray, routed: np.ndarray) -> np.ndarray:
        """log p(parent) + log p(class | parent) of the routed parents' children, else -inf."""
        parents = self.taxonomy.parent_of()
        scores = self.child_log_probabilities(features)
        scores += _log_softmax(self.parent_logits(features))[:, parents]
        asked = (routed[:, :, None] == parents).any(1)
        return np.where(asked, scores, -np.inf)

    def tensors(self) -> list[np.ndarray]:
        """All that has to be stored."""
        return [tensor for layer in (self.parent, *self.child) for tensor in layer]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


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
        "accuracy_ci95": metrics.wilson_interval(right, len(fine)),
        **routes,
        "flat": {
            "accuracy": metrics.accuracy(flat.logits(features).argmax(1), fine),
            "macs": flat.macs(),
        },
        **_cost(hierarchy, features.shape[1], routed),
        "parameters": cost.parameters(hierarchy.tensors()),
        "bytes": cost.stored_bytes(hierarchy.tensors()),
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
        "macs": float(cost.routed_macs(dim, child_dim, sizes, routed).mean()),
        "macs_worst": cost.worst_macs(dim, child_dim, sizes, routed.shape[1]),
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
