"""What a data set holds, known before the graph is built: its classes, their tree, its splits.

Classes are numbered in the order of the hub's `ClassLabel`, else sorted by their name or number.
"""

import json
import os
import re
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from treehead import console
from treehead.artifacts import InputError, read_json, write_json
from treehead.data import dataset, trees
from treehead.data.sources import folder, lists, tables
from treehead.data.sources.source import PARTS, Entry, Source, part_of

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

# Settings of the data set that say what is read as what.
_USED = ("name", "source", "configuration", "revision", "sha256", "splits", "columns")
_SPLIT = ("test_fraction", "test_seed")

# From this many classes on, more than half of which have one picture, the folders are a mistake.
_MANY = 100


class Catalog(NamedTuple):
    """A data set as its source lists it.

    Args:
        names: of the classes, in the order of their labels.
        above: for each class the names of the groups above it, the outermost first; None if the
            data have no tree.
        counts: images of train, val and test; no val is a part of train to be chosen.
        files: the files that list or hold the pictures.
        version: digest of the pictures that these files do not hold.
        remarks: what was guessed or left out, a sentence each.
        configuration: of the hub, that is read.
        revision: commit of the hub, at which it is read.
    """

    names: tuple[str, ...]
    above: tuple[tuple[str, ...], ...] | None
    counts: dict[str, int]
    files: tuple[str, ...] = ()
    version: str | None = None
    remarks: tuple[str, ...] = ()
    configuration: str | None = None
    revision: str | None = None


class Listing(NamedTuple):
    """The entries of a source with the number of their class and with their part."""

    entries: list[Entry]
    labels: list[int]
    parts: list[str]


def known(settings: dict[str, Any], path: str | Path, look: bool) -> Catalog:
    """The catalog of a data set, kept in a file so that jobs need not look at the source again.

    Args:
        settings: the `dataset` part of the config. What is generated is known, and so are the
            classes of a known set of the hub.
        path: where the catalog is kept.
        look: whether to look at the source. A set of the hub is looked at once.
    """
    source, classes = settings["source"], settings["classes"]
    names = trees.built_in_names(settings["name"], classes) if classes else None
    if source == "generated" or (names and is_hub(source)):
        return Catalog(names, None, {})
    used = {key: settings[key] for key in (*_USED, *_SPLIT)}
    kept = read_json(path) if Path(path).is_file() else {}
    same = isinstance(kept, dict) and kept.get("settings") == used
    if not same or (look and not is_hub(settings["source"])):
        with console.shown() if is_hub(source) else nullcontext():
            _, catalog = listed(opened(settings), settings)
        found = json.loads(json.dumps({"settings": used, **catalog._asdict()}))
        if found != kept:
            write_json(path, found)
        kept = found
    above = kept["above"] and tuple(map(tuple, kept["above"]))
    texts = {key: tuple(kept[key]) for key in ("names", "files", "remarks")}
    rest = {key: kept[key] for key in ("counts", "version", "configuration", "revision")}
    return Catalog(above=above, **texts, **rest)


def is_hub(source: str) -> bool:
    """Whether dataset.source is a data set of the hub, and no path."""
    return not os.path.exists(source) and HUB_ID.fullmatch(source) is not None


def opened(settings: dict[str, Any]) -> Source:
    """Look at the source of a data set: a folder, a list, tables or a set of the hub."""
    path = settings["source"]
    suffix = Path(path).suffix.lower()
    if is_hub(path):
        from treehead.data.sources import hub_sets  # noqa: PLC0415 - 1 s, only for the hub

        return hub_sets.look(settings)
    if os.path.isfile(path) and suffix in lists.SUFFIXES:
        return lists.look(path, settings)
    if os.path.isfile(path) and suffix in tables.SUFFIXES:
        return tables.look({path: None}, settings)
    if not os.path.isdir(path):
        kinds = ", ".join((*lists.SUFFIXES, *tables.SUFFIXES))
        raise InputError(
            f"Config: dataset.source is {path}, which is neither a folder, a list or table "
            f"({kinds}), nor <owner>/<name> of the hub; correct it."
        )
    found = _tables(path)
    return tables.look(found, settings) if found else folder.look(path)


def _tables(path: str) -> dict[str, str | None]:
    """The tables in a folder or in its folder `data`, and the part that each one's name tells."""
    inside = [file for below in (Path(path), Path(path, "data")) for file in _files(below)]
    found = {str(file): part_of(file.stem) for file in inside if file.suffix in tables.SUFFIXES}
    told = {file: part for file, part in found.items() if part}
    if told and len(told) < len(found):
        odd = next(file for file in found if file not in told)
        raise InputError(
            f"The name of {odd} does not tell whether it is {', '.join(sorted(set(PARTS)))}, and "
            f"that of {next(iter(told))} does; rename it, or move it to another folder."
        )
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


def listed(source: Source, settings: dict[str, Any]) -> tuple[Listing, Catalog]:
    """Number the classes of a source, give each entry its part, and check them."""
    place = settings["source"]
    entries = source.entries
    if not entries:
        raise InputError(f"{place} lists no picture; give a source with pictures.")
    parts = _parts(place, entries)
    labels, names = _numbered(place, entries, source.class_names, settings["name"])
    _check(place, parts, labels, names)
    if "test" not in parts:
        _set_aside(place, parts, labels, entries, settings)
    above = _above(place, entries, labels, source.parent_names, len(names))
    skipped = ", ".join(f"{count} {suffix}" for suffix, count in sorted(source.skipped.items()))
    remarks = (*source.remarks, *([f"left out: {skipped}"] if skipped else []))
    counts = Counter(parts)
    catalog = Catalog(
        names,
        above,
        {part: counts[part] for part in ("train", "val", "test")},
        source.files,
        source.version,
        remarks,
        source.configuration,
        source.revision,
    )
    return Listing(entries, labels, parts), catalog


def _parts(place: str, entries: list[Entry]) -> list[str]:
    """The part of each entry; without any, all are train."""
    told = Counter(entry.part for entry in entries)
    if told[None] == len(entries):
        return ["train"] * len(entries)
    if told[None]:
        odd = next(entry.place for entry in entries if entry.part is None)
        raise InputError(f"{place}: {odd} is in no split, and others are; give each its split.")
    if not told["train"]:
        raise InputError(
            f"{place} has {' and '.join(sorted(told))}, but no train; name the splits in "
            "dataset.splits."
        )
    return [entry.part for entry in entries]


def _numbered(
    place: str, entries: list[Entry], names: tuple[str, ...] | None, dataset_name: str
) -> tuple[list[int], tuple[str, ...]]:
    """The number of each entry's class, and the names of the classes."""
    given = {entry.label for entry in entries}
    if len({type(label) for label in given}) > 1:
        number = next(entry for entry in entries if isinstance(entry.label, int))
        name = next(entry for entry in entries if isinstance(entry.label, str))
        raise InputError(
            f"{place}: the label of {number.place} is the number {number.label}, and that of "
            f"{name.place} the name {name.label!r}; give numbers everywhere, or names."
        )
    order = sorted(given)
    if isinstance(order[0], int):
        names = names or trees.built_in_names(dataset_name, len(order))
        if names and not 0 <= order[0] <= order[-1] < len(names):
            odd = next(entry for entry in entries if not 0 <= entry.label < len(names))
            raise InputError(
                f"{odd.place}: the label is {odd.label}, but there are names of {len(names)} "
                "classes, counted from 0; correct the label or the names."
            )
        shown = [names[number] if names else f"class {number}" for number in order]
    else:
        shown = order
    if len(set(shown)) < len(shown):
        twice = Counter(shown).most_common(1)[0][0]
        raise InputError(f"{place}: two classes are called {twice!r}; rename one.")
    number_of = {label: number for number, label in enumerate(order)}
    return [number_of[entry.label] for entry in entries], tuple(shown)


def _check(place: str, parts: list[str], labels: list[int], names: tuple[str, ...]) -> None:
    """Check that there is something to learn, and something of each class to learn it from."""
    if len(names) < 2:
        raise InputError(
            f"{place} has one class only, {names[0]!r}; a classifier needs two. If the classes are "
            "in folders, give the folder around them."
        )
    counts = np.bincount(labels, minlength=len(names))
    if len(names) >= _MANY and (counts == 1).mean() > 0.5:
        raise InputError(
            f"{place} has {len(names):,} classes, and {int((counts == 1).sum()):,} of them have "
            "one picture; check that each class, not each picture, has a folder or a label."
        )
    trained = {label for label, part in zip(labels, parts, strict=True) if part == "train"}
    for label, part in zip(labels, parts, strict=True):
        if label not in trained:
            raise InputError(
                f"{place}: the class {names[label]!r} has pictures in {part} and none in train; "
                "add some to train, or remove the class."
            )


def _set_aside(
    place: str,
    parts: list[str],
    labels: list[int],
    entries: list[Entry],
    settings: dict[str, Any],
) -> None:
    """Turn a part of train into test, in place: stratified, seeded, and by whole groups."""
    rows = np.flatnonzero(np.equal(parts, "train"))
    groups = [entries[row].group for row in rows]
    whole = None if None in groups else np.array(groups)
    fraction, seed = settings["test_fraction"], settings["test_seed"]
    held = rows[dataset.split(np.array(labels)[rows], fraction, seed, whole)["val"]]
    if not len(held):
        raise InputError(
            f"{place} has no test, and no group or class of train is large enough to give a part "
            "of it; give a test split, or raise dataset.test_fraction."
        )
    for row in held.tolist():
        parts[row] = "test"


def _above(
    place: str,
    entries: list[Entry],
    labels: list[int],
    names: tuple[str, ...] | None,
    classes: int,
) -> tuple[tuple[str, ...], ...] | None:
    """The names of the groups above each class, without those that all classes share."""
    found: dict[int, tuple[str | int, ...]] = {}
    for entry, label in zip(entries, labels, strict=True):
        if found.setdefault(label, entry.above) != entry.above:
            raise InputError(
                f"{entry.place}: the class {entry.label!r} has the parent "
                f"{_shown(entry.above)}, and {_shown(found[label])} before; a class has one parent."
            )
    numbers = [group for groups in found.values() for group in groups if isinstance(group, int)]
    digits = len(str(max(numbers, default=0)))

    def named(group: str | int) -> str:
        if isinstance(group, str):
            return group
        return names[group] if names else f"parent {group:0{digits}}"

    above = [tuple(map(named, found[label])) for label in range(classes)]
    shared = sum(
        1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*above, strict=False))
    )
    above = [groups[shared:] for groups in above]
    return tuple(above) if any(above) else None


def _shown(groups: tuple[str | int, ...]) -> str:
    return "/".join(map(str, groups)) or "none"
