"""What a head costs. MACs are the products of dense layers; biases are parameters, not MACs.

Other operations are what remains for each image: additions of a bias, comparisons and look-ups by
an index that is not the next one.
"""

from typing import NamedTuple

import numpy as np


class Cost(NamedTuple):
    """MACs and other operations of each image, int64 (n,), and the most MACs of any image."""

    macs: np.ndarray
    worst: int
    other: np.ndarray


def same_for_all(n: int, macs: int, other: int) -> Cost:
    """The cost of a head that does the same for each of n images."""
    return Cost(np.full(n, macs), macs, np.full(n, other))


def routed_macs(dim: int, child_dim: int, children: np.ndarray, routed: np.ndarray) -> np.ndarray:
    """MACs of each image in a tree: the parent layer, and the children of the parents it goes to.

    Args:
        dim: features that the parent layer reads.
        child_dim: numbers that a child layer reads: features, or parent logits.
        children: number of children of each parent (parents,).
        routed: the parents that each image was sent to, (n, k).

    Returns:
        int64 (n,).
    """
    return dim * len(children) + child_dim * children[routed].sum(1)


def worst_macs(dim: int, child_dim: int, children: np.ndarray, k: int) -> int:
    """The most MACs that an image can cost when it is sent to k parents."""
    return dim * len(children) + child_dim * int(np.sort(children)[-k:].sum())


def parameters(tensors: list[np.ndarray]) -> int:
    """Numbers that have to be stored, biases included."""
    return sum(tensor.size for tensor in tensors)


def stored_bytes(tensors: list[np.ndarray]) -> int:
    """Bytes of those numbers as they are stored."""
    return sum(tensor.nbytes for tensor in tensors)
