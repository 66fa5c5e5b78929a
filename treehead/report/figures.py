"""What the data are, how training went, and which classes and parents are confused."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from treehead.artifacts import replacing
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import metrics

mpl.use("agg")
plt.rcParams.update(
    {
        "figure.dpi": 150,
        "font.size": 8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "svg.hashsalt": "treehead",
        # Names are text, not markup: a class may be called "$$".
        "text.parse_math": False,
    }
)
# Colours that the colour-blind tell apart (Okabe and Ito, 2008), and grey.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#a6a6a6"

# Up to how many classes a confusion matrix names each, and inches between two lines of text.
_NAMED, _LINE = 40, 0.13


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG or an SVG, as the path ends; the same figure gives the same bytes."""
    kind = Path(path).suffix.removeprefix(".")
    omitted = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, bbox_inches="tight", metadata=omitted)
    plt.close(figure)


def name(text: str, length: int = 48) -> str:
    """A name as it is drawn: on one line, and cut if it is longer than `length`."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


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
                axis.set_title(name(taxonomy.fine_names[members[column]], 24), fontsize=7, pad=2)
        axes[row, 0].text(
            -0.04,
            0.5,
            name(taxonomy.parent_names[row]),
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
    upper.plot(table["epoch"], table["loss"], marker="o", markersize=3, color=BLUE)
    upper.set(ylabel="mean training loss", title=title)
    accuracy = 100 * table["val_accuracy"]
    lower.plot(table["epoch"], accuracy, marker="o", markersize=3, color=ORANGE)
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
        taxonomy: the order; lines separate the parents. The axes name a few classes one by one, and
            otherwise their parents.
        title: what the images are.
    """
    order = np.concatenate(taxonomy.classes)
    counts = metrics.confusion(predicted, fine, len(order))[np.ix_(order, order)]
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    sizes = np.array([len(members) for members in taxonomy.classes])
    edges = np.concatenate([[0], np.cumsum(sizes)]) - 0.5
    if len(order) <= _NAMED:
        names, places = [taxonomy.fine_names[fine] for fine in order], np.arange(len(order))
    else:
        names, places = taxonomy.parent_names, (edges[:-1] + edges[1:]) / 2
    # Wide enough that the names of the nearest two neighbours do not overlap.
    inches_a_class = _LINE / np.diff(places).min(initial=len(order))
    size = float(np.clip(len(order) * inches_a_class, 6, 16))
    fontsize = min(8, 8 * size / (len(order) * inches_a_class))
    figure, axis = plt.subplots(figsize=(size + 2.5, size + 2), layout="compressed")
    image = axis.imshow(
        np.ma.masked_equal(shares, 0), cmap="viridis_r", norm=mpl.colors.LogNorm(0.5, 100)
    )
    axis.vlines(edges, -0.5, len(order) - 0.5, color="grey", linewidth=0.3)
    axis.hlines(edges, -0.5, len(order) - 0.5, color="grey", linewidth=0.3)
    axis.set_xticks(places, list(map(name, names)), rotation=90, fontsize=fontsize)
    axis.set_yticks(places, list(map(name, names)), fontsize=fontsize)
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
    names = list(map(name, taxonomy.parent_names))
    axis.set_xticks(range(count), range(count))
    axis.set_yticks(range(count), [f"{each}  {index}" for index, each in enumerate(names)])
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
    names = [f"{parent_of[fine]:>2}  {name(each)}" for fine, each in enumerate(taxonomy.fine_names)]
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
    axis.set(title=title, xlabel="classes that join further right are confused more often")
    return figure


def variants(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy of the variants of the backbone: by width of the bottleneck, and of the trees.

    Args:
        table: as `variants.table` gives it, with the study's numbers or without.
        title: what the images are.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 4), width_ratios=[2, 3], layout="constrained"
    )
    narrow = table[table["network"].str.startswith("bottleneck-")]
    width = [int(name.removeprefix("bottleneck-")) for name in narrow["network"]]
    whole = table[table["network"] == "flat"]
    sources = [("", "ours", BLUE), ("study_", "the study, 2023", ORANGE)]
    for prefix, label, colour in sources:
        if f"{prefix}accuracy" not in table:
            continue
        left.plot(width, 100 * narrow[f"{prefix}accuracy"], "o-", color=colour, label=label)
        for value in 100 * whole[f"{prefix}accuracy"]:
            left.axhline(value, color=colour, linestyle=":", linewidth=1)
    left.set(
        xlabel="width d of the bottleneck (dotted line: no bottleneck)",
        ylabel="accuracy on test, %",
    )
    names = {
        "parent_accuracy": "parent",
        "child_accuracy": "children,\nmean",
        "tree_accuracy": "tree",
    }
    trees = table[table["network"].isin(["parent", "joint", "multitask"])]
    bars = [(row, column) for _, row in trees.iterrows() for column in names if column in row]
    places = np.arange(len(bars))
    for shift, (prefix, label, colour) in zip((-0.2, 0.2), sources, strict=True):
        heights = [100 * row.get(prefix + column, np.nan) for row, column in bars]
        shown = right.bar(places + shift, heights, 0.38, color=colour, label=label)
        told = ["" if np.isnan(height) else f"{height:.1f}" for height in heights]
        right.bar_label(shown, told, fontsize=8)
    labels = [f"{row['network']}:\n{names[column]}" for row, column in bars]
    right.set_xticks(places, labels, fontsize=8)
    right.set(ylabel="accuracy on test, %")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(title)
    return figure
