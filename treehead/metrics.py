"""Pure functions of labels and predictions, each of them int64 (n,)."""

from statistics import NormalDist

import numpy as np


def accuracy(predicted: np.ndarray, label: np.ndarray) -> float:
    """Share of right answers; 0 of none."""
    return float(np.mean(predicted == label)) if len(label) else 0.0


def wilson_interval(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, JASA 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    low, high = np.clip([(center - half) / scale, (center + half) / scale], 0, 1)
    return float(low), float(high)


def mistake_severity(predicted: np.ndarray, label: np.ndarray, parent_of: np.ndarray) -> float:
    """Mean height of the lowest common ancestor of prediction and truth over the mistakes.

    In a tree of two levels: 1 within one parent, 2 across parents; 0 if there is no mistake
    (Bertinetto et al., CVPR 2020, section 3.1).
    """
    wrong = predicted != label
    across = parent_of[predicted[wrong]] != parent_of[label[wrong]]
    return float(1 + across.mean()) if wrong.any() else 0.0


def confusion(predicted: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 (classes, classes): row = truth, column = prediction."""
    counts = np.bincount(label * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)
