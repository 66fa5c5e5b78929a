"""Pictures and tables for people: what the data are, how training went, which parents fail."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from treehead import metrics
from treehead.artifacts import replacing
from treehead.taxonomy import Taxonomy

mpl.use("agg")
plt.rcParams.update(
    {"figure.dpi": 150, "font.size": 8, "axes.spines.right": False, "axes.spines.top": False}
)
_BLUE, _ORANGE = "#0072b2", "#d55e00"


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG; the same figure gives the same bytes."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def contact_sheet(images: np.ndarray, fine: np.ndarray, taxonomy: Taxonomy, title: str) -> Figure:
    """Some images of each class, one row of classes for each parent.

    Args:
        images: uint8 (n, 3, size, size).
        fine: labels (n,); the first four images of each class are shown.
        taxonomy: which class stands in which row.
        title: what the images are.
    """
    rows, columns = len(taxonomy.classes), max(map(len, taxonomy.classes))
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.1 * columns, 0.78 * rows), squeeze=False, layout="compressed"
    )
    figure.suptitle(title)
    for row, members in enumerate(taxonomy.classes):
        for column, axis in enumerate(axes[row]):
            axis.set_axis_off()
            if column < len(members):
                axis.imshow(_strip(images[fine == members[column]][:4]))
                axis.set_title(taxonomy.fine_names[members[column]], fontsize=7, pad=2)
        axes[row, 0].text(
            -0.04,
            0.5,
            taxonomy.parent_names[row].replace("_", " "),
            transform=axes[row, 0].transAxes,
            ha="right",
            va="center",
            weight="bold",
        )
    return figure


def _strip(images: np.ndarray) -> np.ndarray:
    """Images (n, 3, size, size) side by side, (size, n * size + gaps, 3), on white."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, 2)), constant_values=255)
    return np.concatenate(padded.transpose(0, 2, 3, 1), axis=1)


def history(table: pd.DataFrame, title: str) -> Figure:
    """Loss and val accuracy by epoch, and which epoch was kept; columns as in `finetune.Epoch`."""
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(6, 4.5), sharex=True, layout="compressed")
    upper.plot(table["epoch"], table["loss"], marker="o", markersize=3, color=_BLUE)
    upper.set(ylabel="mean training loss", title=title)
    accuracy = 100 * table["val_accuracy"]
    lower.plot(table["epoch"], accuracy, marker="o", markersize=3, color=_ORANGE)
    lower.set(xlabel="epoch", ylabel="val accuracy, %")
    best = accuracy.idxmax()
    lower.annotate(
        f"kept: epoch {table['epoch'][best]}, {accuracy[best]:.2f} %",
        (table["epoch"][best], accuracy[best]),
        xytext=(0.98, 0.08),
        textcoords="axes fraction",
        ha="right",
        arrowprops={"arrowstyle": "-", "color": "grey"},
    )
    lower.xaxis.get_major_locator().set_params(integer=True)
    return figure


def confusion(predicted: np.ndarray, fine: np.ndarray, taxonomy: Taxonomy, title: str) -> Figure:
    """Share of each class's images that go to each class, the classes ordered by parent.

    Args:
        predicted, fine: labels (n,).
        taxonomy: the order; lines part the parents.
        title: what the images are.
    """
    order = np.concatenate(taxonomy.classes)
    counts = metrics.confusion(predicted, fine, len(order))[np.ix_(order, order)]
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(8.5, 8), layout="compressed")
    image = axis.imshow(
        np.ma.masked_equal(shares, 0), cmap="viridis_r", norm=mpl.colors.LogNorm(0.5, 100)
    )
    sizes = np.array([len(members) for members in taxonomy.classes])
    edges = np.concatenate([[0], np.cumsum(sizes)]) - 0.5
    axis.vlines(edges, -0.5, len(order) - 0.5, color="grey", linewidth=0.3)
    axis.hlines(edges, -0.5, len(order) - 0.5, color="grey", linewidth=0.3)
    names = [name.replace("_", " ") for name in taxonomy.parent_names]
    middles = (edges[:-1] + edges[1:]) / 2
    axis.set_xticks(middles, names, rotation=90)
    axis.set_yticks(middles, names)
    axis.tick_params(length=0)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, shrink=0.7, label="% of the true class's images", format="%g")
    return figure


def summary(report: dict[str, Any]) -> pd.DataFrame:
    """The few figures of a metrics file that one wants to see first, as text."""
    low, high = report["accuracy_ci95"]
    rows = {
        "tree, one parent": (report["accuracy"], report["macs"]),
        **{
            f"tree, {k} parents": (best["accuracy"], best["macs"])
            for k, best in report["top_k"].items()
        },
        "full linear head": (report["flat"]["accuracy"], report["flat"]["macs"]),
        "parent": (report["parent_accuracy"], None),
        "child given the true parent": (report["child_given_true_parent"], None),
    }
    table = [
        (name, f"{100 * share:.2f} %", "" if macs is None else f"{macs:,.0f}")
        for name, (share, macs) in rows.items()
    ]
    table[0] = (*table[0][:1], f"{table[0][1]} ({100 * low:.2f} to {100 * high:.2f})", table[0][2])
    return pd.DataFrame(table, columns=["on test", "accuracy", "head MACs"])


_PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body {{font: 14px sans-serif; margin: 2em}}
table {{border-collapse: collapse; margin: 1em 0}}
th, td {{padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd}}
th:first-child, td:first-child {{text-align: left}}</style>
<h1>{title}</h1><p>{note}</p>{summary}{parents}
"""


def page(report: dict[str, Any]) -> str:
    """The summary and the per-parent table as an HTML page."""
    parents = pd.DataFrame(report["per_parent"]).drop(columns="parent")
    for column in ("recall", "child_accuracy"):
        parents[column] = [
            "" if pd.isna(share) else f"{100 * share:.1f} %" for share in parents[column]
        ]
    parents.columns = ["parent", "recall", "child accuracy given this parent", "images"]
    return _PAGE.format(
        title=f"{report['dataset']['name']}: the tree on {report['n_test']:,} test images",
        note=f"Data set {report['dataset']['name']}: {report['dataset']['note']}.",
        summary=summary(report).to_html(index=False, border=0),
        parents=parents.to_html(index=False, border=0),
    )
