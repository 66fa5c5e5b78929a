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
