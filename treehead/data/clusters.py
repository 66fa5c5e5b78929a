"""A learned hierarchy: balanced clusters of the classes that a head confuses."""

import numpy as np
from scipy.special import softmax

from treehead.console import progress
from treehead.data.rows import Rows

# Confusions much rarer than this are noise.
_NOISE = 1e-2


def confusion(logits: Rows, labels: np.ndarray) -> np.ndarray:
    """Mean probability of each class for the images of each class, (classes, classes).

    Args:
        logits: (n, classes), of a head, possibly on its own train images.
        labels: (n,).
    """
    sums = np.zeros((logits.shape[1],) * 2)
    for rows in logits.slices():
        np.add.at(sums, labels[rows], softmax(logits[rows], axis=1))
    counts = np.bincount(labels, minlength=len(sums))
    return sums / np.maximum(counts, 1)[:, None]


def similarity(confused: np.ndarray) -> np.ndarray:
    """Similarity of each pair of classes, symmetric (classes, classes), 0 on the diagonal.

    The logarithm gives many pairs with rare confusions as much weight as a few with frequent ones.
    """
    folded = np.log1p(confused / _NOISE)
    np.fill_diagonal(folded, 0)
    return folded + folded.T


def random(classes: int, groups: int, seed: int) -> np.ndarray:
    """A random cluster for each class, (classes,); sizes differ by at most one."""
    return np.random.default_rng(seed).permutation(np.arange(classes) % groups)


def balanced(alike: np.ndarray, groups: int, seed: int, restarts: int = 30) -> np.ndarray:
    """Clusters of equal size with the largest similarity inside that the local searches find.

    Each search starts at random and swaps the pair of classes that gains most until no swap gains,
    so that sizes do not change. On CIFAR-100 it is better than balanced k-means of the classes'
    embeddings (docs/experiments.md).

    Args:
        alike: symmetric similarity (classes, classes), 0 on the diagonal.
        groups: number of clusters.
        seed: seed of the random starts.
        restarts: number of searches.

    Returns:
        Cluster of each class, int64 (classes,); clusters are numbered by their first class.
    """
    rng = np.random.default_rng(seed)
    starts = [random(len(alike), groups, int(rng.integers(2**32))) for _ in range(restarts)]
    searches = progress(starts, "clusters", restarts, "searches")
    found = [_improve(alike, start, groups) for start in searches]
    best = max(found, key=lambda cluster: float(alike[cluster[:, None] == cluster].sum()))
    order = {cluster: place for place, cluster in enumerate(dict.fromkeys(best.tolist()))}
    return np.array([order[cluster] for cluster in best.tolist()])


def _improve(alike: np.ndarray, cluster: np.ndarray, groups: int) -> np.ndarray:
    """Swap the best pair of classes from different clusters until no swap gains."""
    classes = np.arange(len(alike))
    rounding = 1e-9 * np.abs(alike).max(initial=0)
    while True:
        member = np.eye(groups)[cluster]
        to_cluster = alike @ member
        stays = to_cluster[classes, cluster]
        moves = to_cluster[:, cluster] - stays[:, None]
        gain = moves + moves.T - 2 * alike
        gain[cluster[:, None] == cluster] = 0
        one, other = np.unravel_index(gain.argmax(), gain.shape)
        if gain[one, other] <= rounding:
            return cluster
        cluster = cluster.copy()
        cluster[[one, other]] = cluster[[other, one]]
