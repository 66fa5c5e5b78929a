"""The lower level of the tree: a convex softmax regression among each parent's children.

It needs no torch: twenty small jobs would each wait for its import.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from treehead.artifacts import InputError
from treehead.data import balance
from treehead.data.moments import moments
from treehead.heads.layers import Linear, rectified


def inputs(features: np.ndarray, parent: Linear | None) -> np.ndarray:
    """What a child reads, (n, inputs).

    Args:
        features: float32 (n, dim).
        parent: the parent layer if children read the ReLU of its logits, as the study's do; None
            if they read the features.
    """
    return features if parent is None else rectified(parent, features)


def fit(
    x: np.ndarray, labels: np.ndarray, children: int, l2: float, class_weights: str = "none"
) -> dict[str, np.ndarray]:
    """Softmax regression: least mean cross-entropy + l2 / 2 * |W|^2 on standardised inputs.

    Args:
        x: inputs float32 (n, dim) of one parent's images.
        labels: child labels int64 (n,) in 0..children-1.
        children: number of children; a single one needs no choice and gets zeros.
        l2: strength of the penalty on the weights; the bias is free.
        class_weights: by which the siblings' images weigh, as for `balance.class_weights`.

    Returns:
        `weight` float32 (children, dim) and `bias` float32 (children,), for raw inputs. An input
        that is the same in all images weighs 0.
    """
    dim = x.shape[1]
    if children == 1:
        return {"weight": np.zeros((1, dim), np.float32), "bias": np.zeros(1, np.float32)}
    found = moments([x])
    mean, std = np.float32(found.mean), np.float32(found.deviation)
    least = max(1e-6 * std.max(), np.finfo(np.float32).tiny)
    std = np.where(std > 0, np.maximum(std, least), np.inf)
    standardized = (x - mean) / std
    target = np.eye(children, dtype=np.float32)[labels]
    weights = balance.sample_weight(labels, children, class_weights)
    each = np.float32(1) if weights is None else weights[:, None]
    given, start = (standardized, target, l2, each), np.zeros((dim + 1) * children)
    best = minimize(_objective, start, given, jac=True, method="L-BFGS-B", tol=1e-6)
    if not np.isfinite(best.fun):
        raise InputError(f"A child's fit ended at the loss {best.fun}; raise child.l2.")
    parameters = best.x.reshape(dim + 1, children)
    weight = parameters[:-1].T / std
    return {
        "weight": weight.astype(np.float32),
        "bias": (parameters[-1] - weight @ mean).astype(np.float32),
    }


def _objective(
    flat: np.ndarray, x: np.ndarray, target: np.ndarray, l2: float, each: np.ndarray | float = 1.0
) -> tuple[float, np.ndarray]:
    """Loss and gradient at parameters ((dim + 1) * children,), the bias in the last row.

    Images weigh `each` (n, 1).
    """
    parameters = flat.reshape(x.shape[1] + 1, target.shape[1]).astype(x.dtype)
    weight = parameters[:-1]
    log_shares = log_softmax(x @ weight + parameters[-1], axis=1)
    loss = l2 / 2 * np.sum(weight**2) - np.mean((log_shares * target * each).sum(1))
    error = (np.exp(log_shares) - target) * each / len(x)
    gradient = np.vstack([x.T @ error + l2 * weight, error.sum(0)])
    return float(loss), gradient.ravel().astype(np.float64)
