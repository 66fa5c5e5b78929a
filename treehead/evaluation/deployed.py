"""A classifier's file on the test images of its run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from treehead.console import progress
from treehead.data import dataset
from treehead.deploy.model import About, Model
from treehead.evaluation import metrics

_BATCH = 16


def on_test(
    model: Model, images: str | Path, table: str | Path, expected: np.ndarray
) -> dict[str, Any]:
    """Figures of a classifier on the test images that the pipeline has measured its head on.

    Args:
        model: the classifier.
        images, table: the canonical test images and their labels.
        expected: the pipeline's own predictions, (n,).

    Returns:
        Shares, the calibration error without and with the temperature, and how many predictions
        are the pipeline's own.
    """
    pixels, label = dataset.part(images, table, "test", {})
    starts = range(0, len(pixels), _BATCH)
    done = progress(starts, "classify", len(pixels), "images", _BATCH)
    probabilities = np.concatenate([model(pixels[start : start + _BATCH]) for start in done])
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities)
    predicted = probabilities.argmax(1)
    return {
        **metrics.shares(predicted, label),
        "accuracy_ci95": metrics.bootstrap_interval(predicted == label, seed=0),
        "expected_calibration_error": metrics.calibration_error(logits, label),
        "expected_calibration_error_uncalibrated": metrics.calibration_error(
            logits * model.about.temperature, label
        ),
        "temperature": model.about.temperature,
        "n_test": len(label),
        "as_pipeline": int((predicted == expected).sum()),
        "head": model.about.head,
    }


def of_pipeline(about: About, files: list[str]) -> np.ndarray:
    """The pipeline's predictions with a classifier's packed head, (n,).

    Args:
        about: of the classifier.
        files: "<results>/heads/<head>/predictions.parquet" of its head, and maybe of others.
    """
    head = about.head
    file = next(file for file in files if Path(file).parent.name == head["name"])
    column = f"{head['precision']}-{head['seed']}"
    return pd.read_parquet(file, columns=[column])[column].to_numpy()
