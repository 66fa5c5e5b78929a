"""Predictions for picture files, as text for people and as rows for programs."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from treehead.deploy.classifier import About
from treehead.deploy.prediction import Prediction

_COLUMNS = ["picture", "rank", "class", "parent", "probability", "reason"]


def _best(about: About, found: Prediction, top: int) -> Iterator[dict[str, Any]]:
    """The likeliest classes, the first first."""
    order = (-found.probabilities).argsort(kind="stable")[:top].tolist()
    for rank, place in enumerate(order, 1):
        yield {
            "rank": rank,
            "class": about.classes[place],
            "parent": about.parents[about.parent_of[place]],
            "probability": round(float(found.probabilities[place]), 6),
        }


def for_people(path: Path, about: About, found: Prediction, top: int) -> str:
    """A line for the picture, and one for each class."""
    if found.reason:
        return f"{path}\n  not read: {found.reason}"
    lines = [
        f"  {row['probability']:7.2%}  {row['class']} ({row['parent']})"
        for row in _best(about, found, top)
    ]
    return "\n".join([str(path), *lines])


def as_json(path: Path, about: About, found: Prediction, top: int) -> str:
    """A line of JSON."""
    told = {"reason": found.reason} if found.reason else {"classes": [*_best(about, found, top)]}
    return json.dumps({"picture": str(path), **told}, ensure_ascii=False)


def csv_writer(file: TextIO) -> csv.DictWriter:
    """A writer that has written the header."""
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    return writer


def csv_rows(path: Path, about: About, found: Prediction, top: int) -> list[dict[str, Any]]:
    """A row for each class, or one with the reason."""
    if found.reason:
        return [{"picture": str(path), "reason": found.reason}]
    return [{"picture": str(path), **row} for row in _best(about, found, top)]
