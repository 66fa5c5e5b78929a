"""Each class by name: how well it is found, and what it is taken for."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from treehead.artifacts import write_text
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import metrics


def table(predicted: np.ndarray, label: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    """One row for each class, in the order of the labels.

    Args:
        predicted, label: of each image, (n,).
        taxonomy: the names.

    Returns:
        The shares are NaN where they are undefined: the recall of a class without images, the
        precision of one that is never predicted. `most_confused_with` is the class that most of its
        images go to by mistake, and `confused` is their number; empty and 0 if there is no mistake.
    """
    names = np.array(taxonomy.fine_names, dtype=object)
    wrong = metrics.confusion(predicted, label, len(names))
    np.fill_diagonal(wrong, 0)
    found = metrics.by_class(predicted, label, len(names))
    return pd.DataFrame(
        {
            "class": names,
            "label": np.arange(len(names)),
            "parent": parents(taxonomy),
            **found._asdict(),
            "most_confused_with": np.where(wrong.any(1), names[wrong.argmax(1)], ""),
            "confused": wrong.max(1),
        }
    )


def parents(taxonomy: Taxonomy) -> np.ndarray:
    """The name of each class's parent, (classes,)."""
    return np.array(taxonomy.parent_names, dtype=object)[taxonomy.parent_of()]


def write(path: str | Path, table: pd.DataFrame) -> None:
    """Write the table as CSV; all names are in quotes, since a name may hold any character."""
    write_text(path, table.round(6).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def worst(table: pd.DataFrame, count: int = 5) -> list[dict[str, Any]]:
    """The rows with the lowest recall below 1; of equal ones those with most images first."""
    wrong = table[table["recall"] < 1]
    order = wrong.sort_values(["recall", "support"], ascending=[True, False], kind="stable")
    shown = ["class", "label", "parent", "support", "recall", "most_confused_with", "confused"]
    return order[shown].head(count).to_dict("records")
