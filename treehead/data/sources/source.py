"""What every source gives: an entry for each picture, and the bytes of the pictures."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from treehead.artifacts import InputError

# The names that people give to the parts of a data set.
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

# The number that stands for no class among numbers with names, as the hub has it.
UNLABELLED = -1
WITHOUT_LABEL = f"with the label {UNLABELLED}, which is none"


class Entry(NamedTuple):
    """A picture as its source lists it.

    Args:
        place: where it is, for people: a path, or a file and a row.
        label: the class, by name or number.
        part: train, val or test, or None if the source does not say.
        above: names or numbers of the groups above the class, the outermost first.
        group: what must not be on both sides of a split, such as the plant or the camera.
    """

    place: str
    label: str | int
    part: str | None = None
    above: tuple[str | int, ...] = ()
    group: str | None = None


class Source(NamedTuple):
    """A source after a look at it; no picture is decoded yet.

    Args:
        entries: of all pictures.
        read: gives the content of the entries at these places: bytes, or the path of a file.
        files: the files that list the pictures or hold them, which the graph watches.
        class_names: names of numbered classes, the number of which is their place.
        parent_names: the same of the groups directly above the classes.
        skipped: files that are not pictures, by suffix.
        remarks: what was guessed, a sentence each.
        version: of the pictures, if `files` does not hold them.
        configuration: of the hub, that is read.
        revision: commit of the hub.
    """

    entries: list[Entry]
    read: Callable[[list[int]], Iterator[bytes | Path]]
    files: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    parent_names: tuple[str, ...] | None = None
    skipped: dict[str, int] = {}  # noqa: RUF012 - never changed
    remarks: tuple[str, ...] = ()
    version: str | None = None
    configuration: str | None = None
    revision: str | None = None


def parts_by_name(given: dict[str, str]) -> dict[str, str]:
    """The part that each split is, by the setting dataset.splits, else by its name."""
    return {split.lower(): part for part, split in given.items()} or PARTS


def words_of(given: dict[str, str]) -> str:
    """A pattern of the splits' names, as words of a file name in any case."""
    words = "|".join(map(re.escape, parts_by_name(given)))
    return rf"(?<![^\W\d_])(?:{words})(?![^\W\d_])"


def part_of(name: str, given: dict[str, str]) -> str | None:
    """The part that a file name tells, such as "train-00000-of-00002"; None if it tells none."""
    names = parts_by_name(given)
    found = {names[word.lower()] for word in re.findall(words_of(given), name, re.IGNORECASE)}
    return found.pop() if len(found) == 1 else None


def named_part(name: object, where: str, given: dict[str, str]) -> str | None:
    """The part that a split is; None if dataset.splits names others, so that it is left out."""
    part = parts_by_name(given).get(str(name).strip().lower())
    if part is None and not given:
        raise InputError(
            f"{where} is in the split {name!r}, which is neither train, val nor test; name the "
            "splits in dataset.splits, such as {train: fit, test: holdout}, or set "
            "dataset.columns.split to null if that column holds no splits."
        )
    return part


def shown(name: str) -> str:
    """A file name as text, which its bytes need not be."""
    return os.fsencode(name).decode(errors="replace")


def first_of(columns: list[str], usual: Sequence[str]) -> str | None:
    """The column that has the first of the usual names, whatever its case."""
    known = {_plain(column): column for column in columns}
    return next((known[_plain(name)] for name in usual if _plain(name) in known), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def chosen_column(
    where: str, key: str, columns: list[str], settings: dict[str, Any], usual: Sequence[str]
) -> str | None:
    """The column for `key`: by the setting dataset.columns, else one with a usual name."""
    if key not in settings["columns"]:
        found = first_of(columns, usual)
        same = dict.fromkeys(each for each in columns if found and _plain(each) == _plain(found))
        if len(same) > 1:
            raise InputError(
                f"{where} has the columns {' and '.join(map(repr, same))}, each of which may be "
                f"the {key}; name one of them in dataset.columns.{key}, or rename the other."
            )
        return found
    if (given := settings["columns"][key]) is None:
        return None
    if given not in columns:
        raise InputError(
            f"{where} has no column {given!r}, which dataset.columns.{key} names; its columns are "
            f"{', '.join(columns)}."
        )
    return given


# Usual names of columns, the likeliest first.
LABEL = (
    "fine_label",
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "target",
    "class_id",
    "cls",
)
PARENT = ("coarse_label", "parent", "superclass", "coarse", "supercategory")
SPLIT = ("split", "set", "partition", "subset")
GROUP = ("group",)
PICTURE = ("path", "file", "filename", "file_name", "filepath", "image_path", "image", "img")
