"""The parts of fitted heads, which predict without torch: a dense layer, and a tree."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from treehead.heads.costs import Cost


class Linear(NamedTuple):
    """Weight (classes, dim) and bias (classes,), float32."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features (n, dim) -> logits (n, classes)."""
        return features @ self.weight.T + self.bias

    def macs(self) -> int:
        """Multiplications for one image."""
        return self.weight.size


class Tree(NamedTuple):
    """A parent layer, a layer for all children, and the parent of each class.

    Args:
        parent: weight (parents, dim).
        child: weight (classes, inputs).
        parent_of: parent of each class, (classes,).
        reads: what children read, "features" or "parent_logits" (through a ReLU).
        among_siblings: whether children were trained against their siblings alone. Their logits
            then are comparable only after log p(parent) is added to log p(class | parent).
    """

    parent: Linear
    child: Linear
    parent_of: np.ndarray
    reads: str
    among_siblings: bool = False

    def route(self, features: np.ndarray, k: int) -> np.ndarray:
        """The k most likely parents of each image, the most likely first, (n, k)."""
        return np.argsort(-self.parent.logits(features), axis=1, kind="stable")[:, :k]

    def scores(self, features: np.ndarray, routed: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of the children of the routed parents (n, k); others are -inf."""
        scores = self._among_siblings(features) if self.among_siblings else self._child(features)
        asked = (routed[:, :, None] == self.parent_of).any(1)
        return np.where(asked, scores, -np.inf)

    def predict(self, features: np.ndarray, routed: np.ndarray) -> np.ndarray:
        """The most likely child of the routed parents (n, k): labels (n,)."""
        return self.scores(features, routed).argmax(1)

    def _child(self, features: np.ndarray) -> np.ndarray:
        from_logits = self.reads == "parent_logits"
        return self.child.logits(rectified(self.parent, features) if from_logits else features)

    def _among_siblings(self, features: np.ndarray) -> np.ndarray:
        """log p(parent) + log p(class | parent), (n, classes)."""
        scores = self._child(features)
        for parent in range(len(self.parent.bias)):
            members = self.parent_of == parent
            scores[:, members] = log_softmax(scores[:, members], axis=1)
        return scores + log_softmax(self.parent.logits(features), axis=1)[:, self.parent_of]

    def cost(self, routed: np.ndarray) -> Cost:
        """The parent layer, and the children of the routed parents (n, k)."""
        children, k = np.bincount(self.parent_of), routed.shape[1]
        inputs, asked = self.child.weight.shape[1], children[routed].sum(1)
        worst = int(np.sort(children)[-k:].sum())
        return Cost(
            macs=self.parent.macs() + inputs * asked,
            worst=self.parent.macs() + inputs * worst,
            other=(1 + k) * len(children) + 2 * asked,
        )

    def tensors(self) -> list[np.ndarray]:
        """All that has to be stored."""
        return [*self.parent, *self.child]


def rectified(parent: Linear, features: np.ndarray) -> np.ndarray:
    """What children read in place of the features (n, dim): the ReLU of the parent logits."""
    return np.maximum(parent.logits(features), 0)
