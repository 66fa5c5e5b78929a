"""Weights of images against unbalanced classes: the fewer images a class has, the more each counts.

"balanced" is n / (classes * images of the class), as scikit-learn has it: all classes count alike.
"sqrt" is in proportion to 1 / sqrt(images of the class), between that and no weights. Either way
the mean over the images is 1, so learning rates and penalties keep their meaning.
"""

import numpy as np

_POWERS = {"balanced": 1.0, "sqrt": 0.5}


def class_weights(labels: np.ndarray, classes: int, kind: str) -> np.ndarray | None:
    """The weight of an image of each class.

    Args:
        labels: of the images, int64 (n,).
        classes: number of classes; one without images has the weight 0.
        kind: "none", "balanced" or "sqrt".

    Returns:
        float32 (classes,), or None for "none".
    """
    if kind == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    rarity = np.where(counts, np.maximum(counts, 1) ** -_POWERS[kind], 0)
    return (rarity * len(labels) / (counts @ rarity)).astype(np.float32)


def sample_weight(labels: np.ndarray, classes: int, kind: str) -> np.ndarray | None:
    """The weight of each image, float32 (n,), or None for "none"; arguments as above."""
    weights = class_weights(labels, classes, kind)
    return None if weights is None else weights[labels]
