"""One head on the test images: accuracy and cost at each precision and seed, from packed files."""

from pathlib import Path
from typing import Any

import numpy as np

from treehead.data.embeddings import Embeddings
from treehead.evaluation import metrics, trees
from treehead.heads import fitting, packing
from treehead.heads.head import Head


def evaluate(
    module: str,
    files: dict[tuple[str, int], str],
    parent_of: np.ndarray,
    val: Embeddings,
    test: Embeddings,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measure a head.

    Args:
        module: module of the head.
        files: packed file of each precision and seed.
        parent_of: parent of each class, of which a mistake's severity speaks, (classes,).
        val: val, whose accuracy ranks settings.
        test: test; its images as they are.

    Returns:
        How balanced test is, and the figures of each precision; of a tree also its routing at the
        first precision and seed; and the predictions (n,) named "<precision>-<seed>".
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    predictions = {}
    for (precision, seed), path in files.items():
        head = packing.read(path)
        row, predictions[f"{precision}-{seed}"] = _measure(module, head, parent_of, val, test)
        own, _ = fitting.as_fitted(head, test.features[0])
        size = {"parameters": packing.parameters(own), "bytes": Path(path).stat().st_size}
        rows.setdefault(precision, []).append(row | size)
    precisions = {}
    for precision, mine in rows.items():
        right = [
            predictions[f"{precision}-{seed}"] == test.fine for p, seed in files if p == precision
        ]
        precisions[precision] = _over_seeds(mine) | {
            "accuracy_ci95": metrics.bootstrap_interval(np.mean(right, axis=0), seed=0)
        }
    report = {**metrics.balance(test.fine, len(parent_of)), "precisions": precisions}
    if hasattr(fitting.module(module), "assembled"):
        first = packing.read(next(iter(files.values())))
        head, features = fitting.as_fitted(first, test.features[0])
        tree = fitting.module(module).assembled(head)
        report["routing"] = trees.routing(tree, features, test.fine, top_k=[1, 2, 3])
    return report, predictions


def _measure(
    module: str, head: Head, parent_of: np.ndarray, val: Embeddings, test: Embeddings
) -> tuple[dict[str, float], np.ndarray]:
    """The figures of one seed, and its predictions (n,)."""
    features, fine = test.features[0], test.fine
    logits = fitting.predict(module, head, features)
    predicted = logits.argmax(1)
    cost = fitting.cost(module, head, features)
    on_val = fitting.predict(module, head, val.features[0]).argmax(1)
    return {
        **metrics.shares(predicted, fine),
        "val_accuracy": metrics.accuracy(on_val, val.fine),
        "expected_calibration_error": metrics.calibration_error(logits, fine),
        "mistake_severity": metrics.mistake_severity(predicted, fine, parent_of),
        "macs_mean": float(cost.macs.mean()),
        "macs_p99": float(np.percentile(cost.macs, 99)),
        "macs_worst": float(cost.worst),
        "other_ops": float(cost.other.mean()),
    }, predicted.astype(np.int32)


def _over_seeds(rows: list[dict[str, float]]) -> dict[str, Any]:
    """The accuracy of each seed, and the mean over seeds of every figure."""
    accuracies = [row["accuracy"] for row in rows]
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {
        "accuracies": accuracies,
        "accuracy_sd": float(np.std(accuracies, ddof=1)) if len(rows) > 1 else 0.0,
        **means,
    }
