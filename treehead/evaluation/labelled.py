"""A classifier's file on labelled pictures of anyone's."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from treehead.artifacts import InputError
from treehead.console import progress, say
from treehead.data import catalog, taxonomy
from treehead.data.sources.source import Source
from treehead.deploy import prediction
from treehead.deploy.model import About, Model
from treehead.evaluation import classes, metrics


class Labelled(NamedTuple):
    """Pictures and their classes.

    Args:
        source: of the pictures.
        rows: places of the pictures in the source.
        label: their classes, as numbers of the classifier's, (n,).
    """

    source: Source
    rows: list[int]
    label: np.ndarray


def look(path: str, about: About) -> Labelled:
    """The labelled pictures of a data set: those of test if it has one, else all.

    Args:
        path: as dataset.source.
        about: of the classifier, whose classes they have by name.

    Raises:
        InputError: there is no picture, or a class that the classifier does not know.
    """
    plain = {"configuration": None, "revision": None, "sha256": {}, "splits": {}, "columns": {}}
    source = catalog.opened({"name": "evaluated", "source": path, **plain})
    parts = {entry.part for entry in source.entries}
    rows = [
        row
        for row, entry in enumerate(source.entries)
        if "test" not in parts or entry.part == "test"
    ]
    if not rows:
        raise InputError(f"{path} lists no picture; give a source with pictures.")
    if "test" in parts:
        say(f"{path}: {len(rows):,} pictures of test; those of other splits are left out.")
    for remark in catalog.left_out(source):
        say(f"{path}: {remark}.")
    entries = [source.entries[row] for row in rows]
    labels, names = catalog.numbered(path, entries, source.class_names, "evaluated")
    if isinstance(entries[0].label, int) and not source.class_names:
        raise InputError(
            f"{path} numbers its classes and does not name them; give names, by which they are "
            "matched to the classifier's."
        )
    if foreign := sorted(set(names) - set(about.classes)):
        raise InputError(
            f"{path} has {len(foreign)} classes that the classifier does not know, the first "
            f"{foreign[0]!r}; it knows {', '.join(map(repr, about.classes[:5]))} and so on."
        )
    number = np.array([about.classes.index(name) for name in names])
    return Labelled(source, rows, number[labels])


def evaluate(model: Model, given: Labelled, threads: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """Shares and a row a class; broken pictures are left out and counted."""
    about, n = model.about, len(given.rows)
    predictions = prediction.predict(model, given.source.read(given.rows), threads)
    found = list(progress(predictions, "evaluate", n, "pictures"))
    whole = np.array([row.probabilities is not None for row in found])
    if not whole.any():
        raise InputError(f"No picture can be read; the first: {found[0].reason}.")
    predicted = np.array([row.probabilities.argmax() for row in found if not row.reason])
    label = given.label[whole]
    tree = taxonomy.from_parents(about.parent_of, about.parents, about.classes)
    report = {
        **metrics.shares(predicted, label),
        "accuracy_ci95": metrics.wilson_interval(int((predicted == label).sum()), len(label)),
        "n": len(label),
        "broken": int((~whole).sum()),
    }
    return report, classes.table(predicted, label, tree)
