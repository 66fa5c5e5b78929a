"""Lists of pictures: CSV, TSV or text with a path and a label in each line.

A list with a header names its columns. One without has path, label and perhaps the parent, as the
lists of the Grocery Store data set (Klasson et al., WACV 2019) have. A list whose name tells a
split, such as train.txt, comes with those beside it that tell the others.
"""

import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from treehead.artifacts import InputError, read_text
from treehead.data import pictures
from treehead.data.sources import folder, source
from treehead.data.sources.source import Entry, Source

SUFFIXES = (".csv", ".tsv", ".txt")

_Label = str | int


def look(path: str, settings: dict[str, Any]) -> Source:
    """List the pictures that a list names, and check that each is there."""
    files = _with_siblings(Path(path))
    entries, lines = [], []
    for file in files:
        for line, entry in _entries(file, settings):
            entries.append(entry)
            lines.append(f"{file}, line {line}")
    root = Path(path).parent
    _check_files(root, entries, lines)
    # In the order of the paths, so that the order of the lines does not matter.
    entries = [entries[place] for place in _sorted(entries)]
    _check_kinds(path, entries)
    names, parents, named_by = _names(root)
    entries = [
        entry._replace(
            label=_name(entry.label, names, entry),
            above=tuple(_name(g, parents, entry) for g in entry.above),
        )
        for entry in entries
    ]

    def read(places: list[int]) -> Iterator[Path]:
        return (root / entries[place].place for place in places)

    return Source(
        entries,
        read,
        files=tuple(map(str, [*files, *named_by])),
        remarks=tuple(f"{file} names the classes" for file in named_by),
        version=folder.version(str(root), [entry.place for entry in entries]),
    )


def _sorted(entries: list[Entry]) -> list[int]:
    return sorted(range(len(entries)), key=lambda place: entries[place].place.split("/"))


def _with_siblings(path: Path) -> list[Path]:
    """The list, and those beside it that are called the same but for the split."""
    if source.part_of(path.stem) is None:
        return [path]
    words = "|".join(source.PARTS)
    stem = re.escape(re.sub(f"(?i)(?<![a-z])({words})(?![a-z])", "\0", path.stem, count=1))
    alike = re.compile(stem.replace(re.escape("\0"), f"({words})"), re.IGNORECASE)
    siblings = [
        file
        for file in sorted(path.parent.iterdir())
        if file.suffix == path.suffix and alike.fullmatch(file.stem) and file.is_file()
    ]
    parts = [source.part_of(file.stem) for file in siblings]
    for part in parts:
        if parts.count(part) > 1:
            twice = [str(f) for f, own in zip(siblings, parts, strict=True) if own == part]
            raise InputError(f"{' and '.join(twice)} are both lists of {part}; leave one of them.")
    return siblings


def rows(path: Path) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """The header of a list, None if it has none, and its other lines with their numbers."""
    text = read_text(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        found = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; correct the line.") from error
    if not found:
        raise InputError(f"{path} is empty; give a list of pictures.")
    bare = os.path.splitext(found[0][1][0])[1].lower() in pictures.EXTENSIONS
    header = None if bare else found.pop(0)[1]
    width = len(header) if header else len(found[0][1])
    for line, cells in found:
        if len(cells) != width:
            raise InputError(
                f"{path}, line {line} has {len(cells)} values, not {width}; correct the line, and "
                f"quote a value that holds {delimiter!r}."
            )
    return header, found


def _entries(path: Path, settings: dict[str, Any]) -> Iterator[tuple[int, Entry]]:
    header, found = rows(path)
    if header is None:
        columns: dict[str, int | None] = {"image": 0, "label": 1, "parent": 2}
        width = len(found[0][1])
        if not 2 <= width <= 3:
            raise InputError(
                f"{path} has {width} columns and no header; a list without a header has path, "
                "label and perhaps parent. Add a first line that names the columns."
            )
        columns["parent"] = 2 if width == 3 else None
    else:
        columns = _columns(path, header, settings)
    told = source.part_of(path.stem)
    for line, cells in found:
        value = {key: cells[at] for key, at in columns.items() if at is not None}
        if empty := [key for key in ("image", "label") if not value[key]]:
            raise InputError(f"{path}, line {line}: the {empty[0]} is empty; correct the line.")
        where = f"{path}, line {line}"
        part = value.get("split")
        yield (
            line,
            Entry(
                _inside(where, value["image"]),
                _label(value["label"]),
                source.named_part(part, where, settings["splits"]) if part is not None else told,
                (_label(value["parent"]),) if value.get("parent") else (),
                value.get("group"),
            ),
        )


def _columns(path: Path, header: list[str], settings: dict[str, Any]) -> dict[str, int | None]:
    """The place of each column that is used."""
    usual = {
        "image": source.PICTURE,
        "label": source.LABEL,
        "parent": source.PARENT,
        "split": source.SPLIT,
        "group": source.GROUP,
    }
    places = {}
    for key, names in usual.items():
        name = source.chosen_column(str(path), key, header, settings, names)
        if name is None and key in ("image", "label"):
            raise InputError(
                f"{path} has no column of the {key}: its columns are {', '.join(header)}; name "
                f"the right one in dataset.columns.{key}."
            )
        places[key] = None if name is None else header.index(name)
    return places


def _inside(where: str, path: str) -> str:
    """A path below the folder of its list, in its plain form."""
    plain = os.path.normpath(path.replace("\\", "/"))
    if os.path.isabs(plain) or plain.startswith(".."):
        raise InputError(
            f"{where}: {path} is outside the folder of the list; give a path relative to the list."
        )
    return plain


def _label(text: str) -> _Label:
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d*)", text) else text


def _check_files(root: Path, entries: list[Entry], lines: list[str]) -> None:
    absent = [at for at, entry in enumerate(entries) if not (root / entry.place).is_file()]
    if absent:
        others = f" (and {len(absent) - 1} others)" if len(absent) > 1 else ""
        raise InputError(
            f"{lines[absent[0]]}: there is no file {root / entries[absent[0]].place}{others}; "
            "correct the list, or put the files where it says."
        )
    first: dict[str, int] = {}
    for at, entry in enumerate(entries):
        other = first.setdefault(entry.place, at)
        if other != at and entries[other] != entry:
            raise InputError(
                f"{lines[at]}: {entry.place} is also in {lines[other]}, with another label or "
                "split; keep one."
            )


def _check_kinds(path: str, entries: list[Entry]) -> None:
    """Check that labels are all numbers or all names."""
    numbers = [entry for entry in entries if isinstance(entry.label, int)]
    if numbers and len(numbers) < len(entries):
        name = next(entry for entry in entries if isinstance(entry.label, str))
        raise InputError(
            f"{path}: the label of {numbers[0].place} is the number {numbers[0].label}, and that "
            f"of {name.place} the name {name.label!r}; give numbers everywhere, or names."
        )


def _name(label: _Label, names: tuple[str, ...] | None, entry: Entry) -> _Label:
    """The name of a numbered class or parent, if names are given."""
    if names is None or isinstance(label, str):
        return label
    if not 0 <= label < len(names):
        raise InputError(
            f"{entry.place} has the number {label}, but classes.csv has names of 0 to "
            f"{len(names) - 1}; correct one of them."
        )
    return names[label]


def _names(
    root: Path,
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, list[Path]]:
    """Names of the numbered classes and parents, from a classes.csv beside the list.

    Its columns are those of the Grocery Store data set: class name, class ID, and the same of the
    coarse class.
    """
    path = root / "classes.csv"
    if not path.is_file():
        return None, None, []
    header, found = rows(path)
    short = [re.sub(r"\s*\(.*\)", "", name).strip().lower() for name in header or []]
    tables = []
    for prefix in ("class", "coarse class"):
        columns = [f"{prefix} name", f"{prefix} id"]
        if not set(columns) <= set(short):
            tables.append(None)
            continue
        name_at, number_at = map(short.index, columns)
        named: dict[int, str] = {}
        for line, cells in found:
            number = _label(cells[number_at])
            if not isinstance(number, int) or number < 0:
                raise InputError(f"{path}, line {line}: {cells[number_at]!r} is not a number.")
            if named.setdefault(number, cells[name_at]) != cells[name_at]:
                raise InputError(
                    f"{path}, line {line}: {prefix} {number} is {cells[name_at]!r} here and "
                    f"{named[number]!r} before; correct one."
                )
        if sorted(named) != list(range(len(named))):
            raise InputError(f"{path}: the IDs of {prefix} are not 0 to {len(named) - 1}.")
        tables.append(tuple(named[number] for number in range(len(named))))
    return tables[0], tables[1], [path] if any(tables) else []
