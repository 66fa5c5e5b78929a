"""Pictures and tables for people: what the data are, how training went, which parents fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from treehead.artifacts import replacing
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import comparison, metrics

mpl.use("agg")
plt.rcParams.update(
    {
        "figure.dpi": 150,
        "font.size": 8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "svg.hashsalt": "treehead",
    }
)
_BLUE, _ORANGE = "#0072b2", "#d55e00"


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG or an SVG, as the path ends; the same figure gives the same bytes."""
    kind = Path(path).suffix.removeprefix(".")
    untold = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, bbox_inches="tight", metadata=untold)
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


def group_confusion(
    predicted: np.ndarray, group: np.ndarray, taxonomy: Taxonomy, title: str
) -> Figure:
    """Share in per cent of each parent's images that the parent layer sends to each parent.

    Args:
        predicted, group: parents (n,).
        taxonomy: their names.
        title: what the images are.
    """
    count = len(taxonomy.parent_names)
    counts = metrics.confusion(predicted, group, count)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = max(4.0, 0.5 * count)
    figure, axis = plt.subplots(figsize=(size + 2.5, size), layout="compressed")
    axis.imshow(np.ma.masked_equal(shares, 0), cmap="viridis_r", norm=mpl.colors.LogNorm(0.5, 100))
    for row, column in np.ndindex(*shares.shape):
        if shares[row, column] >= 0.05:
            shade = "white" if shares[row, column] > 20 else "black"
            text = f"{shares[row, column]:.1f}"
            axis.text(column, row, text, ha="center", va="center", color=shade, fontsize=6)
    names = [name.replace("_", " ") for name in taxonomy.parent_names]
    axis.set_xticks(range(count), range(count))
    axis.set_yticks(range(count), [f"{name}  {index}" for index, name in enumerate(names)])
    axis.tick_params(length=0)
    axis.set(xlabel="predicted cluster", ylabel="true cluster", title=title)
    return figure


def dendrogram(alike: np.ndarray, taxonomy: Taxonomy, title: str) -> Figure:
    """Which classes are confused most, as a tree of average linkage, named by their cluster.

    Args:
        alike: similarity (classes, classes), as `clusters.similarity` gives it.
        taxonomy: clusters of the classes; each class's name has the colour and number of its own.
        title: what the images are.
    """
    distance = alike.max() - alike
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform(distance, checks=False), "average")
    figure, axis = plt.subplots(figsize=(6, 0.125 * len(alike) + 1), layout="compressed")
    parent_of = taxonomy.parent_of()
    names = [
        f"{parent_of[fine]:>2}  {name.replace('_', ' ')}"
        for fine, name in enumerate(taxonomy.fine_names)
    ]
    drawn = hierarchy.dendrogram(
        tree,
        orientation="left",
        labels=names,
        color_threshold=0,
        above_threshold_color="grey",
        leaf_font_size=6,
        ax=axis,
    )
    colours = mpl.colormaps["tab10"]
    for label, fine in zip(axis.get_yticklabels(), drawn["leaves"], strict=True):
        label.set_color(colours(int(parent_of[fine]) % 10))
    axis.set_xticks([])
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set(title=title, xlabel="joined further left: confused more rarely")
    return figure


# Colours that the colour-blind tell apart (Okabe and Ito, 2008), and marks that nobody confuses.
_COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#999999")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")

# Points of accuracy below the best head that the figure shows.
_SHOWN = 25


def pareto(table: pd.DataFrame, study: pd.DataFrame, backbone: int, title: str) -> Figure:
    """Accuracy against MACs and against bytes, a mark a head, the frontier, the study's numbers.

    Args:
        table: the comparison, as `comparison.table` gives it.
        study: the study's numbers, `accuracy` in per cent and `macs`.
        backbone: MACs of the backbone, so that nobody takes the head for the whole.
        title: what the images are.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 5), sharey=True, layout="constrained")
    full = table[table["precision"] == table["precision"].iloc[0]]
    macs = f"MACs of the head, mean of an image (its backbone: {backbone:,})"
    panels = [("macs_mean", macs, full), ("bytes", "bytes of the head, as packed", table)]
    best = 100 * table["accuracy_mean"].max()
    for axis, (cost, label, rows) in zip(axes, panels, strict=True):
        for index, (module, mine) in enumerate(rows.groupby("module", sort=True)):
            axis.errorbar(
                mine[cost],
                100 * mine["accuracy_mean"],
                yerr=100 * mine["accuracy_sd"],
                fmt=_MARKS[index % len(_MARKS)],
                color=_COLOURS[index % len(_COLOURS)],
                markersize=4.5,
                elinewidth=0.8,
                label=module,
            )
        best_of = comparison.frontier(rows, cost)
        axis.step(
            best_of[cost],
            100 * best_of["accuracy_mean"],
            where="post",
            color="grey",
            linewidth=0.9,
            zorder=0,
            label="frontier",
        )
        if cost == "macs_mean":
            hollow = {"mfc": "none", "mec": "#555555", "markersize": 5, "linestyle": "none"}
            axis.plot(study["macs"], study["accuracy"], "d", label="the study, 2023", **hollow)
        for row in _named(rows, cost):
            _point_out(axis, row, cost)
        axis.set(xscale="log", xlabel=label)
        axis.grid(which="major", color="#e5e5e5", linewidth=0.6)
        axis.set_axisbelow(True)
    axes[0].set(ylabel="accuracy on test, %", ylim=(best - _SHOWN, best + 2.5))
    below = int((100 * full["accuracy_mean"] < best - _SHOWN).sum())
    figure.suptitle(f"{title} (heads below what is shown: {below})" if below else title)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)
    return figure


def networks(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy by the width of the bottleneck, and what parents and trees reach.

    Args:
        table: as `networks.table` gives it, with the study's numbers or without.
        title: what the images are.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    narrow = table[table["network"].str.startswith("bottleneck-")]
    width = narrow["network"].str.partition("-")[2].astype(int)
    whole = table[table["network"] == "flat"]
    sources = [("", "ours", _BLUE), ("study_", "the study, 2023", _ORANGE)]
    for prefix, label, colour in sources:
        if f"{prefix}accuracy" not in table:
            continue
        left.plot(width, 100 * narrow[f"{prefix}accuracy"], "o-", color=colour, label=label)
        for value in 100 * whole[f"{prefix}accuracy"]:
            left.axhline(value, color=colour, linestyle=":", linewidth=1)
    left.set(xlabel="width d of the bottleneck (dotted: none)", ylabel="accuracy on test, %")
    names = {
        "parent_accuracy": "parent",
        "child_accuracy": "children,\nmean",
        "tree_accuracy": "tree",
    }
    trees = table[table["network"].isin(["parent", "joint"])]
    bars = [(row, column) for _, row in trees.iterrows() for column in names if column in row]
    places = np.arange(len(bars))
    for shift, (prefix, label, colour) in zip((-0.2, 0.2), sources, strict=True):
        heights = [100 * row.get(prefix + column, np.nan) for row, column in bars]
        shown = right.bar(places + shift, heights, 0.38, color=colour, label=label)
        right.bar_label(shown, ["" if np.isnan(height) else f"{height:.1f}" for height in heights])
    right.set_xticks(places, [f"{row['network']}:\n{names[column]}" for row, column in bars])
    right.set(ylabel="accuracy on test, %")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(title)
    return figure


def _named(rows: pd.DataFrame, cost: str) -> Iterator[pd.Series]:
    """The full head, and the cheapest head without a significant loss against it."""
    yield rows.iloc[(rows["head"] == "linear").to_numpy().argmax()]
    cheapest = comparison.smallest_without_loss(rows, cost)
    if cheapest is not None and cheapest["head"] != "linear":
        yield cheapest


def _point_out(axis: Axes, row: pd.Series, cost: str) -> None:
    name = f"{row['head']}\n{100 * row['accuracy_mean']:.2f} % at {row[cost]:,.0f}"
    axis.annotate(
        name,
        (row[cost], 100 * row["accuracy_mean"]),
        xytext=(4, 13),
        textcoords="offset points",
        ha="left",
        fontsize=7,
        arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.6},
    )


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
