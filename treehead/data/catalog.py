"""What a data set holds, known before the graph is built: its classes, their tree, its splits.

Classes are numbered in the order of the hub's `ClassLabel`, else sorted by their name or number.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from treehead import console, records
from treehead.artifacts import InputError, read_json, sha256, write_json
from treehead.data import dataset, spelling, trees
from treehead.data.sources import folder, lists, tables
from treehead.data.sources.source import Entry, Source, part_of, parts_by_name

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

# A set of the hub whose classes are known, so that its graph is built without a download.
_CIFAR100 = "uoft-cs/cifar100"

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
    if source == "generated" or (names and source == _CIFAR100):
        return Catalog(names, None, {})
    used = {key: settings[key] for key in (*_USED, *_SPLIT)}
    kept = _kept(path)
    if kept.get("settings") != used or (look and not is_hub(settings["source"])):
        with console.shown() if is_hub(source) else nullcontext():
            _, catalog = listed(opened(settings), settings)
        found = json.loads(json.dumps({"settings": used, **catalog._asdict()}))
        if found != kept:
            with records.kept([], [path]):
                write_json(path, found)
        kept = found
    above = kept["above"] and tuple(map(tuple, kept["above"]))
    texts = {key: tuple(kept[key]) for key in ("names", "files", "remarks")}
    rest = {key: kept[key] for key in ("counts", "version", "configuration", "revision")}
    return Catalog(above=above, **texts, **rest)


def _kept(path: str | Path) -> dict[str, Any]:
    """What was found before; empty if nothing was, or if the file is damaged or of another form."""
    try:
        records.check([path])
        found = read_json(path) if Path(path).is_file() else {}
    except InputError:
        return {}
    known = isinstance(found, dict) and found.keys() == {"settings", *Catalog._fields}
    return found if known else {}


def is_hub(source: str) -> bool:
    """Whether dataset.source is a data set of the hub, and no path."""
    return not os.path.exists(source) and HUB_ID.fullmatch(source) is not None


def opened(settings: dict[str, Any]) -> Source:
    """Look at the source of a data set: a folder, a list, tables or a set of the hub."""
    if is_hub(settings["source"]):
        from treehead.data.sources import hub_sets  # noqa: PLC0415 - 1 s, only for the hub

        return hub_sets.look(settings)
    source = _opened_here(settings)
    pins = [f"dataset.{key}" for key in ("configuration", "revision") if settings[key]]
    if not pins:
        _check_hashes(source, settings)
        return source
    remark = (
        f"{' and '.join(pins)} and the dataset.sha256 beside it are of the hub and are not "
        "compared with these files"
    )
    return source._replace(remarks=(*source.remarks, remark))


def _check_hashes(source: Source, settings: dict[str, Any]) -> None:
    """Check the list or table of each split whose hash is given."""
    splits = settings["splits"]
    for split, expected in settings["sha256"].items():
        if expected is None:
            continue
        part = parts_by_name(splits).get(split.lower(), split)
        files = [file for file in source.files if part_of(Path(file).stem, splits) == part]
        if len(files) != 1:
            raise InputError(
                f"Config: dataset.sha256.{split} is the hash of one file, but "
                f"{settings['source']} has {len(files) or 'no'} lists or tables of that name; set "
                f"dataset.sha256.{split} to null."
            )
        if (found := sha256(files[0])) != expected:
            raise InputError(
                f"{files[0]} has the SHA-256 {found}, and dataset.sha256.{split} is {expected}; "
                "put the right file there, or correct the hash."
            )


def _opened_here(settings: dict[str, Any]) -> Source:
    """Look at a folder, a list or tables."""
    path = settings["source"]
    suffix = Path(path).suffix.lower()
    if os.path.isfile(path) and suffix in lists.SUFFIXES:
        return lists.look(path, settings)
    if os.path.isfile(path) and suffix in tables.SUFFIXES:
        _check_shards([Path(path)])
        return tables.look({path: None}, settings)
    if not os.path.isdir(path):
        kinds = ", ".join((*lists.SUFFIXES, *tables.SUFFIXES))
        raise InputError(
            f"Config: dataset.source is {path}, which is neither a folder, a list or table "
            f"({kinds}), nor <owner>/<name> of the hub; correct it."
        )
    found = _tables(Path(path), settings["splits"])
    if not found:
        if given := [key for key, column in settings["columns"].items() if column is not None]:
            raise InputError(
                f"Config: dataset.columns.{given[0]} names a column, but {path} is a folder of "
                "pictures; remove it, or give a list or a table in dataset.source."
            )
        return folder.look(path, settings["splits"])
    _check_shards(found)
    told = {str(file): part for file, part in found.items() if part}
    others = [str(file) for file, part in found.items() if part is None]
    if not told or not others:
        return tables.look({str(file): part for file, part in found.items()}, settings)
    if not settings["splits"]:
        raise InputError(
            f"The name of {others[0]} does not tell whether it is train, val or test, and that of "
            f"{next(iter(told))} does; rename it, or move it to another folder."
        )
    source = tables.look(told, settings)
    beside = f"{', '.join(others)} is of no split of dataset.splits and is left out"
    return source._replace(remarks=(*source.remarks, beside))


def _tables(path: Path, splits: dict[str, str]) -> dict[Path, str | None]:
    """The tables in a folder, and the part that the name of each or of its folder tells.

    They may be in a folder `data`, and in a folder for each split, as `datasets` saves them.
    """
    found: dict[Path, str | None] = {}
    for below in (path, path / "data"):
        inside = sorted(below.iterdir()) if below.is_dir() else []
        found |= {file: part_of(file.stem, splits) for file in inside}
        for split in inside:
            if (part := parts_by_name(splits).get(split.name.lower())) and split.is_dir():
                found |= dict.fromkeys(sorted(split.iterdir()), part)
    # Beside its data, `datasets` keeps what it has computed of them.
    return {
        file: part
        for file, part in found.items()
        if file.suffix in tables.SUFFIXES and not file.name.startswith((".", "cache-"))
    }


def _check_shards(files: Iterable[Path]) -> None:
    """Check that each table that is one of several has the others beside it."""
    for file in (files := set(files)):
        if number := re.fullmatch(r"(.*-)\d{5}(-of-(\d{5}))", file.stem):
            names = (f"{number[1]}{at:05}{number[2]}{file.suffix}" for at in range(int(number[3])))
            if absent := [name for name in names if file.with_name(name) not in files]:
                raise InputError(
                    f"{file} is one of {int(number[3])} tables, but {absent[0]} is not beside it; "
                    "put all of them in one folder, and give the folder in dataset.source."
                )


def listed(source: Source, settings: dict[str, Any]) -> tuple[Listing, Catalog]:
    """Number the classes of a source, give each entry its part, and check them."""
    place = settings["source"]
    entries = source.entries
    if not entries:
        raise InputError(f"{place} lists no picture; give a source with pictures.")
    parts = _parts(place, entries, settings["splits"])
    labels, names = numbered(place, entries, source.class_names, settings["name"])
    _check(place, parts, labels, names)
    remarks = [*source.remarks, *_alike(names), *left_out(source)]
    if "test" not in parts:
        remarks.append(_set_aside(place, parts, labels, entries, settings))
    remarks += _on_both_sides(entries, parts)
    above = _above(place, entries, labels, source.parent_names, len(names))
    counts = Counter(parts)
    catalog = Catalog(
        names,
        above,
        {part: counts[part] for part in ("train", "val", "test")},
        source.files,
        source.version,
        tuple(remarks),
        source.configuration,
        source.revision,
    )
    return Listing(entries, labels, parts), catalog


def _parts(place: str, entries: list[Entry], splits: dict[str, str]) -> list[str]:
    """The part of each entry; without any, all are train."""
    told = Counter(entry.part for entry in entries)
    for part, split in splits.items():
        if not told[part]:
            raise InputError(
                f"{place} has no picture in the split {split}, which dataset.splits.{part} names; "
                "correct or remove it."
            )
    if told[None] == len(entries):
        return ["train"] * len(entries)
    if told[None]:
        odd = next(entry.place for entry in entries if entry.part is None)
        raise InputError(f"{place}: {odd} is in no split, and others are; give each its split.")
    if not told["train"]:
        raise InputError(
            f"{place} has pictures of {' and '.join(sorted(told))} and none of train; name the "
            "splits in dataset.splits, such as {train: fit, test: holdout}."
        )
    return [entry.part for entry in entries]


def numbered(
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
                "classes, counted from 0; correct the label, or the names."
            )
        shown = [names[number] if names else f"class {number}" for number in order]
        if order[0] < 0:
            odd = next(entry for entry in entries if entry.label == order[0])
            raise InputError(
                f"{odd.place}: the label is {odd.label}, and classes are numbered from 0; remove "
                "pictures without a label, or give names or other numbers."
            )
    else:
        shown = order
    spelling.check(place, "classes", shown, case=True)
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
) -> str:
    """Turn a part of train into test, in place: stratified, seeded, and by whole groups."""
    rows = np.flatnonzero(np.equal(parts, "train"))
    groups = [entries[row].group for row in rows]
    fraction, seed = settings["test_fraction"], settings["test_seed"]
    held = rows[dataset.split(np.array(labels)[rows], fraction, seed, groups)["val"]]
    if not len(held):
        raise InputError(
            f"{place} has no test, and none can be set aside, since each class is a single picture "
            "or a single group; add pictures, or give a test split."
        )
    for row in held.tolist():
        parts[row] = "test"
    return f"{len(held):,} of {len(rows):,} pictures of train are set aside as test"


def left_out(source: Source) -> Iterator[str]:
    """A remark on what a source has left out, if that is anything."""
    if source.skipped:
        counts = (f"{count} {what}" for what, count in sorted(source.skipped.items()))
        yield f"left out: {', '.join(counts)}"


def _alike(names: tuple[str, ...]) -> Iterator[str]:
    """A remark on each class whose name is another's in other case, as letters may be."""
    for one, other in spelling.alike(names):
        yield f"the classes {one} and {other} differ only in case"


def _on_both_sides(entries: list[Entry], parts: list[str]) -> Iterator[str]:
    """A remark on groups that the given splits divide."""
    sides = {(entry.group, part) for entry, part in zip(entries, parts, strict=True) if entry.group}
    of_test = {group for group, part in sides if part == "test"}
    if both := of_test & {group for group, part in sides if part != "test"}:
        yield f"{len(both)} groups, such as {min(both)}, are in test and in train or val"


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
                f"{entry.place}: the class {entry.label!r} has the parent {_shown(entry.above)}, "
                f"and {_shown(found[label])} before; a class has one parent, so correct one."
            )
    numbers = [group for groups in found.values() for group in groups if isinstance(group, int)]
    if names and not all(0 <= number < len(names) for number in numbers):
        raise InputError(
            f"{place}: a parent is {max(numbers)}, but there are names of {len(names)} parents, "
            "counted from 0; correct the number, or the names."
        )
    width = len(str(max(numbers, default=0)))

    def named(group: str | int) -> str:
        if isinstance(group, str):
            return group
        return names[group] if names else f"parent {group:0{width}}"

    above = [tuple(map(named, found[label])) for label in range(classes)]
    spelling.check(place, "groups", sorted(set(chain(*above))))
    levels = enumerate(zip(*above, strict=False))
    least = min(map(len, above))
    shared = next((level for level, groups in levels if len(set(groups)) > 1), least)
    above = [groups[shared:] for groups in above]
    return tuple(above) if any(above) else None


def _shown(groups: tuple[str | int, ...]) -> str:
    return "/".join(map(str, groups)) or "none"
