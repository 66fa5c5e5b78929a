"""Tests of whether a difference between two heads on the same images is more than chance."""

import numpy as np
from scipy.stats import binomtest, norm


def mcnemar(right: np.ndarray, baseline: np.ndarray) -> float:
    """Two-sided exact p of McNemar's test (1947) on the images that only one head gets right.

    Args:
        right, baseline: bool (n,), whether each head is right.
    """
    gained, lost = int((right & ~baseline).sum()), int((~right & baseline).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def p_of_loss(right: np.ndarray, baseline: np.ndarray) -> float:
    """McNemar's p if the head is worse than the baseline, otherwise 1."""
    return mcnemar(right, baseline) if right.sum() < baseline.sum() else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """p values (tests,) adjusted for the number of tests (Holm, 1979)."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty_like(p)
    result[order] = np.minimum(adjusted, 1)
    return result


def noninferior(difference: np.ndarray, margin: float, confidence: float = 0.95) -> bool:
    """Whether a mean difference is at least -margin, one-sided at this confidence.

    Args:
        difference: right minus the baseline's right, the mean over seeds for each image, (n,).
        margin: the largest loss of accuracy that does not matter, as a share.
    """
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return bool(difference.mean() - norm.ppf(confidence) * error >= -margin)
