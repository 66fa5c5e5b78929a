"""Result folders side by side: settings and figures that differ, and exact tests of a difference.

Two folders' predictions are compared image by image only if the images are proven to be the same:
both folders record one SHA-256 of the table of the test images, which has a digest of each image's
pixels, and the true labels agree one by one.
"""

import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from treehead import records
from treehead.artifacts import InputError, read_json
from treehead.config import outputs
from treehead.evaluation import significance

COLUMNS = ("what", "folder", "value", "low", "high", "p", "not_tested")
METRICS, _CONFIG = "hierarchy100/metrics.json", "config.yaml"
# In metrics, what is a setting or an identity and not a figure.
_NO_FIGURES = ("backbone", "input_sha256", "seed", "margin", "at_most")
# What two figures that are equal may differ by as floats, as a share.
_ROUNDING = 1e-9


class Differences(NamedTuple):
    """What differs between results.

    Args:
        rows: a row for each setting or figure that differs, and folder that has it; `COLUMNS`.
            `what` is "settings: <key>" or "<file>: <figure>", and `low` and `high` bound the 95 %
            interval. `p` is McNemar's against the first folder; or else `not_tested` says why there
            is none, where the figure is the accuracy of predictions.
        lacking: for each folder, the metrics files and the configuration that only others have.
        imbalance: the largest `imbalance_ratio` of the test images.
    """

    rows: pd.DataFrame
    lacking: dict[str, list[str]]
    imbalance: float


class _Predictions(NamedTuple):
    """The predictions of a figure: a file, and a pattern of its columns with the seed as group."""

    file: str
    columns: str


class _Figure(NamedTuple):
    value: float | str
    low: float | None = None
    high: float | None = None
    predictions: _Predictions | None = None


Figures = dict[str, _Figure]
Read = Callable[[Path], pd.DataFrame]


def compare(folders: list[Path]) -> Differences:
    """What differs between two or more results folders; the first is the baseline of the tests.

    Raises:
        InputError: a folder is given twice or has no metrics, or no two have a metrics file alike.
    """
    real = [folder.resolve() for folder in folders]
    for folder in folders:
        if real.count(folder.resolve()) > 1:
            raise InputError(f"{folder} is given twice; give another results folder.")
    found = {folder: _read(folder) for folder in folders}
    files = _union(found.values())
    metrics = [file for file in files if file != _CONFIG]
    if all(sum(file in mine for mine in found.values()) == 1 for file in metrics):
        has = {folder: [file for file in metrics if file in mine] for folder, mine in found.items()}
        told = "; ".join(
            f"{folder} has {textwrap.shorten(', '.join(mine), 100, placeholder=' ...')}"
            for folder, mine in has.items()
        )
        raise InputError(f"No two folders have a metrics file in common: {told}; make {METRICS}.")
    read = cache(_table)
    rows = []
    for file in files:
        rows += _rows({folder: mine.get(file, {}) for folder, mine in found.items()}, read)
    return Differences(
        pd.DataFrame(rows, columns=COLUMNS),
        {
            str(folder): [file for file in files if file not in mine]
            for folder, mine in found.items()
        },
        _imbalance(found.values()),
    )


def _imbalance(found: Iterable[dict[str, Figures]]) -> float:
    """The largest ratio of any metrics file; 1 if none has it."""
    figures = (item for files in found for mine in files.values() for item in mine.items())
    return max((one.value for what, one in figures if what.endswith("imbalance_ratio")), default=1)


def _table(path: Path) -> pd.DataFrame:
    records.check([path])
    return pd.read_parquet(path)


def _read(folder: Path) -> dict[str, Figures]:
    """The settings and figures of a results folder, by their file."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a results folder.")
    heads = (path.relative_to(folder).as_posix() for path in folder.glob("heads/*/metrics.json"))
    named = [METRICS, "backbone/metrics.json", "chosen.json", *sorted(heads)]
    there = [file for file in named if (folder / file).exists()]
    if not there:
        raise InputError(
            f"{folder} is unfinished, it has no metrics; make them with "
            f"{outputs.making(folder, METRICS)}."
        )
    records.check(folder / file for file in there)
    found = {file: _figures(folder, file) for file in there}
    config = outputs.recorded(folder)
    return ({_CONFIG: _settings(config)} if config else {}) | found


def _union(groups: Iterable[Iterable[str]]) -> list[str]:
    """What is in any of the groups, in the order of the first that has it."""
    return list(dict.fromkeys(name for group in groups for name in group))


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings by their dotted path; an empty mapping is one."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _settings(config: dict[str, Any]) -> Figures:
    """A configuration as text, without the folder that it writes."""
    return {
        f"settings: {key}": _Figure(value if isinstance(value, str) else json.dumps(value))
        for key, value in _leaves(config)
        if key != "results"
    }


def _figures(folder: Path, file: str) -> Figures:
    """The numbers of a metrics file with their intervals, and the file of a chosen head."""
    report = read_json(folder / file)
    if not isinstance(report, dict):
        raise InputError(f"{folder / file} is not a metrics file; make it again.")
    of = file.removesuffix("/metrics.json").removesuffix(".json")
    leaves = dict(_leaves({key: report[key] for key in report if key not in _NO_FIGURES}))
    found = {}
    if of == "chosen" and not {"head", "precision", "seed", "file"} <= report.keys():
        raise InputError(f"{folder / file} is not a whole recommendation; make it again.")
    for name, value in leaves.items():
        if type(value) in (int, float) or (of, name) == ("chosen", "file"):
            of_chosen = name.removesuffix("accuracy") + "ci95"
            interval = leaves.get(f"{name}_ci95") or leaves.get(of_chosen) or (None, None)
            found[f"{of}: {name}"] = _Figure(value, *interval, _predictions(of, name, report))
    return found


def _predictions(of: str, name: str, report: dict[str, Any]) -> _Predictions | None:
    """The predictions that a figure is the accuracy of; None if it is of no stored ones."""
    if (of, name) == ("hierarchy100", "accuracy"):
        return _Predictions(f"{of}/predictions.parquet", "predicted()")
    if (of, name) == ("chosen", "test.file_accuracy"):
        column = f"{report['precision']}-{report['seed']}"
        return _Predictions(f"heads/{report['head']}/predictions.parquet", f"{column}()")
    if of.startswith("heads/") and (found := re.fullmatch(r"precisions\.(\w+)\.accuracy", name)):
        return _Predictions(f"{of}/predictions.parquet", rf"{found[1]}-(\d+)")
    return None


def _rows(found: dict[Path, Figures], read: Read) -> Iterator[tuple[Any, ...]]:
    """The rows of one file; a setting that a folder lacks differs, and a figure does not."""
    baseline = next(iter(found))
    having = sum(map(bool, found.values()))
    for what in _union(found.values()):
        mine = {folder: figures[what] for folder, figures in found.items() if what in figures}
        first, *others = (figure.value for figure in mine.values())
        lacking = what.startswith("settings: ") and len(mine) < having
        if not lacking and all(_equal(first, other) for other in others):
            continue
        for folder, figure in mine.items():
            p = reason = None
            if figure.predictions and folder != baseline and baseline in mine:
                p, reason = _test((baseline, mine[baseline]), (folder, figure), read)
            yield what, str(folder), *figure[:3], p, reason


def _equal(first: float | str, other: float | str) -> bool:
    if isinstance(first, str) or isinstance(other, str):
        return first == other
    return math.isclose(first, other, rel_tol=_ROUNDING)


def _test(
    baseline: tuple[Path, _Figure], other: tuple[Path, _Figure], read: Read
) -> tuple[float | None, str | None]:
    """McNemar's p of two accuracies, or why there is none.

    Of several seeds that both have, it is the smallest, adjusted for their number.
    """
    if reason := _unproven(baseline[0], other[0]):
        return None, reason
    tables = []
    for folder, figure in (baseline, other):
        path = folder / figure.predictions.file
        if not path.exists():
            return None, f"{path} is missing"
        tables.append((path, figure.predictions.columns, read(path)))
    # A head's predictions do not record their images; the tree's are written with the record.
    whole = read(baseline[0] / "hierarchy100/predictions.parquet")["fine"]
    for path, _, table in tables:
        if not table["fine"].equals(whole):
            return None, f"{path} has other true labels than {baseline[0]}'s tree was tested on"
    right = [
        {
            found[1]: (table[column] == table["fine"]).to_numpy()
            for column in table
            if (found := re.fullmatch(columns, column))
        }
        for _, columns, table in tables
    ]
    seeds = sorted(right[0].keys() & right[1].keys())
    if not seeds:
        return None, "no seed is in both"
    p = np.array([significance.mcnemar(right[1][seed], right[0][seed]) for seed in seeds])
    return float(significance.holm(p).min()), None


def _unproven(*folders: Path) -> str | None:
    """Why it is not proven that two folders were tested on the same images; None if it is."""
    hashes = []
    for folder in folders:
        if not (folder / METRICS).exists():
            return f"{folder / METRICS}, which records the test images, is missing"
        recorded = read_json(folder / METRICS).get("input_sha256", {})
        hashes += [digest for path, digest in recorded.items() if path.endswith("/test.parquet")]
    if len(hashes) < len(folders):
        return f"{METRICS} does not record the test images"
    if len(set(hashes)) > 1:
        return "the recorded tables of their test images differ"
    return None
