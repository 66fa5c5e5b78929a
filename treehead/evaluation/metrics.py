"""Pure functions of labels and predictions, each of them int64 (n,)."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax


class ByClass(NamedTuple):
    """Of each class, (classes,): its images, and shares that are NaN where they are undefined."""

    support: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def accuracy(predicted: np.ndarray, label: np.ndarray) -> float:
    """Share of right answers; 0 of none."""
    return float(np.mean(predicted == label)) if len(label) else 0.0


def by_class(predicted: np.ndarray, label: np.ndarray, classes: int) -> ByClass:
    """How well each class is found; a class that is neither there nor predicted has no F1."""
    rows = (label[predicted == label], label, predicted)
    right, support, asked = (np.bincount(row, minlength=classes) for row in rows)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.full(classes, np.nan), where=whole > 0)

    return ByClass(
        support, share(right, asked), share(right, support), share(2 * right, support + asked)
    )


def shares(predicted: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """The accuracy, and beside it the figures in which each class counts alike.

    The balanced accuracy is the mean recall of the classes that have images. Macro-F1 is the mean
    F1 of the classes that have images or are predicted. Both are as scikit-learn defines them.
    """
    found = by_class(predicted, label, 1 + int(max(predicted.max(), label.max())))
    return {
        "accuracy": accuracy(predicted, label),
        "balanced_accuracy": float(np.nanmean(found.recall)),
        "macro_f1": float(np.nanmean(found.f1)),
    }


def balance(label: np.ndarray, classes: int) -> dict[str, float]:
    """Images of the largest class for one of the smallest that has any, and how many have none."""
    counts = np.bincount(label, minlength=classes)
    return {
        "imbalance_ratio": float(counts.max() / counts[counts > 0].min()),
        "classes_without_images": int((counts == 0).sum()),
    }


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """95 % score interval of the share of right answers among n (Wilson, JASA 1927)."""
    from scipy.stats import binomtest  # noqa: PLC0415 - 0.6 s, only for those who use it

    low, high = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def bootstrap_interval(values: np.ndarray, seed: int, resamples: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of a mean over resampled images, of values (n,) (Efron, 1979)."""
    rng = np.random.default_rng(seed)
    n = len(values)
    means = [values[rng.integers(0, n, n)].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def calibration_error(logits: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error in bins of equal width (Guo et al., ICML 2017, section 2).

    Args:
        logits: (n, classes); -inf where a class has no probability.
        label: (n,).
    """
    shares = softmax(logits, axis=1)
    confidence, right = shares.max(1), shares.argmax(1) == label
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / max(len(label), 1))


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
