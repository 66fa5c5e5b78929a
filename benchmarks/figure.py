"""Throughput as bars: images a second of each contestant, and our speed-up over the others."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that the colour-blind tell apart (Okabe and Ito, 2008).
_COLOURS = {"ours": "#0072b2", "study": "#d55e00", "micromind": "#999999", "eager": "#e69f00"}


def throughput(training: pd.DataFrame, embedding: pd.DataFrame, title: str) -> Figure:
    """Images/s of training and of embedding, side by side, on logarithmic axes.

    Args:
        training: as `train.training` gives its rows; ours, the study's and micromind's speed.
        embedding: as `train.embedding` gives its rows; ours and that of eager PyTorch.
        title: the machine's threads and its peak.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    labels = {"ours": "ours", "study": "the study's pipeline", "micromind": "micromind's trainer"}
    _bars(left, training, labels, "ratio_study")
    left.set(title="training (above ours: times the study's pipeline)", ylabel="images/s")
    _bars(right, embedding, {"ours": "ours", "eager": "eager PyTorch"}, "ratio_eager")
    right.set(title="embedding (above ours: times eager PyTorch)")
    figure.suptitle(title)
    return figure


def _bars(axis: Axes, table: pd.DataFrame, labels: dict[str, str], ratio: str) -> None:
    """A group for each row, in it a bar for each of `labels`, and the ratio above the first."""
    width = 0.8 / len(labels)
    places = np.arange(len(table))
    for index, (name, label) in enumerate(labels.items()):
        shift = (index - (len(labels) - 1) / 2) * width
        heights = table[f"{name}_images_per_second"]
        shown = axis.bar(places + shift, heights, width, color=_COLOURS[name], label=label)
        if index == 0:
            axis.bar_label(shown, [f"{times:.1f}x" for times in table[ratio]], padding=1)
    names = zip(table["backbone"], table["image_size_px"], strict=True)
    axis.set_xticks(places, [f"{backbone}\n{size} px" for backbone, size in names])
    axis.set_yscale("log")
    axis.set_ylim(1, 2 * axis.get_ylim()[1])
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(labels))
