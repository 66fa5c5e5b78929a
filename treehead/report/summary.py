"""The main figures of a hierarchy, as a table and as a page."""

import html
from typing import Any

import numpy as np
import pandas as pd

# The figures in which each class counts alike.
_ALIKE = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}

_PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body {{font: 14px sans-serif; margin: 2em}}
table {{border-collapse: collapse; margin: 1em 0}}
th, td {{padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd}}
th:first-child, td:first-child {{text-align: left}}</style>
<h1>{title}</h1><p>{note}</p>{summary}{parents}
"""


def table(report: dict[str, Any]) -> pd.DataFrame:
    """What `metrics.json` says of the tree, the full head and the parts of the tree, as text.

    If the classes have unequal numbers of images, the figures in which each counts alike as well.
    """
    low, high = (f"{100 * share:.2f}" for share in report["accuracy_ci95"])
    of_parents = {key: report.get(f"parent_{key}") for key in _ALIKE}
    rows = [("tree, one parent", report)]
    rows += [(f"tree, {k} parents", best) for k, best in report["top_k"].items() if k != "1"]
    rows += [
        ("full linear head", report["flat"]),
        ("parent", {"accuracy": report["parent_accuracy"], **of_parents}),
        ("child given the true parent", {"accuracy": report["child_given_true_parent"]}),
    ]
    accuracies = [_percent(figures["accuracy"]) for _, figures in rows]
    shown = {
        "on test": [name for name, _ in rows],
        "accuracy": [f"{accuracies[0]} ({low} to {high})", *accuracies[1:]],
    }
    if unbalanced(report):
        shown |= {
            title: [_percent(figures.get(key)) for _, figures in rows]
            for key, title in _ALIKE.items()
        }
    macs = [f"{figures['macs']:,.0f}" if "macs" in figures else "" for _, figures in rows]
    return pd.DataFrame(shown | {"head MACs": macs})


def unbalanced(measured: dict[str, Any] | pd.DataFrame) -> bool:
    """Whether a metrics file or a table is of classes with very unequal numbers of images."""
    return bool(np.max(measured.get("imbalance_ratio", 1)) > 1.5)


def images(report: dict[str, Any]) -> str:
    """How many test images there are, and what is wrong with the images."""
    dataset = report.get("dataset", {})
    leaks = dataset.get("leaks", {})
    faults = {
        "classes without one": report.get("classes_without_images"),
        "broken pictures left out": dataset.get("broken"),
        "pairs of a test image and the same one in train": leaks.get("identical"),
        "nearly the same": leaks.get("near"),
        "left out of train for that": leaks.get("dropped"),
    }
    told = [f"; {what}: {count:,}" for what, count in faults.items() if count]
    return f"{report['n_test']:,} test images{''.join(told)}"


def worst(report: dict[str, Any]) -> pd.DataFrame:
    """The classes with the lowest recall, and what they are taken for."""
    rows = report.get("worst_classes", [])
    return pd.DataFrame(
        {
            "class": [row["class"] for row in rows],
            "recall": [_percent(row["recall"], 1) for row in rows],
            "images": [row["support"] for row in rows],
            "most confused with": [
                f"{row['most_confused_with']} ({row['confused']})" for row in rows
            ],
        }
    )


def page(report: dict[str, Any]) -> str:
    """The summary and the table of parents as an HTML page."""
    rows = report["per_parent"]
    parents = pd.DataFrame(
        {
            "parent": [row["name"] for row in rows],
            "recall": [_percent(row["recall"], 1) for row in rows],
            "child accuracy given this parent": [
                _percent(row["child_accuracy"], 1) for row in rows
            ],
            "images": [row["count"] for row in rows],
        }
    )
    dataset = {key: html.escape(str(value)) for key, value in report["dataset"].items()}
    return _PAGE.format(
        title=f"{dataset['name']}: the tree on {images(report)}",
        note=f"Data set {dataset['name']}: {dataset['note']}.",
        summary=_html(table(report)),
        parents=_html(parents),
    )


def _percent(share: float | None, digits: int = 2) -> str:
    """A share in per cent; empty if there is none."""
    return "" if share is None else f"{100 * share:.{digits}f} %"


def _html(frame: pd.DataFrame) -> str:
    """A table in HTML, its text escaped and at its full length."""
    with pd.option_context("display.max_colwidth", None):
        return frame.to_html(index=False, border=0)
