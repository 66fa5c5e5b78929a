"""The main figures of a hierarchy, as a table and as a page."""

import html
from typing import Any

import pandas as pd

_PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body {{font: 14px sans-serif; margin: 2em}}
table {{border-collapse: collapse; margin: 1em 0}}
th, td {{padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd}}
th:first-child, td:first-child {{text-align: left}}</style>
<h1>{title}</h1><p>{note}</p>{summary}{parents}
"""


def table(report: dict[str, Any]) -> pd.DataFrame:
    """What `metrics.json` says of the tree, the full head and the parts of the tree, as text."""
    low, high = (f"{100 * share:.2f}" for share in report["accuracy_ci95"])
    rows = [("tree, one parent", f"{_percent(report['accuracy'])} ({low} to {high})", report)]
    rows += [
        (f"tree, {k} parents", _percent(best["accuracy"]), best)
        for k, best in report["top_k"].items()
        if k != "1"
    ]
    rows += [
        ("full linear head", _percent(report["flat"]["accuracy"]), report["flat"]),
        ("parent", _percent(report["parent_accuracy"]), {}),
        ("child given the true parent", _percent(report["child_given_true_parent"]), {}),
    ]
    return pd.DataFrame(
        {
            "on test": [name for name, _, _ in rows],
            "accuracy": [accuracy for _, accuracy, _ in rows],
            "head MACs": [f"{cost['macs']:,.0f}" if cost else "" for _, _, cost in rows],
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
        title=f"{dataset['name']}: the tree on {report['n_test']:,} test images",
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
