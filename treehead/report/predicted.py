"""Predictions for picture files, as text for people and rows for programs."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from treehead.artifacts import InputError, replacing
from treehead.deploy.model import About
from treehead.deploy.prediction import Prediction

_COLUMNS = ["picture", "rank", "class", "parent", "probability", "reason"]

# For names whose bytes are no text, or that the terminal has no letters for.
_ERRORS = "backslashreplace"

# Writes the prediction of a picture.
Write = Callable[[Path, Prediction], None]


@contextmanager
def writer(form: str, file: str | None, about: About, top: int) -> Iterator[Write]:
    """What writes each prediction as it comes.

    Args:
        form: "text", "csv" or "json", a line of it for each picture.
        file: to write, whole or not at all; None or "-" for standard output.
        about: of the classifier.
        top: classes of each picture.
    """
    if file in (None, "-"):
        sys.stdout.reconfigure(errors=_ERRORS)
        yield _FORMS[form](sys.stdout, about, top)
        return
    if Path(file).is_dir():
        raise InputError(f"{file} is a folder; give a file to write.")
    try:
        with (
            replacing(file) as temporary,
            open(temporary, "w", encoding="utf-8", errors=_ERRORS, newline="") as out,
        ):
            yield _FORMS[form](out, about, top)
    except OSError as error:
        raise InputError(
            f"{file} can't be written ({error.strerror}); give another file, or make room."
        ) from error


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


def _text(out: TextIO, about: About, top: int) -> Write:
    def write(path: Path, found: Prediction) -> None:
        print(path, file=out)
        if found.reason:
            print(f"  not read: {found.reason}", file=out)
            return
        for row in _best(about, found, top):
            print(f"  {row['probability']:7.2%}  {row['class']} ({row['parent']})", file=out)

    return write


def _json(out: TextIO, about: About, top: int) -> Write:
    def write(path: Path, found: Prediction) -> None:
        told = (
            {"reason": found.reason} if found.reason else {"classes": [*_best(about, found, top)]}
        )
        print(json.dumps({"picture": str(path), **told}, ensure_ascii=False), file=out)

    return write


def _csv(out: TextIO, about: About, top: int) -> Write:
    table = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    table.writeheader()

    def write(path: Path, found: Prediction) -> None:
        rows = [{"reason": found.reason}] if found.reason else _best(about, found, top)
        table.writerows({"picture": str(path), **row} for row in rows)

    return write


_FORMS = {"text": _text, "json": _json, "csv": _csv}
