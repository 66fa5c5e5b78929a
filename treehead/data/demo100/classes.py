"""demo100: drawn images of 100 classes in 20 superclasses, with the columns of CIFAR-100.

It needs no download. The superclass decides what is drawn; its five classes differ in count,
orientation, frequency, hue or proportion, and none is the mirror image of another. Each image has
its own generator, so only the seed, split, class and index decide its pixels.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from treehead.data.demo100 import shapes
from treehead.data.demo100.shapes import TURN, Grid

SPLITS = {"train": 0, "test": 1}
PLANE = shapes.image_grid(32)

# These set the difficulty: with 100 train images a class, a linear model on pixels reaches 11 % on
# test and a ResNet9 76 % (parents: 88 %).
SCALE = (0.45, 0.85)  # of the figure, 1 fills the image
OFFSET = (-0.2, 0.2)  # of its centre, the image is 2 wide
STRETCH = (0.85, 1.15)
CONTRAST = (0.12, 0.36)  # in lightness, between figure and ground
LIGHTER = 0.85  # share of figures that are lighter than their ground
OPACITY = (0.6, 1)
NOISE = (0.02, 0.08)  # standard deviation, of the range 0..1
HUE_SPREAD = 0.03  # standard deviation in turns

ANY_WAY = TURN / 2
UPRIGHT = TURN / 50
SLANTED = TURN / 8
SIDEWAYS = TURN / 4
DOWN = TURN / 2


class Family(NamedTuple):
    """A superclass: its figure, and the options of each class.

    Options are the figure's keyword arguments, `angle` (radians from upright) and `hue` (turns
    around the colour circle; random by default). `tilt` is the largest random rotation (radians).
    """

    figure: Callable[..., np.ndarray]
    tilt: float
    children: dict[str, dict[str, Any]]


LETTERS = {
    "H": (((-0.7, -1), (-0.7, 1)), ((0.7, -1), (0.7, 1)), ((-0.7, 0), (0.7, 0))),
    "M": (
        *(((side, -1), (side, 1)) for side in (-0.8, 0.8)),
        *(((side, 1), (0, -0.3)) for side in (-0.8, 0.8)),
    ),
    "U": (
        *(((side, -0.4), (side, 1)) for side in (-0.7, 0.7)),
        *(((side, -0.4), (side * 0.4, -1)) for side in (-0.7, 0.7)),
        ((-0.28, -1), (0.28, -1)),
    ),
    "V": (((-0.75, 1), (0, -1)), ((0.75, 1), (0, -1))),
    "W": (
        *(((side, 1), (side * 0.6, -1)) for side in (-0.9, 0.9)),
        *(((side, -1), (0, 0.5)) for side in (-0.54, 0.54)),
    ),
}

FAMILIES = {
    "arcs": Family(
        shapes.arc,
        UPRIGHT,
        {
            "bowl-shaped": {"extent": 0.48 * TURN, "angle": DOWN},
            "bridge-shaped": {"extent": 0.48 * TURN},
            "horseshoe": {"extent": 0.65 * TURN},
            "sideways": {"extent": 0.48 * TURN, "angle": SIDEWAYS},
            "upturned horseshoe": {"extent": 0.65 * TURN, "angle": DOWN},
        },
    ),
    "arrows": Family(
        shapes.arrow,
        UPRIGHT,
        {
            "downward": {"angle": DOWN},
            "feathered downward": {"feathered": True, "angle": DOWN},
            "feathered upward": {"feathered": True},
            "two-headed": {"down": True},
            "upward": {},
        },
    ),
    "blobs": Family(
        shapes.blob,
        ANY_WAY,
        {
            "blue": {"hue": 0.6},
            "green": {"hue": 0.38},
            "purple": {"hue": 0.82},
            "red": {"hue": 0.0},
            "yellow": {"hue": 0.17},
        },
    ),
    "checks": Family(
        shapes.checks,
        UPRIGHT,
        {
            "coarse": {"width": 0.48, "height": 0.48},
            "diamond": {"width": 0.45, "height": 0.45, "angle": SLANTED},
            "fine": {"width": 0.38, "height": 0.38},
            "flat": {"width": 0.54, "height": 0.4},
            "tall": {"width": 0.4, "height": 0.54},
        },
    ),
    "crosses": Family(
        shapes.cross,
        UPRIGHT,
        {
            "double-barred": {"width": 0.22, "bars": (0.5, -0.1), "reach": 0.65},
            "heavy": {"width": 0.42, "bars": (0,), "reach": 0.9},
            "long-footed": {"width": 0.24, "bars": (0.32,), "reach": 0.6},
            "slanting": {"width": 0.26, "bars": (0,), "reach": 1, "angle": SLANTED},
            "upright": {"width": 0.26, "bars": (0,), "reach": 0.9},
        },
    ),
    "discs": Family(
        shapes.cluster,
        ANY_WAY,
        {
            "five": {"count": 5},
            "four": {"count": 4},
            "single": {"count": 1},
            "three": {"count": 3},
            "two": {"count": 2},
        },
    ),
    "dots": Family(
        shapes.dots,
        UPRIGHT,
        {
            "big": {"pitch": (0.62, 0.62), "size": 0.22},
            "columnar": {"pitch": (0.6, 0.44), "size": 0.15},
            "row-wise": {"pitch": (0.44, 0.6), "size": 0.15},
            "small": {"pitch": (0.45, 0.45), "size": 0.15},
            "staggered": {"pitch": (0.66, 0.45), "size": 0.17, "stagger": 0.5},
        },
    ),
    "frames": Family(
        shapes.frame,
        UPRIGHT,
        {
            "double": {"outlines": ((0.9, 0.9), (0.4, 0.4))},
            "flat": {"outlines": ((0.95, 0.74),)},
            "square": {"outlines": ((0.8, 0.8),)},
            "tall": {"outlines": ((0.74, 0.95),)},
            "tilted": {"outlines": ((0.75, 0.75),), "angle": SLANTED},
        },
    ),
    "letters": Family(
        shapes.letter,
        UPRIGHT,
        {f"capital {name}": {"strips": strips} for name, strips in LETTERS.items()},
    ),
    "meshes": Family(
        shapes.mesh,
        UPRIGHT,
        {
            "diamond": {"pitch": (0.55, 0.55), "width": 0.14, "angle": SLANTED},
            "fine": {"pitch": (0.46, 0.46), "width": 0.13},
            "flat": {"pitch": (0.62, 0.48), "width": 0.13},
            "tall": {"pitch": (0.48, 0.62), "width": 0.13},
            "wide": {"pitch": (0.6, 0.6), "width": 0.14},
        },
    ),
    "polygons": Family(
        shapes.polygon,
        ANY_WAY,
        {
            "eight-sided": {"sides": 8},
            "five-sided": {"sides": 5},
            "four-sided": {"sides": 4},
            "six-sided": {"sides": 6},
            "three-sided": {"sides": 3},
        },
    ),
    "rays": Family(
        shapes.rays,
        ANY_WAY,
        {
            "eight": {"count": 8},
            "five": {"count": 5},
            "four": {"count": 4},
            "seven": {"count": 7},
            "six": {"count": 6},
        },
    ),
    "rings": Family(
        shapes.rings,
        ANY_WAY,
        {
            "single thick": {"radii": (0.7,), "width": 0.48},
            "single thin": {"radii": (0.85,), "width": 0.18},
            "three thin": {"radii": (0.25, 0.57, 0.89), "width": 0.13},
            "two thick": {"radii": (0.2, 0.78), "width": 0.36},
            "two thin": {"radii": (0.45, 0.89), "width": 0.17},
        },
    ),
    "ripples": Family(
        shapes.ripples,
        UPRIGHT,
        {
            "close round": {"period": 0.27, "power": 2},
            "diamond": {"period": 0.42, "power": 1},
            "oval": {"period": 0.42, "power": 2, "squeeze": 0.76},
            "round": {"period": 0.42, "power": 2},
            "square": {"period": 0.42, "power": 4},
        },
    ),
    "spirals": Family(
        shapes.spiral,
        ANY_WAY,
        {
            "four-armed": {"arms": 4, "turns": 1.7},
            "one-armed": {"arms": 1, "turns": 1.7},
            "tight one-armed": {"arms": 1, "turns": 2.3},
            "tight two-armed": {"arms": 2, "turns": 2.3},
            "two-armed": {"arms": 2, "turns": 1.7},
        },
    ),
    "stars": Family(
        shapes.star,
        ANY_WAY,
        {
            "eight-pointed": {"points": 8, "inner": 0.5},
            "five-pointed": {"points": 5, "inner": 0.42},
            "four-pointed": {"points": 4, "inner": 0.38},
            "seven-pointed": {"points": 7, "inner": 0.48},
            "six-pointed": {"points": 6, "inner": 0.45},
        },
    ),
    "stripes": Family(
        shapes.stripes,
        UPRIGHT,
        {
            "narrow level": {"period": 0.47},
            "narrow upright": {"period": 0.47, "angle": SIDEWAYS},
            "slanting": {"period": 0.5, "angle": SLANTED},
            "wide level": {"period": 0.59},
            "wide upright": {"period": 0.59, "angle": SIDEWAYS},
        },
    ),
    "trees": Family(
        shapes.tree,
        UPRIGHT,
        {
            "broad": {"depth": 2, "forks": 2, "spread": 1.2},
            "bushy": {"depth": 2, "forks": 3, "spread": 0.7},
            "slender": {"depth": 2, "forks": 2, "spread": 0.85},
            "three-forked": {"depth": 1, "forks": 3, "spread": 0.8},
            "upside-down": {"depth": 2, "forks": 2, "spread": 1.0, "angle": DOWN},
        },
    ),
    "waves": Family(
        shapes.wave,
        UPRIGHT,
        {
            "double long": {"cycles": 1.6, "height": 0.4, "lines": (-0.35, 0.35)},
            "double short": {"cycles": 2.1, "height": 0.25, "lines": (-0.4, 0.4)},
            "long": {"cycles": 1.6, "height": 0.45, "lines": (0,)},
            "short": {"cycles": 2.1, "height": 0.4, "lines": (0,)},
            "standing": {"cycles": 1.7, "height": 0.4, "lines": (0,), "angle": SIDEWAYS},
        },
    ),
    "wedges": Family(
        shapes.wedge,
        ANY_WAY,
        {
            "five-sixths": {"extent": 5 / 6 * TURN},
            "half": {"extent": 1 / 2 * TURN},
            "one-sixth": {"extent": 1 / 6 * TURN},
            "one-third": {"extent": 1 / 3 * TURN},
            "two-thirds": {"extent": 2 / 3 * TURN},
        },
    ),
}

_CLASSES = {
    f"{child} {name}": (name, options)
    for name, family in FAMILIES.items()
    for child, options in family.children.items()
}
FINE_NAMES: tuple[str, ...] = tuple(sorted(_CLASSES))
SUPERCLASS_NAMES: tuple[str, ...] = tuple(sorted(FAMILIES))
SUPERCLASS_OF: tuple[int, ...] = tuple(
    SUPERCLASS_NAMES.index(_CLASSES[name][0]) for name in FINE_NAMES
)


def colour(lightness: float, chroma: float, hue: float) -> np.ndarray:
    """A colour (3,), RGB about 0..1, from its hue in turns: 0 red, 1/3 green, 2/3 blue."""
    return lightness + chroma * np.cos(TURN * (hue - np.arange(3) / 3))


def random_colour(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """A colour (3,) of any hue."""
    return colour(lightness, rng.uniform(0.02, 0.25), rng.random())


def paint(canvas: np.ndarray, cover: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Blend `ink` (3,) into the canvas (32, 32, 3) where `cover` (32, 32) is above zero."""
    return canvas + cover[..., None] * (ink - canvas)


def background(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """Two colours blended along slow waves, and a finer one: (32, 32, 3)."""
    ground = np.zeros_like(PLANE.x)
    for reach in (3, 3, 14):
        across, along = rng.uniform(-reach, reach, 2)
        ground += np.sin(across * PLANE.x + along * PLANE.y + rng.uniform(0, TURN))
    near, far = (random_colour(rng, lightness + shade) for shade in rng.uniform(-0.15, 0.15, 2))
    return paint(np.broadcast_to(near, (*ground.shape, 3)), 0.5 + ground / 6, far)


def clutter(
    canvas: np.ndarray, rng: np.random.Generator, lightness: float, count: int
) -> np.ndarray:
    """The canvas with strokes and specks, anywhere, that mean nothing."""
    for _ in range(count):
        x, y = rng.uniform(-1, 1, 2)
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        speck = shapes.strokes(PLANE, [((x, y), (x + dx, y + dy))], rng.uniform(0.06, 0.3))
        ink = random_colour(rng, lightness + rng.uniform(-0.3, 0.3))
        canvas = paint(canvas, shapes.cover(speck, PLANE.pixel) * rng.uniform(0.4, 1), ink)
    return canvas


def placed(rng: np.random.Generator, angle: float, tilt: float) -> Grid:
    """The pixels in the frame of a figure near the centre: stretched, half of them mirrored."""
    scale = rng.uniform(*SCALE)
    centre = rng.uniform(*OFFSET, 2)
    frame = shapes.framed(PLANE, centre, scale, rng.uniform(-tilt, tilt))
    stretch = rng.uniform(*STRETCH) * rng.choice((-1, 1))
    return shapes.turned(frame._replace(x=frame.x / stretch), angle)


def draw(fine: int, rng: np.random.Generator) -> np.ndarray:
    """One image of the class `fine`: (32, 32, 3) uint8."""
    superclass, options = _CLASSES[FINE_NAMES[fine]]
    figure, tilt, _ = FAMILIES[superclass]
    own = {key: value for key, value in options.items() if key not in ("angle", "hue")}

    lightness = rng.uniform(0.35, 0.65)
    contrast = rng.uniform(*CONTRAST) * (1 if rng.random() < LIGHTER else -1)
    hue = options.get("hue", rng.random()) + rng.normal(0, HUE_SPREAD)
    ink = colour(np.clip(lightness + contrast, 0.15, 0.85), rng.uniform(0.15, 0.3), hue)
    canvas = clutter(background(rng, lightness), rng, lightness, rng.integers(1, 6))
    frame = placed(rng, options.get("angle", 0), tilt)
    mask = shapes.cover(figure(frame, rng, **own), frame.pixel) * rng.uniform(*OPACITY)
    canvas = clutter(paint(canvas, mask, ink), rng, lightness, rng.integers(0, 6))

    noise = rng.normal(0, rng.uniform(*NOISE), canvas.shape)
    return (np.clip(canvas + noise, 0, 1) * 255).round().astype(np.uint8)


def image(seed: int, split: str, fine: int, index: int) -> np.ndarray:
    """The image `index` of a class in a split, (32, 32, 3) uint8, independent of all others."""
    return draw(fine, np.random.default_rng([seed, SPLITS[split], fine, index]))


def png(pixels: np.ndarray) -> bytes:
    """A lossless PNG of an image (side, side, 3) uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=6)
    return file.getvalue()


def rows(seed: int, split: str, per_class: int) -> Iterator[tuple[bytes, int, int]]:
    """PNG, fine label and superclass of every image of a split, classes in random order."""
    classes = len(FINE_NAMES)
    order = np.random.default_rng([seed, SPLITS[split]]).permutation(classes * per_class)
    for index, fine in zip(*divmod(order, classes), strict=True):
        yield png(image(seed, split, int(fine), int(index))), int(fine), SUPERCLASS_OF[fine]
