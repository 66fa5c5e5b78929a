"""Names beside their marks, none over another."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

# Where a name may stand: this many points from its mark, in these directions.
_DISTANCES = np.array([3, 6, 10, 15, 21, 28, 36, 45, 55, 66, 78, 92, 108])
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)

# What is bad about a place, in points of distance from the mark.
_OVER_NAME = 10_000
_OVER_MARK, _BESIDE_MARK, _OVER_LINE = 25, 8, 3
_LEADER_OVER_NAME, _LEADER_OVER_MARK, _LEADER_OVER_LINE = 60, 20, 4

# Only this many good places of each name are tried together with those of the others.
_KEPT = 80


class Label(NamedTuple):
    """A name, the mark (x, y) in data that it belongs to, and the style of its text."""

    x: float
    y: float
    text: str
    style: dict[str, Any]


class _Places(NamedTuple):
    """Where a name may stand: boxes (n, 4) and leaders (n, 12, 2) in pixels, and costs (n,)."""

    boxes: np.ndarray
    leaders: np.ndarray
    costs: np.ndarray


def place(axis: Axes, labels: list[Label]) -> list[Annotation]:
    """Write each label as near to its mark as other labels, marks and lines allow.

    The limits and the layout of the figure must be final. A trial places the labels one by one in a
    random order, three times over; the best trial counts.
    """
    drawn = _drawn(axis)
    places = [_places(axis, label, *drawn) for label in labels]
    rng = np.random.default_rng(0)
    trials = [_arrange(places, rng.permutation(len(labels))) for _ in range(40)]
    chosen, _ = min(trials, key=lambda trial: trial[1])
    return [
        _write(axis, label, mine.boxes[choice])
        for label, mine, choice in zip(labels, places, chosen, strict=True)
    ]


def _places(axis: Axes, label: Label, marks: np.ndarray, lines: np.ndarray) -> _Places:
    """The best places of a name among marks (n, 2) and points of lines (m, 2)."""
    point, anchor = _point(axis), _anchor(axis, label)
    text = axis.text(label.x, label.y, label.text, **label.style)
    half = text.get_window_extent().size / 2
    text.remove()
    toward = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
    beside = np.clip(np.sqrt(2) * toward, -1, 1) * half
    middles = anchor + (beside + point * _DISTANCES[:, None, None] * toward).reshape(-1, 2)
    boxes = np.hstack([middles - half, middles + half])
    starts = np.clip(anchor, boxes[:, :2], boxes[:, 2:])
    leaders = starts[:, None] + np.linspace(0, 1, 12)[:, None] * (anchor - starts)[:, None]
    frame = axis.bbox.extents
    outside = ((boxes[:, :2] < frame[:2]) | (boxes[:, 2:] > frame[2:])).any(1)
    others = marks[np.abs(marks - anchor).max(1) > 1]
    costs = (
        np.linalg.norm(starts - anchor, axis=1) / point
        + _OVER_NAME * outside
        + _OVER_MARK * _overlap(boxes, _around(marks, 2.5 * point)).sum(1)
        + _BESIDE_MARK * _overlap(boxes, _around(others, 6 * point)).sum(1)
        + _OVER_LINE * _overlap(boxes, _around(lines, 0)).sum(1)
        + _LEADER_OVER_MARK * _touched(leaders, _around(others, 2.5 * point)).any(1)
    )
    best = costs.argsort(kind="stable")[:_KEPT]
    elsewhere = _around(lines[np.abs(lines[:, 0] - anchor[0]) > 1], 2.5 * point)
    costs = costs[best] + _LEADER_OVER_LINE * _touched(leaders[best], elsewhere).sum(1)
    return _Places(boxes[best], leaders[best], costs)


def _arrange(places: list[_Places], order: np.ndarray) -> tuple[np.ndarray, float]:
    """The place of each name, and what all of them cost."""
    boxes = np.full((len(places), 4), np.nan)
    leaders = np.full((len(places), *places[0].leaders.shape[1:]), np.nan)
    chosen, costs = np.zeros(len(places), int), np.zeros(len(places))
    for index in np.tile(order, 3):
        mine = places[index]
        boxes[index] = leaders[index] = np.nan
        crossed = _touched(mine.leaders, boxes).any(1)
        crosses = _overlap(mine.boxes, _around(leaders.reshape(-1, 2), 0)).any(1)
        cost = mine.costs + _OVER_NAME * _overlap(mine.boxes, boxes).sum(1)
        cost += _LEADER_OVER_NAME * (crossed + crosses)
        chosen[index], costs[index] = cost.argmin(), cost.min()
        boxes[index], leaders[index] = mine.boxes[chosen[index]], mine.leaders[chosen[index]]
    return chosen, costs.sum()


def _write(axis: Axes, label: Label, box: np.ndarray) -> Annotation:
    """The name in its box, with a leader from the point of the box that is nearest to the mark."""
    anchor = _anchor(axis, label)
    start = (np.clip(anchor, box[:2], box[2:]) - box[:2]) / (box[2:] - box[:2])
    leader = {"arrowstyle": "-", "color": "#777777", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
    text = axis.annotate(
        label.text,
        (label.x, label.y),
        xytext=((box[:2] + box[2:]) / 2 - anchor) / _point(axis),
        textcoords="offset points",
        ha="center",
        va="center",
        arrowprops={**leader, "relpos": tuple(start)},
        bbox={"color": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
        **label.style,
    )
    text.set_in_layout(False)
    return text


def _point(axis: Axes) -> float:
    """Pixels of a typographic point."""
    return axis.figure.dpi / 72


def _anchor(axis: Axes, label: Label) -> np.ndarray:
    return axis.transData.transform((label.x, label.y))


def _drawn(axis: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of all marks (n, 2), and of points on all lines, 6 points apart, (m, 2)."""
    marks, along = [np.empty((0, 2))], [np.empty((0, 2))]
    for line in axis.lines:
        pixels = line.get_transform().transform(line.get_xydata())
        if line.get_marker() != "None":
            marks.append(pixels)
            continue
        for start, end in pairwise(pixels):
            if np.isfinite([start, end]).all():
                count = 2 + int(np.abs(end - start).max() / (6 * _point(axis)))
                along.append(np.linspace(start, end, count))
    return np.concatenate(marks), np.concatenate(along)


def _around(points: np.ndarray, margin: float) -> np.ndarray:
    """Boxes (n, 4), left, bottom, right and top, around points (n, 2)."""
    return np.hstack([points - margin, points + margin])


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which boxes (m, 4) lie over which others (n, 4), (m, n)."""
    left, bottom, right, top = boxes.T[:, :, None]
    from_left, from_bottom, to_right, to_top = others.T
    return (left < to_right) & (right > from_left) & (bottom < to_top) & (top > from_bottom)


def _touched(leaders: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which points of the leaders (n, points, 2) lie in any of the boxes, (n, points)."""
    inside = _overlap(boxes, _around(leaders.reshape(-1, 2), 0)).any(0)
    return inside.reshape(leaders.shape[:2])
