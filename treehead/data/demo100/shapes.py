"""Figures as signed distances on a grid of pixel centres, for the drawn data set (demo100).

A distance has the grid's shape (side, side), is negative inside the figure, and is in the figure's
own units, in which it spans about -1..1; a generator varies it within its class. Plain numpy, so
that the pixels depend on no font, drawing library or BLAS. Angles are in radians, y points up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TURN = 2 * np.pi
Point = tuple[float, float]


class Grid(NamedTuple):
    """Coordinates of the pixel centres, each (side, side), and the width of one pixel."""

    x: np.ndarray
    y: np.ndarray
    pixel: float


def image_grid(side: int) -> Grid:
    """The grid of a whole image, whose edges are at -1 and 1."""
    steps = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = np.meshgrid(steps, -steps)
    return Grid(x, y, 2 / side)


def framed(grid: Grid, centre: Point, scale: float, angle: float = 0.0) -> Grid:
    """The same pixels in the frame of a figure at `centre`, `scale` times as large, turned."""
    x, y = grid.x - centre[0], grid.y - centre[1]
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    return Grid(cosine * x + sine * y, cosine * y - sine * x, grid.pixel / scale)


def turned(grid: Grid, angle: float) -> Grid:
    """The frame of a figure turned counter-clockwise."""
    return framed(grid, (0, 0), 1, angle)


def cover(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Share of each pixel inside the figure, 0..1: an edge is one pixel soft."""
    return np.clip(0.5 - distance / pixel, 0, 1)


def radius(grid: Grid) -> np.ndarray:
    """Distance to the frame's origin."""
    return np.sqrt(grid.x**2 + grid.y**2)


def bands(phase: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Signed distance, in periods, to bands that fill `share` of every period of `phase`."""
    return np.abs(phase - np.floor(phase) - 0.5) - share / 2


def disc(grid: Grid, centre: Point, size: float) -> np.ndarray:
    """A disc of radius `size`."""
    return np.sqrt((grid.x - centre[0]) ** 2 + (grid.y - centre[1]) ** 2) - size


def box(grid: Grid, half_width: float, half_height: float) -> np.ndarray:
    """An upright rectangle around the origin."""
    return np.maximum(np.abs(grid.x) - half_width, np.abs(grid.y) - half_height)


def patch(grid: Grid) -> np.ndarray:
    """The window through which textures are seen: between a disc and a square."""
    return (grid.x**4 + grid.y**4) ** 0.25 - 1


def strokes(grid: Grid, segments: Sequence[tuple[Point, Point]], width: float) -> np.ndarray:
    """The union of round-ended line segments."""
    ends = np.array(segments, dtype=float)[..., None, None]
    (ax, ay), (bx, by) = ends[:, 0].swapaxes(0, 1), ends[:, 1].swapaxes(0, 1)
    dx, dy = bx - ax, by - ay
    along = ((grid.x - ax) * dx + (grid.y - ay) * dy) / (dx**2 + dy**2)
    along = np.clip(along, 0, 1)
    squared = (grid.x - ax - along * dx) ** 2 + (grid.y - ay - along * dy) ** 2
    return np.sqrt(squared.min(axis=0)) - width / 2


def star(grid: Grid, rng: np.random.Generator, points: int, inner: float) -> np.ndarray:
    """A star with tips at radius 1 and notches near radius `inner`."""
    return _starlike(grid, points, inner * rng.uniform(0.9, 1.1))


def polygon(grid: Grid, rng: np.random.Generator, sides: int) -> np.ndarray:
    """A regular polygon, squashed a little: the star whose notches lie on its edges."""
    squash = rng.uniform(0.9, 1.0)
    return _starlike(grid._replace(x=grid.x / squash), sides, np.cos(np.pi / sides))


def _starlike(grid: Grid, points: int, inner: float) -> np.ndarray:
    sector = TURN / points
    turns = np.arctan2(grid.x, grid.y) / sector
    angle = np.abs(turns - np.round(turns)) * sector
    far = radius(grid)
    notch_x, notch_y = inner * np.cos(sector / 2), inner * np.sin(sector / 2)
    edge = np.sqrt((1 - notch_x) ** 2 + notch_y**2)
    return ((far * np.cos(angle) - 1) * notch_y + far * np.sin(angle) * (1 - notch_x)) / edge


def rings(grid: Grid, rng: np.random.Generator, radii: Sequence[float], width: float) -> np.ndarray:
    """Concentric rings."""
    far = radius(grid)
    nearest = np.minimum.reduce([np.abs(far - size) for size in radii])
    return nearest - width * rng.uniform(0.8, 1.2) / 2


def cluster(grid: Grid, rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` discs that don't touch: evenly around a circle, each a little astray."""
    size, reach = (0.6, 0.0) if count == 1 else (0.78 / (count + 1.5) ** 0.5, 0.65)
    angles = (np.arange(count) + rng.uniform(-0.1, 0.1, count)) * TURN / count
    sizes = size * rng.uniform(0.8, 1.15, count)
    centres = zip(reach * np.cos(angles), reach * np.sin(angles), sizes, strict=True)
    return np.minimum.reduce([disc(grid, (x, y), size) for x, y, size in centres])


def cross(
    grid: Grid, rng: np.random.Generator, width: float, bars: Sequence[float], reach: float
) -> np.ndarray:
    """An upright post with a level bar at each of the heights `bars`."""
    level = [((-reach, bar), (reach, bar)) for bar in bars]
    return strokes(grid, [((0, -1), (0, 1)), *level], width * rng.uniform(0.85, 1.15))


def stripes(grid: Grid, rng: np.random.Generator, period: float) -> np.ndarray:
    """Level stripes seen through a patch."""
    share = rng.uniform(0.4, 0.6)
    return np.maximum(bands(grid.y / period + rng.random(), share) * period, patch(grid))


def checks(grid: Grid, rng: np.random.Generator, width: float, height: float) -> np.ndarray:
    """A checkerboard of cells `width` by `height` seen through a patch."""
    columns = bands(grid.x / (2 * width) + rng.random()) * 2 * width
    rows = bands(grid.y / (2 * height) + rng.random()) * 2 * height
    alike = np.sign(columns) * np.sign(rows)
    return np.maximum(alike * np.minimum(np.abs(columns), np.abs(rows)), patch(grid))


def dots(
    grid: Grid, rng: np.random.Generator, pitch: Point, size: float, stagger: float = 0.0
) -> np.ndarray:
    """A lattice of dots seen through a patch; every other row is shifted by `stagger` pitches."""
    row = grid.y / pitch[1] + rng.random()
    column = grid.x / pitch[0] + rng.random() + stagger * (np.floor(row) % 2)
    x = (column - np.floor(column) - 0.5) * pitch[0]
    y = (row - np.floor(row) - 0.5) * pitch[1]
    return np.maximum(np.sqrt(x**2 + y**2) - size * rng.uniform(0.9, 1.1), patch(grid))


def mesh(grid: Grid, rng: np.random.Generator, pitch: Point, width: float) -> np.ndarray:
    """Crossing lines seen through a patch."""
    columns = bands(grid.x / pitch[0] + rng.random(), width / pitch[0]) * pitch[0]
    rows = bands(grid.y / pitch[1] + rng.random(), width / pitch[1]) * pitch[1]
    return np.maximum(np.minimum(columns, rows), patch(grid))


def spiral(grid: Grid, rng: np.random.Generator, arms: int, turns: float) -> np.ndarray:
    """Archimedean spiral arms; a ray from the centre crosses `turns` of them."""
    far = radius(grid)
    phase = far * turns * rng.uniform(0.92, 1.08) - arms * np.arctan2(grid.y, grid.x) / TURN
    return np.maximum(bands(phase, 0.45) / turns, far - 1)


def wave(
    grid: Grid, rng: np.random.Generator, cycles: float, height: float, lines: Sequence[float]
) -> np.ndarray:
    """Sine lines, two units long, at the heights `lines`."""
    phase = (grid.x * cycles / 2 + rng.random()) * TURN
    slope = height * cycles * np.pi * np.cos(phase)
    offset = grid.y - height * np.sin(phase)
    nearest = np.minimum.reduce([np.abs(offset - line) for line in lines])
    return np.maximum(nearest / np.sqrt(1 + slope**2) - 0.1, np.abs(grid.x) - 1)


def arc(grid: Grid, rng: np.random.Generator, extent: float) -> np.ndarray:
    """A round-ended arc of a circle, about `extent` radians long, its middle on top."""
    half, size = extent / 2 * rng.uniform(0.9, 1.1), 0.85
    x = np.abs(grid.x)
    to_end = disc(Grid(x, grid.y, grid.pixel), (size * np.sin(half), size * np.cos(half)), 0)
    to_circle = np.abs(radius(grid) - size)
    nearest = np.where(np.arctan2(x, grid.y) <= half, to_circle, to_end)
    return nearest - rng.uniform(0.1, 0.16)


def arrow(
    grid: Grid, rng: np.random.Generator, down: bool = False, feathered: bool = False
) -> np.ndarray:
    """An upright arrow with its head on top; perhaps one below too, or feathers at its tail."""
    wide, back = rng.uniform(0.4, 0.6), rng.uniform(0.45, 0.6)
    segments = [((0, -0.95), (0, 0.95))]
    for side in (-wide, wide):
        segments += [((0, 0.95), (side, 0.95 - back))]
        segments += [((0, -0.95), (side, back - 0.95))] * down
        segments += [((0, back - 0.95), (side, -0.95))] * feathered
    return strokes(grid, segments, 0.22)


def letter(
    grid: Grid, rng: np.random.Generator, strips: Sequence[tuple[Point, Point]]
) -> np.ndarray:
    """A letter of straight strokes, narrower or wider."""
    wide = rng.uniform(0.8, 1.1)
    return strokes(grid._replace(x=grid.x / wide), strips, rng.uniform(0.2, 0.34))


def tree(grid: Grid, rng: np.random.Generator, depth: int, forks: int, spread: float) -> np.ndarray:
    """A bare tree: each branch ends in `forks` shorter ones about `spread` radians apart."""
    fan = (np.arange(forks) - (forks - 1) / 2) * spread
    tips, segments = [((0.0, -1.0), 0.0)], []
    for level in range(depth + 1):
        length = 0.75 * 0.8**level
        grown = []
        for (x, y), heading in tips:
            end = (x + length * np.sin(heading), y + length * np.cos(heading))
            segments.append(((x, y), end))
            grown += [(end, heading + turn + rng.uniform(-0.1, 0.1)) for turn in fan]
        tips = grown
    return strokes(grid, segments, 0.16)


def blob(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """A random smooth outline: a circle with three harmonics."""
    angle = np.arctan2(grid.y, grid.x)
    outline = np.full_like(angle, 0.8)
    for order in (2, 3, 4):
        outline += rng.uniform(0.1, 0.4) / order * np.cos(order * angle + rng.uniform(0, TURN))
    return radius(grid) - outline


def rays(grid: Grid, rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` sectors of a disc with about equal gaps between them."""
    far = radius(grid)
    share = bands(count * np.arctan2(grid.y, grid.x) / TURN, rng.uniform(0.4, 0.55))
    return np.maximum(share * far * TURN / count, far - 1)


def ripples(
    grid: Grid, rng: np.random.Generator, period: float, power: float, squeeze: float = 1.0
) -> np.ndarray:
    """Concentric bands of the L-`power` norm: 1 diamonds, 2 circles, 8 nearly squares."""
    far = (np.abs(grid.x / squeeze) ** power + np.abs(grid.y) ** power) ** (1 / power)
    return np.maximum(bands(far / period + rng.random()) * period, far - 1)


def frame(grid: Grid, rng: np.random.Generator, outlines: Sequence[Point]) -> np.ndarray:
    """Nested outlines of rectangles, given by their half width and half height."""
    nearest = np.minimum.reduce([np.abs(box(grid, *half)) for half in outlines])
    return nearest - rng.uniform(0.08, 0.13)


def wedge(grid: Grid, rng: np.random.Generator, extent: float) -> np.ndarray:
    """A sector of a disc, about `extent` radians wide, its middle on top."""
    half = extent / 2 * rng.uniform(0.9, 1.1)
    side = np.abs(grid.x) * np.cos(half) - grid.y * np.sin(half)
    return np.maximum(side, radius(grid) - 0.95)
