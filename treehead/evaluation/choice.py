"""The recommendation: the smallest head whose loss against the full one on val is within a margin.

`choose` knows val alone; `with_test` adds the test figures of what it chose.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.data.embeddings import Embeddings
from treehead.evaluation import metrics
from treehead.heads import fitting, packing

# How many other heads within margin and bounds are listed, each at its smallest precision.
ALTERNATIVES = 3
# What two accuracies that are equal may differ by as floats.
_ROUNDING = 1e-9


class Packed(NamedTuple):
    """A packed file as it does on val.

    Args:
        about: `head`, `module`, `setting`, `precision`, `seed`, `file` and `sha256`.
        cost: `macs`, the mean over the images; `macs_worst`, `bytes` and `parameters`.
        right: bool (n,), which images it gets right.
    """

    about: dict[str, Any]
    cost: dict[str, float]
    right: np.ndarray


def measure(path: str | Path, heads: dict[str, dict[str, str]], val: Embeddings) -> Packed:
    """Measure a packed file on val.

    Args:
        path: "<results>/heads/<head>/packed/<precision>-<seed>.bin".
        heads: `module` and `setting` of each head.
        val: val; its images as they are.
    """
    path, features = Path(path), val.features[0]
    name, head = path.parents[1].name, packing.read(path)
    precision, seed = packing.precision_and_seed(path)
    module = heads[name]["module"]
    cost = fitting.cost(module, head, features)
    own, _ = fitting.as_fitted(head, features)
    return Packed(
        {
            "head": name,
            **heads[name],
            "precision": precision,
            "seed": seed,
            "file": "/".join(path.parts[-4:]),
            "sha256": artifacts.sha256(path),
        },
        {
            "macs": float(cost.macs.mean()),
            "macs_worst": float(cost.worst),
            "bytes": path.stat().st_size,
            "parameters": packing.parameters(own),
        },
        fitting.predict(module, head, features).argmax(1) == val.fine,
    )


def choose(
    packed: list[Packed],
    *,
    full: tuple[str, str],
    by: str | dict[str, float],
    margin: float,
    at_most: dict[str, float | None],
) -> dict[str, Any]:
    """The smallest head and precision within the margin and the bounds, by its best seed's file.

    Accuracies are means over seeds; a cost is that of the file that is best on val. Heads that cost
    the same are ordered by accuracy, then by name.

    Args:
        packed: each file of each head.
        full: head and precision that the others are compared with.
        by: the cost that is made small, or weights of several; each is divided by the full head's.
        margin: largest loss of accuracy against the full head.
        at_most: largest value of each cost; None is no bound.

    Raises:
        InputError: val has fewer than two images, or no head is within margin and bounds.
    """
    candidates: dict[tuple[str, str], list[Packed]] = {}
    for file in sorted(packed, key=lambda file: file.about["seed"]):
        candidates.setdefault((file.about["head"], file.about["precision"]), []).append(file)
    bounds = {cost: bound for cost, bound in at_most.items() if bound is not None}
    weights = {by: 1} if isinstance(by, str) else by
    if len(candidates[full][0].right) < 2:
        raise InputError(
            "val has fewer than two images, too few to choose a head; raise dataset.val_fraction."
        )
    rows = [_row(files, candidates[full], weights) for files in candidates.values()]
    rows.sort(key=lambda row: (row["size"], -row["val"]["accuracy"], row["head"], row["precision"]))
    within = [row for row in rows if row["val"]["difference"] >= -margin - _ROUNDING]
    smallest: dict[str, dict[str, Any]] = {}
    for row in within:
        if not _broken(row, bounds):
            smallest.setdefault(row["head"], row)
    if not smallest:
        raise InputError(_why_none(rows, within, bounds, margin))
    first, *others = smallest.values()
    return {
        **first,
        "full": {"head": full[0], "precision": full[1], "cost": _best(candidates[full]).cost},
        "by": by,
        "margin": margin,
        "at_most": bounds,
        "alternatives": others[:ALTERNATIVES],
    }


def _row(files: list[Packed], full: list[Packed], weights: dict[str, float]) -> dict[str, Any]:
    """A head at one precision, of whose seeds the best on val stands for its files and costs."""
    best = _best(files)
    of_full = _best(full).cost
    ratio = {name: cost / of_full[name] for name, cost in best.cost.items()}
    size = sum(weight * ratio[name] for name, weight in weights.items()) / sum(weights.values())
    val = _compared(np.array([file.right for file in files]), np.array([f.right for f in full]))
    return {
        **best.about,
        "val": {**val, "file_accuracy": float(best.right.mean())},
        "cost": best.cost,
        "ratio": ratio,
        "size": size,
    }


def _best(files: list[Packed]) -> Packed:
    """The file that is best on val, of equal ones the first."""
    return max(files, key=lambda file: file.right.sum())


def _compared(right: np.ndarray, full: np.ndarray) -> dict[str, Any]:
    """Accuracy of a head and of the full one, each (seeds, n) of the same seeds and images.

    The standard error is that of the difference over images, paired.
    """
    difference = right.mean(0) - full.mean(0)
    accuracies = [float(np.mean(marks.mean(1))) for marks in (right, full)]
    return {
        "n": right.shape[1],
        "accuracy": accuracies[0],
        "full": accuracies[1],
        "difference": accuracies[0] - accuracies[1],
        "standard_error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
    }


def _broken(row: dict[str, Any], bounds: dict[str, float]) -> dict[str, float]:
    """How many times each bound that a row breaks it costs."""
    times = {name: row["cost"][name] / bound for name, bound in bounds.items()}
    return {name: factor for name, factor in times.items() if factor > 1}


def _why_none(
    rows: list[dict[str, Any]],
    within: list[dict[str, Any]],
    bounds: dict[str, float],
    margin: float,
) -> str:
    nearest = min(within, key=lambda row: max(_broken(row, bounds).values()))
    broken = " and ".join(
        f"{nearest['cost'][name]:,.10g} {name} where chosen.at_most.{name} is {bounds[name]:,}"
        for name in _broken(nearest, bounds)
    )
    small = [row for row in rows if not _broken(row, bounds)]
    remedy = "raise chosen.at_most"
    if small:
        best = max(small, key=lambda row: row["val"]["accuracy"])
        loss = math.ceil(-best["val"]["difference"] * 1e4 - 1e-6) / 1e4
        remedy += f", or chosen.margin to {loss:.4f} for {_called(best)}"
    return (
        f"Config: no head within chosen.margin {margin:g} of the full one on val is small enough; "
        f"the nearest, {_called(nearest)}, has {broken}; {remedy}."
    )


def _called(row: dict[str, Any]) -> str:
    return f"{row['head']} at {row['precision']}"


def with_test(chosen: dict[str, Any], predictions: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """A choice with its figures on the test images.

    Args:
        chosen: what `choose` gives.
        predictions: of the chosen head and of the full one, by name: the true class `fine`, and a
            column for each precision and seed.
    """

    def right(head: str, precision: str) -> pd.DataFrame:
        frame = predictions[head]
        columns = [name for name in frame if name.startswith(f"{precision}-")]
        return frame[columns].eq(frame["fine"], axis=0)

    own = right(chosen["head"], chosen["precision"])
    full = right(chosen["full"]["head"], chosen["full"]["precision"])
    file = own[f"{chosen['precision']}-{chosen['seed']}"].to_numpy()
    return chosen | {
        "test": {
            **_compared(own.to_numpy().T, full.to_numpy().T),
            "ci95": metrics.bootstrap_interval(own.to_numpy().T.mean(0), seed=0),
            "file_accuracy": float(file.mean()),
            "file_ci95": metrics.bootstrap_interval(file, seed=0),
        }
    }
