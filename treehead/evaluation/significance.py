"""Whether a difference between two heads on the same images is more than chance."""

import numpy as np
from scipy.stats import binomtest, norm


def mcnemar(right: np.ndarray, baseline: np.ndarray) -> float:
    """Two-sided exact p of as many images that only one of two heads gets right (McNemar, 1947).

    Args:
        right, baseline: bool (n,), whether each head is right.
    """
    gained, lost = int((right & ~baseline).sum()), int((~right & baseline).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def p_of_loss(right: np.ndarray, baseline: np.ndarray) -> float:
    """McNemar's p where the head is worse than the baseline, 1 where it isn't."""
    return mcnemar(right, baseline) if right.sum() < baseline.sum() else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """p values (tests,) adjusted for the number of tests (Holm, 1979)."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty_like(p)
    result[order] = np.minimum(adjusted, 1)
    return result


def noninferior(difference: np.ndarray, margin: float, confidence: float = 0.95) -> bool:
    """Whether a mean difference is no less than -margin at the confidence, one-sided.

    Args:
        difference: for each image the mean over seeds of right minus the baseline's right, (n,).
        margin: the largest loss of accuracy that does not matter, as a share.
    """
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return bool(difference.mean() - norm.ppf(confidence) * error >= -margin)
