"""A linear layer from features to parents, measured alone."""

from typing import Any

import numpy as np

from treehead.artifacts import InputError
from treehead.data.embeddings import Embeddings
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import metrics
from treehead.heads.layers import Linear


def evaluate(
    layer: Linear, taxonomy: Taxonomy, test: Embeddings
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Its figures, and the true and the predicted parent of each image as it is."""
    parent = taxonomy.parent_of()[test.fine]
    predicted = layer.logits(test.features[0]).argmax(1)
    report = {
        **metrics.shares(predicted, parent),
        "accuracy_ci95": metrics.wilson_interval(int((predicted == parent).sum()), len(parent)),
        "parents": len(taxonomy.classes),
        "macs": layer.macs(),
        "n_test": len(parent),
        "parents_without_images": len(taxonomy.classes) - len(np.unique(parent)),
    }
    return report, {"parent": parent, "predicted": predicted}


def of_checkpoint(
    layer: Linear, clusters: Taxonomy, test: Embeddings, epochs: int
) -> dict[str, Any]:
    """The figures of the head that came with the study's checkpoint.

    Args:
        layer: the head.
        clusters: the study's ten.
        test: features of the checkpoint's own backbone, not trained further.
        epochs: of training, which must be 0.
    """
    if epochs > 0:
        raise InputError(
            "The checkpoint's head fits its own features alone; set finetune.epochs to 0."
        )
    if len(layer.bias) != len(clusters.classes):
        raise InputError(
            f"The head in backbone.weights has {len(layer.bias)} classes, not the "
            f"{len(clusters.classes)} clusters of the study; give the study's checkpoint."
        )
    report, _ = evaluate(layer, clusters, test)
    return {key: report[key] for key in ("accuracy", "macs", "n_test")}
