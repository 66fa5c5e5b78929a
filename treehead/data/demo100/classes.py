"""demo100: drawn images of 100 classes in 20 superclasses, as CIFAR-100 has.

It needs no download. The superclass decides what is drawn; its five classes differ in count,
orientation, frequency, hue or proportion, and none is the mirror image of another. Each image has
its own generator, so only the seed, split, class and index decide its pixels.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

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

_TILT = {"upright": TURN / 50, "any way": TURN / 2}
_ANGLE = {"slanted": TURN / 8, "sideways": TURN / 4, "down": TURN / 2}


class Family(NamedTuple):
    """A superclass: its figure, and the options of each class.

    Options are the figure's keyword arguments, `angle` (radians from upright) and `hue` (turns
    around the colour circle; random by default). `tilt` is the largest random rotation (radians).
    """

    figure: Callable[..., np.ndarray]
    tilt: float
    children: dict[str, dict[str, Any]]


def _family(row: dict[str, Any]) -> Family:
    """A superclass as `families.yaml` describes it."""
    children = {name: dict(options) for name, options in row["children"].items()}
    for options in children.values():
        if "angle" in options:
            options["angle"] = _ANGLE[options["angle"]]
        if "extent" in options:
            options["extent"] = float(Fraction(str(options["extent"]))) * TURN
    return Family(getattr(shapes, row["figure"]), _TILT[row["tilt"]], children)


_TABLE = yaml.safe_load(Path(__file__).with_name("families.yaml").read_text(encoding="utf-8"))
FAMILIES = {name: _family(row) for name, row in _TABLE.items()}

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


def examples(seed: int, split: str, per_class: int) -> Iterator[tuple[np.ndarray, int]]:
    """Image (3, 32, 32) and label of each image of a split, classes in random order."""
    classes = len(FINE_NAMES)
    order = np.random.default_rng([seed, SPLITS[split]]).permutation(classes * per_class)
    for index, fine in zip(*divmod(order, classes), strict=True):
        yield image(seed, split, int(fine), int(index)).transpose(2, 0, 1), int(fine)
