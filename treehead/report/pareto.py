"""Accuracy against cost: the figure from which a reader picks a head."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import textalloc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from treehead.evaluation import comparison
from treehead.report.figures import BLUE, GREY, ORANGE

# The scale is linear up to this many points of accuracy from the full head, logarithmic beyond.
_LINEAR = 0.5
_TICKS = np.array([0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100])

# How many heads a panel names beside the full head and the cheapest without a significant loss.
_NAMED = 10


class Label(NamedTuple):
    """A name, the mark (x, y) in data that it belongs to, and its colour."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "normal"


def pareto(table: pd.DataFrame, study: pd.DataFrame | None, backbone: int, title: str) -> Figure:
    """Points of accuracy above or below the full head, by MACs, by bytes and by instructions.

    The table has instructions if the C of the heads was measured; else there are two panels.

    Args:
        table: the comparison, as `comparison.table` gives it.
        study: the study's numbers, `accuracy` in per cent and `macs`; None if the images are not
            the study's.
        backbone: MACs of the backbone, so that the head is not mistaken for the whole network.
        title: what the images are.
    """
    first = table[table["precision"] == table["precision"].iloc[0]]
    full = first[first["head"] == "linear"].iloc[0]
    table = table.assign(points=100 * (table["accuracy_mean"] - full["accuracy_mean"]))
    counted = table[table.get("instructions_mean", pd.Series(np.nan, table.index)).notna()]
    panels = 3 - counted.empty
    figure, axes = plt.subplots(
        1, panels, figsize=(4.3 * panels, 6), sharey=True, layout="constrained"
    )
    by_macs, by_bytes, *by_instructions = axes
    by_macs.set_yscale("symlog", linthresh=_LINEAR, linscale=2.2)
    names = {
        by_macs: _heads(by_macs, table.loc[first.index], "macs_mean", full),
        by_bytes: _heads(by_bytes, table, "bytes", full),
    }
    for axis in by_instructions:
        of_full = counted[counted["head"] == "linear"].iloc[0]
        names[axis] = _heads(axis, counted, "instructions_mean", of_full)
        axis.set_xlabel("instructions on a Cortex-M4, mean, a mark for each precision")
    if study is not None:
        names[by_macs].append(_study(by_macs, study, 100 * full["accuracy_mean"]))
    by_macs.set_xlabel(f"MACs of the head, mean (its backbone: {backbone:,})")
    by_bytes.set_xlabel("bytes of the packed head, a mark for each precision")
    _scale(axes, 100 * full["accuracy_mean"])
    figure.suptitle(f"{len(first)} heads on the same features ({title})")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis, wanted in names.items():
        _write(axis, wanted)
    return figure


def _write(axis: Axes, labels: list[Label]) -> None:
    """Write each label as near to its mark as other labels, marks and lines allow."""
    drawn = [(line.get_marker() != "None", *line.get_xydata().T) for line in axis.lines]
    marks = [np.column_stack([x, y]) for is_marks, x, y in drawn if is_marks]
    textalloc.allocate(
        axis,
        [label.x for label in labels],
        [label.y for label in labels],
        [label.text for label in labels],
        x_scatter=np.concatenate(marks)[:, 0],
        y_scatter=np.concatenate(marks)[:, 1],
        textsize=7.5,
        textcolor=[label.colour for label in labels],
        fontweight=[label.weight for label in labels],
        linecolor=GREY,
        linewidth=0.6,
        max_distance=0.4,
        nbr_candidates=1000,
        priority_strategy="largest",
        avoid_crossing_label_lines=True,
        bbox={"color": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
    )


def _heads(axis: Axes, rows: pd.DataFrame, cost: str, full: pd.Series) -> list[Label]:
    """Draw all heads and the frontier; return the labels of the heads that have one."""
    best = comparison.frontier(rows, cost)
    cheapest = comparison.smallest_without_loss(rows, cost)
    cheapest = full if cheapest is None else cheapest
    named = rows.loc[list(dict.fromkeys([full.name, cheapest.name, *_best(rows, cost, full)]))]
    axis.step(best[cost], best["points"], where="post", color="#a9d2ec", linewidth=2, zorder=1)
    axis.axhline(0, color="black", linewidth=0.6, linestyle=":", zorder=0)
    groups = [(rows.drop(named.index.union(best.index)), GREY, 3.5)]
    groups += [(named.drop(best.index, errors="ignore"), "black", 4.5), (best, BLUE, 4.5)]
    for mine, colour, size in groups:
        spread = 100 * mine["accuracy_sd"]
        ends = [mine["points"] - spread, mine["points"] + spread, np.full(len(mine), np.nan)]
        x, y = np.repeat(mine[cost], 3), np.column_stack(ends).ravel()
        axis.plot(x, y, color=colour, linewidth=0.7, alpha=0.6)
        axis.plot(mine[cost], mine["points"], "o", color=colour, markersize=size, mew=0)
    axis.set_xscale("log")
    wide = rows[cost].max() > 1000 * rows[cost].min()
    axis.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.08)
    return [_label(row, cost, full, cheapest, best) for _, row in named.iterrows()] + [
        Label(row[cost], row["points"], row["head"], "#6b6b6b")
        for row in _best_of_each_other_module(rows, named)
    ]


def _label(
    row: pd.Series, cost: str, full: pd.Series, cheapest: pd.Series, best: pd.DataFrame
) -> Label:
    """The name of a head, in bold for the full head and the cheapest without a significant loss."""
    text = row["head"] if cost == "macs_mean" else f"{row['head']}, {row['precision']}"
    colour = BLUE if row.name in best.index else "black"
    if row.name == full.name:
        text += ": the full head"
    elif row.name == cheapest.name:
        unit = cost.removesuffix("_mean").replace("macs", "MACs")
        text += f"\n{full[cost] / row[cost]:,.3g} times fewer {unit},\nno significant loss"
    weight = "bold" if row.name in (full.name, cheapest.name) else "normal"
    return Label(row[cost], row["points"], text, colour, weight)


def _best(rows: pd.DataFrame, cost: str, full: pd.Series) -> list[int]:
    """Which rows have a name: the frontier, then the frontier of the other heads, and so on.

    The more accurate first, and of each head its cheapest precision on the frontier.
    """
    rest = rows.drop(full.name)
    found: list[int] = []
    while len(rest) and len(found) < _NAMED:
        layer = comparison.frontier(rest, cost).drop_duplicates("head")
        found += layer.sort_values("accuracy_mean", ascending=False, kind="stable").index.tolist()
        rest = rest[~rest["head"].isin(layer["head"])]
    return found[:_NAMED]


def _best_of_each_other_module(rows: pd.DataFrame, named: pd.DataFrame) -> list[pd.Series]:
    """The most accurate row of each module that has no name yet."""
    others = rows[~rows["module"].isin(named["module"])]
    return [rows.loc[mine.idxmax()] for _, mine in others.groupby("module")["accuracy_mean"]]


def _study(axis: Axes, study: pd.DataFrame, full: float) -> Label:
    """Draw the study's heads, `full` per cent being our full head; return their label."""
    study = study.dropna(subset="accuracy")
    points = study["accuracy"] - full
    axis.plot(study["macs"], points, "d", mfc="none", mec=ORANGE, markersize=5, zorder=1)
    best = points.idxmax()
    return Label(study["macs"][best], points[best], "the study's heads, 2023", ORANGE)


def _scale(axes: Sequence[Axes], full: float) -> None:
    """The scale of all panels: points on the left, and the accuracy they mean on the right."""
    left, right = axes[0], axes[-1]
    low = min(axis.dataLim.y0 for axis in axes)
    high = max(axis.dataLim.y1 for axis in axes)
    ticks = np.concatenate([-_TICKS[::-1], [0], _TICKS])
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    signed = [f"{tick:+g}" if tick else "0" for tick in ticks]
    left.set_yticks(ticks, [text.replace("-", "\N{MINUS SIGN}") for text in signed])
    left.set_yticks([], minor=True)
    left.set_ylim(1.2 * low - 0.05, 1.2 * high + 0.1)
    left.set_ylabel("accuracy on test against the full head, points")
    for axis in axes:
        axis.grid(color="#e8e8e8", linewidth=0.6)
        axis.set_axisbelow(True)
    at_right = {"transform": right.get_yaxis_transform(), "va": "center"}
    for tick in ticks:
        right.text(1.02, tick, f"{full + tick:.2f} %", **at_right)
    right.text(1.02, 1, "accuracy", transform=right.transAxes, va="bottom")
