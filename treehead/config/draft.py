"""A first configuration for somebody's own pictures: what they are, and what fits them."""

import io
import math
import re
import shlex
import textwrap
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image

from treehead.artifacts import InputError, read_text, write_text
from treehead.backbones.backbone import network_of
from treehead.backbones.checkpoints import inspection, opening
from treehead.console import progress
from treehead.data import catalog, leaks, pictures, trees
from treehead.data.catalog import Catalog, Listing
from treehead.data.sources.source import Source

# Names of folders and files that say nothing about what is in them.
_DULL = {"data", "dataset", "datasets", "images", "pictures", "photos", "train", "training", "list"}
# Sides of images to choose from, and how many pictures are looked at to choose one.
_SIDES = (32, 48, 64, 96, 128)
_SAMPLE = 500
# Up to this many pictures are decoded to look for leaks.
_FEW = 20_000
# With fewer images of train than this, the full head has a higher accuracy on val with more decay.
_SMALL = 5000
# Largest class over smallest one that is not called unbalanced.
_EVEN = 1.5

# How long training may take, and how many images two cores train in a second, each at a side in
# pixels (`make bench`). Work grows with the area. Other networks are timed on this many images.
_SECONDS = 600
_SPEED = {"airbench_residual": (200, 64), "phinet": (60, 160)}
_TIMED = 16

_LAYER = """\
{about}
#
# Next:
#   snakemake --cores 2 --configfile {layers} -- {results}/{{hierarchy100/metrics,chosen}}.json
#   treehead show {results}
results: {results}

dataset:
  name: {name}
  source: {source}
  image_size: {side}  # pictures are resized to this side once, when they are read

{tree}

backbone:
  architecture: {architecture}
  weights: {weights}
  image_size: {size}
{own}
finetune:
  epochs: {epochs}  # at most ten minutes on two cores
  objective: flat
  batch_size: {batch}
  class_weights: none  # balanced: rare classes count as much as frequent ones

# The heads make about as many steps an epoch as on CIFAR-100{more}.
training:
  batch_size: {head_batch}{decay}
parent:
  objective: parent
  batch_size: {head_batch}
child:
  input: features
"""


class Seen(NamedTuple):
    """A look at the pictures.

    Args:
        side: median of the shorter sides, in pixels.
        broken: how many can't be decoded.
        leaks: pairs of the same picture in train and in test; None if nobody looked.
    """

    side: int
    broken: int
    leaks: int | None


class Start(NamedTuple):
    """What training begins with.

    Args:
        architecture, weights: as in the configuration.
        settings: of the architecture; {} for the defaults.
        size: side of its images in pixels; None for that of the data.
        speed: images that are trained in a second, at a side in pixels.
    """

    architecture: str
    weights: str
    settings: dict[str, Any]
    size: int | None
    speed: tuple[float, int]


def defaults() -> dict[str, Any]:
    """The configuration that a layer lies over."""
    path = Path("config/config.yaml")
    if not path.is_file():
        raise InputError(f"There is no {path} here; run this in the folder of the project.")
    return yaml.safe_load(read_text(path))


def write(path: str, source: str, weights: str, defaults: dict[str, Any]) -> str:
    """Look at a data set and write a commented layer over `defaults`; return its text.

    Args:
        path: the file to write, which must not exist; "" for one in config/, named as the data.
        source: as dataset.source.
        weights: scratch, hub or a file, as backbone.weights.
        defaults: the whole configuration.
    """
    name = _name(source)
    path = path or f"config/{name}.yaml"
    if Path(path).exists():
        raise InputError(f"{path} exists already; give another file with --out, or remove it.")
    settings = defaults["dataset"] | {"name": name, "source": source}
    start = _start(weights, defaults["backbone"])
    opened = catalog.opened(settings)
    listing, found = catalog.listed(opened, settings)
    in_train = [part == "train" for part in listing.parts]
    sizes = np.bincount(np.array(listing.labels)[in_train]).tolist()
    seen = _look(opened, listing, settings)
    text = _layer(path, settings, start, found, sizes, seen)
    _check_read_back(text, settings, start)
    write_text(path, text)
    return text


def _name(source: str) -> str:
    """A name for the data: of the folder or file, or of the folder around one with a dull name."""
    path = Path(source).absolute()
    words = [
        re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
        for word in (*path.parent.parts, path.stem)
    ]
    telling = [word for word in words if word and word not in _DULL]
    return telling[-1] if telling and telling[-1] != "demo100" else "own"


def _start(weights: str, backbone: dict[str, Any]) -> Start:
    """The network that fits the weights, or a new one."""
    if weights == "scratch":
        return Start("airbench_residual", weights, {}, None, _SPEED["airbench_residual"])
    if weights == "hub":
        return Start("phinet", weights, {}, 160, _SPEED["phinet"])
    found = inspection.find(opening.tensors(weights), weights)
    own = found.settings if found.settings != backbone.get(found.architecture, {}) else {}
    size = 160 if found.architecture == "phinet" else found.size
    speed = _SPEED.get(found.architecture) or _timed(found.architecture, found.settings, size or 32)
    return Start(found.architecture, weights, own, size, speed)


def _timed(architecture: str, settings: dict[str, Any], size: int) -> tuple[float, int]:
    """Images that the network trains in a second here, at its size."""
    network, _ = network_of(architecture, settings, size)
    images = torch.zeros(_TIMED, 3, size, size)
    for _ in range(2):  # the first step allocates
        begin = time.monotonic()
        network.train()(images).sum().backward()
    return _TIMED / (time.monotonic() - begin), size


def _look(source: Source, listing: Listing, settings: dict[str, Any]) -> Seen:
    """Measure some pictures; if there are few, decode all."""
    n = len(listing.parts)
    places = list(range(n) if n <= _FEW else range(0, n, n // _SAMPLE))
    sides, images, broken = [], {"train": [], "test": []}, 0
    contents = progress(source.read(places), "looking at the pictures", len(places), "pictures")
    for place, content in zip(places, contents, strict=True):
        data = content if isinstance(content, bytes) else content.read_bytes()
        try:
            image = pictures.decode(data, _SIDES[0], settings["resize"])
        except pictures.Broken:
            broken += 1
            continue
        with Image.open(io.BytesIO(data)) as opened:
            sides.append(min(opened.size))
        images["test" if listing.parts[place] == "test" else "train"].append(image)
    pairs = leaks.find(*map(np.array, images.values())) if n <= _FEW else None
    side = int(np.median(sides)) if sides else _SIDES[0]
    return Seen(side, broken, None if pairs is None else len(pairs))


def _layer(
    path: str,
    settings: dict[str, Any],
    start: Start,
    found: Catalog,
    sizes: list[int],
    seen: Seen,
) -> str:
    n = found.counts["train"]
    scratch = start.weights == "scratch"
    side = max((each for each in _SIDES if each <= seen.side), default=_SIDES[0])
    # More epochs at 64 pixels teach a new network more than fewer at a larger size.
    side = min(side, 64) if scratch else side
    size = start.size or side
    speed, at = start.speed
    small = n < _SMALL
    epochs = round(_SECONDS * speed * (at / size) ** 2 / n)
    return _LAYER.format(
        about="\n".join(map(_comment, _about(settings["source"], found, sizes, seen))),
        layers=shlex.quote(path) if scratch else f"config/finetune.yaml {shlex.quote(path)}",
        results=f"results/{settings['name']}",
        name=_scalar(settings["name"]),
        source=_scalar(settings["source"]),
        side=side,
        tree=_tree(found),
        architecture=start.architecture,
        weights=_scalar(start.weights),
        size=size,
        own=_own(start),
        epochs=min(max(epochs, 1), 60),
        batch=_power(n / 40, 16, 128),
        head_batch=_power(2 * n / 88, 64, 1024),
        more=", and have more decay, since train is small" if small else "",
        decay="\n  epochs: 16\n  weight_decay: 2" if small else "",
    )


def _comment(line: str) -> str:
    """A line of a comment, whatever the names in it hold."""
    return "# " + "".join(letter if letter.isprintable() else " " for letter in line)


def _scalar(text: str) -> str:
    """A text as YAML, in quotes if it needs them."""
    return yaml.safe_dump([text], default_flow_style=True, width=math.inf, allow_unicode=True)[1:-2]


def _check_read_back(text: str, settings: dict[str, Any], start: Start) -> None:
    """Check that a run would read from the layer what was looked at."""
    read = yaml.safe_load(text)
    places = {("dataset", key): settings[key] for key in ("name", "source")} | {
        ("backbone", key): getattr(start, key) for key in ("architecture", "weights")
    }
    for (part, key), value in places.items():
        if read[part][key] != value:
            raise InputError(f"{part}.{key} {value!r} can't be written as YAML; rename it.")


def _own(start: Start) -> str:
    """The lines of the network's settings, where they are not the defaults."""
    if not start.settings:
        return ""
    lines = yaml.safe_dump({start.architecture: start.settings}, sort_keys=False)
    return textwrap.indent(lines, "  ")


def _power(value: float, low: int, high: int) -> int:
    """The power of two that is nearest to a value, between two others."""
    return min(max(2 ** round(math.log2(value)), low), high)


def _tree(found: Catalog) -> str:
    """The lines of the taxonomy: the data's own, or about as many clusters as the root."""
    if found.above is None:
        groups = max(2, round(math.sqrt(len(found.names))))
        return f"taxonomy: clusters-{groups}  # learned, since the data have no tree"
    deepest = max(map(len, found.above))
    parents = [
        len(trees.from_ancestors(found.names, found.above, level).classes)
        for level in range(1, deepest + 1)
    ]
    levels = ", ".join(f"{count} at level {level}" for level, count in enumerate(parents, 1))
    return (
        "taxonomy: superclass  # the data's own tree\n"
        f"taxonomy_level: {deepest}  # parents: {levels}"
    )


def _about(source: str, found: Catalog, sizes: list[int], seen: Seen) -> list[str]:
    """What was found, a line each; `sizes` are the pictures of each class in train."""
    parts = ", ".join(f"{count:,} of {part}" for part, count in found.counts.items() if count)
    least, most = min(sizes), max(sizes)
    lines = [
        f"{source}, as `treehead init` found it: {len(found.names)} classes; pictures: {parts}.",
        f"Train has {least} to {most} pictures of a class"
        + (f": unbalanced, {most / least:.1f} to 1." if most > _EVEN * least else "."),
        f"The shorter side of a picture is {seen.side} pixels (median).",
    ]
    if not found.counts["val"]:
        lines.append("There is no val: dataset.val_fraction of train is taken, by the seed.")
    lines += [f"Note: {remark}." for remark in found.remarks]
    if seen.broken:
        lines.append(
            f"Pictures that can't be decoded: {seen.broken}; the first job lists them. "
            "dataset.skip_broken: true leaves them out."
        )
    if seen.leaks is None:
        lines.append("Pictures of train that are also in test are counted when all are read.")
    else:
        lines.append(
            f"Pictures that are in train and in test: {seen.leaks}"
            + (" (dataset.drop_leaks: true leaves them out of train)." if seen.leaks else ".")
        )
    return lines
