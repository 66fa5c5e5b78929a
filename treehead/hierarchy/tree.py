"""A two-level classifier, put together from a parent layer and bare child tensors."""

from typing import NamedTuple

import numpy as np

from treehead.data.taxonomy import Taxonomy
from treehead.heads.linear import Linear
from treehead.hierarchy import children


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
