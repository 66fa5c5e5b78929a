"""All heads in one table: accuracy, cost, and whether a head is worse than the full one.

A head loses significantly if the exact McNemar test against the full head of the same seed says so
in any seed. It is not inferior if its accuracy, the mean over seeds, is surely within a margin that
was set in advance.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from treehead.evaluation import significance

# The significance level of every test.
LEVEL = 0.05

COLUMNS = [
    *("head", "setting", "seeds", "accuracy_mean", "accuracy_sd", "macs_mean", "macs_p99"),
    *("macs_worst", "other_ops", "parameters", "bytes", "p_value", "noninferior"),
]
# What the C of a head costs on the processor, if it was measured.
ON_DEVICE = ["flash_bytes", "ram_bytes", "instructions_mean", "instructions_worst"]


class Measured(NamedTuple):
    """The measurements of one head.

    Args:
        report: its metrics, as `heads.evaluate` gives them, with its name, module and setting.
        predictions: the true class `fine`, and a column for each precision and seed.
        instructions: its C's figures, as `instructions.count` gives them; None if not measured.
    """

    report: dict[str, Any]
    predictions: pd.DataFrame
    instructions: dict[str, Any] | None = None


def table(
    measured: list[Measured], *, baselines: list[str], margin: float, backbone: str = "float32"
) -> pd.DataFrame:
    """One row for each head and precision.

    Args:
        measured: the heads.
        baselines: heads to test against, the first for the column `p_value`, the others for
            `p_value_<head>`; of each the first precision.
        margin: largest loss of accuracy against the first baseline that does not matter.
        backbone: the precision of the backbone whose features the heads read.

    Returns:
        `COLUMNS`, then the other baselines' p, p adjusted by Holm's method over all rows, the
        interval of the accuracy, the accuracy on val, the figures in which each class counts alike,
        the number of seeds that are compared, the backbone's precision, and `ON_DEVICE` if the C
        was measured: empty where a head has none.
    """
    right: dict[tuple[str, str], np.ndarray] = {}
    rows = []
    for head in measured:
        for precision, figures in head.report["precisions"].items():
            columns = [name for name in head.predictions if name.startswith(f"{precision}-")]
            marks = head.predictions[columns].to_numpy() == head.predictions[["fine"]].to_numpy()
            right[head.report["head"], precision] = marks.T
            row = _row(head.report, precision, figures)
            if head.instructions:
                on_device = head.instructions["precisions"][precision]
                row |= {name: on_device.get(name) for name in ON_DEVICE}
            rows.append(row)
    frame = pd.DataFrame(rows).assign(backbone=backbone)

    def of_baseline(name: str) -> np.ndarray:
        return next(marks for (head, _), marks in right.items() if head == name)

    def p_of_loss(against: np.ndarray) -> np.ndarray:
        """(rows, seeds)"""
        return np.array(
            [list(map(significance.p_of_loss, marks, against)) for marks in right.values()]
        )

    first, *others = baselines
    against = of_baseline(first)
    p = p_of_loss(against)
    differences = [(marks.astype(float) - against).mean(0) for marks in right.values()]
    frame["p_value"] = p.min(1)
    frame["p_holm"] = np.apply_along_axis(significance.holm, 0, p).min(1)
    frame["noninferior"] = [significance.noninferior(each, margin) for each in differences]
    for name in others:
        frame[f"p_value_{name}"] = p_of_loss(of_baseline(name)).min(1)
    return frame[[*COLUMNS, *(name for name in frame if name not in COLUMNS)]]


def _row(report: dict[str, Any], precision: str, figures: dict[str, Any]) -> dict[str, Any]:
    low, high = figures["accuracy_ci95"]
    taken = ("accuracy_sd", "macs_mean", "macs_p99", "macs_worst", "other_ops", "parameters")
    return {
        "head": report["head"],
        "module": report["module"],
        "setting": ", ".join(filter(None, [report["setting"], precision])),
        "precision": precision,
        "seeds": len(figures["accuracies"]),
        "accuracy_mean": figures["accuracy"],
        **{name: figures[name] for name in taken},
        "bytes": figures["bytes"],
        "accuracy_low": low,
        "accuracy_high": high,
        "val_accuracy": figures["val_accuracy"],
        "balanced_accuracy": figures["balanced_accuracy"],
        "macro_f1": figures["macro_f1"],
        "imbalance_ratio": report["imbalance_ratio"],
        "calibration_error": figures["expected_calibration_error"],
        "mistake_severity": figures["mistake_severity"],
    }


def frontier(frame: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The rows that no row equals or beats at the same or a lower cost, cheapest first."""
    ordered = frame.sort_values([cost, "accuracy_mean"], ascending=[True, False])
    before = ordered["accuracy_mean"].cummax().shift(fill_value=-1)
    return ordered[ordered["accuracy_mean"] > before]


def smallest_without_loss(frame: pd.DataFrame, cost: str, p: str = "p_value") -> pd.Series | None:
    """The cheapest row that is in no seed significantly worse than the baseline of column `p`."""
    equal = frame[frame[p] >= LEVEL]
    return None if equal.empty else equal.loc[equal[cost].idxmin()]


def records(frame: pd.DataFrame, budget: int) -> pd.DataFrame:
    """The heads that are best in some respect.

    Args:
        frame: the comparison.
        budget: MACs of an image, mean, within which the most accurate head is sought.
    """
    unquantised = frame[frame["precision"] == frame["precision"].iloc[0]]
    against = [name for name in frame if name.startswith("p_value")]
    found = {
        "full head": unquantised[unquantised["head"] == "linear"].iloc[0],
        f"most accurate at {budget:,} MACs": _most_accurate(unquantised, budget),
    }
    costs = {"macs_mean": "MACs", "bytes": "bytes"}
    shown = ["head", "setting", "accuracy_mean", "accuracy_sd", "macs_mean", "bytes", "p_value"]
    if "instructions_mean" in frame:
        costs |= {"instructions_mean": "instructions", "flash_bytes": "flash bytes"}
        shown += ["flash_bytes", "instructions_mean"]
    for p in against:
        baseline = p.removeprefix("p_value").removeprefix("_") or "linear"
        for cost, what in costs.items():
            rows = unquantised if cost == "macs_mean" else frame.dropna(subset=cost)
            found[f"fewest {what}, no loss against {baseline}"] = smallest_without_loss(
                rows, cost, p
            )
    rows = {what: row[shown] for what, row in found.items() if row is not None}
    return pd.DataFrame(rows).T


def _most_accurate(frame: pd.DataFrame, budget: int) -> pd.Series | None:
    cheap = frame[frame["macs_mean"] <= budget]
    return None if cheap.empty else cheap.loc[cheap["accuracy_mean"].idxmax()]
