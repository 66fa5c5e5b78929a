"""Lists of pictures: CSV, TSV or text with a path and a label in each line.

A list with a header names its columns. One without has path, label and perhaps the parent, as the
lists of the Grocery Store data set (Klasson et al., WACV 2019) have. A list whose name tells a
split, such as train.txt, comes with those beside it that tell the others.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from treehead.artifacts import InputError, read_text
from treehead.data import pictures
from treehead.data.sources import folder, source
from treehead.data.sources.source import Entry, Source

SUFFIXES = (".csv", ".tsv", ".txt")

_NUMBER = re.compile(r"-?(0|[1-9]\d*)")

_Label = str | int
# A line of a list, named for people, and what it says.
Line = tuple[str, Entry]


def look(path: str, settings: dict[str, Any]) -> Source:
    """List the pictures that a list names, and check that each is there.

    Args:
        path: the list.
        settings: of the `dataset` part of the config: `columns` and `splits`.
    """
    skipped: Counter[str] = Counter()
    files, root = _with_siblings(Path(path), settings["splits"]), Path(path).parent
    lines = [line for file in files for line in _lines(file, settings, skipped)]
    entries = _numbered(path, checked(root, lines, skipped))
    numbered = any(isinstance(entry.label, int) for entry in entries)
    names, parents, named_by = _names(root) if numbered else (None, None, [])
    labelled = [entry for entry in entries if not names or entry.label != source.UNLABELLED]
    if len(labelled) < len(entries):
        skipped[source.WITHOUT_LABEL] += len(entries) - len(labelled)
    entries = [
        entry._replace(
            label=_name(entry.label, names, entry),
            above=tuple(_name(group, parents, entry) for group in entry.above),
        )
        for entry in labelled
    ]

    beside = [f"{file} beside it belongs to it" for file in files if file != Path(path)]
    return Source(
        entries,
        reader(root, entries),
        files=tuple(map(str, [*files, *named_by])),
        skipped=dict(skipped),
        remarks=(*beside, *(f"{file} names the classes" for file in named_by)),
        version=folder.version(root, [entry.place for entry in entries]),
    )


def _with_siblings(path: Path, splits: dict[str, str]) -> list[Path]:
    """The list, and those beside it that are called the same but for the split."""
    if source.part_of(path.stem, splits) is None:
        return [path]
    word = source.words_of(splits)
    before, after = re.split(word, path.stem, maxsplit=1, flags=re.IGNORECASE)
    alike = re.compile(re.escape(before) + word + re.escape(after), re.IGNORECASE)
    siblings = [
        file
        for file in sorted(path.parent.iterdir())
        if file.suffix == path.suffix and alike.fullmatch(file.stem) and file.is_file()
    ]
    first: dict[str | None, Path] = {}
    for file in siblings:
        part = source.part_of(file.stem, splits)
        if (other := first.setdefault(part, file)) != file:
            raise InputError(f"{other} and {file} are both lists of {part}; remove or rename one.")
    return siblings


def rows(path: Path) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """The header of a list, None if it has none, and its other lines with their numbers."""
    text = read_text(path)
    first = re.sub('"[^"]*"', "", next(filter(str.strip, text.splitlines()), ""))
    delimiter = max(",;\t", key=first.count)
    delimiter = delimiter if delimiter in first else " "
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        found = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; correct the line.") from error
    found = [(line, cells) for line, cells in found if any(cells)]
    if not found:
        raise InputError(f"{path} is empty; give a list of pictures.")
    header = None if any(map(_is_picture, found[0][1])) else found.pop(0)[1]
    width = len(header or found[0][1])
    for line, cells in found:
        if len(cells) != width:
            raise InputError(
                f"{path}, line {line} has {len(cells)} values, not {width}; correct the line, and "
                f"quote a value that holds {delimiter!r}."
            )
    return header, found


def _is_picture(cell: str) -> bool:
    return os.path.splitext(cell)[1].lower() in pictures.EXTENSIONS


def _lines(path: Path, settings: dict[str, Any], skipped: Counter[str]) -> Iterator[Line]:
    """What the lines of a list say, with labels as they are written."""
    header, found = rows(path)
    columns = _columns(path, header, settings) if header else _bare(path, found, settings)
    told = source.part_of(path.stem, settings["splits"])
    for line, cells in found:
        where = f"{path}, line {line}"
        value = {key: cells[at] for key, at in columns.items() if at is not None}
        if empty := [key for key in ("image", "label", "split") if value.get(key) == ""]:
            raise InputError(f"{where}: the {empty[0]} is empty; correct or remove the line.")
        part = told
        if "split" in value:
            part = source.named_part(value["split"], where, settings["splits"])
            if part is None:
                skipped[f"of the split {value['split']}"] += 1
                continue
        above = (value["parent"],) if value.get("parent") else ()
        group = value.get("group") or None
        place = folder.inside(where, value["image"], path.parent)
        yield where, Entry(place, value["label"], part, above, group)


def _bare(
    path: Path, found: list[tuple[int, list[str]]], settings: dict[str, Any]
) -> dict[str, int | None]:
    """The place of each column of a list without a header."""
    line, first = found[0]
    if settings["columns"] or not 2 <= len(first) <= 3 or not _is_picture(first[0]):
        raise InputError(
            f"{path}, line {line}: {', '.join(first)} is no header, and a list without one has the "
            "columns path, label and perhaps parent; add a first line that names the columns."
        )
    return {"image": 0, "label": 1, "parent": 2 if len(first) == 3 else None}


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
                f"the right one in dataset.columns.{key}, or add a first line if none names them."
            )
        if header.count(name) > 1:
            raise InputError(f"{path} has the column {name} twice; rename one.")
        places[key] = None if name is None else header.index(name)
    return places


def checked(root: Path, lines: list[Line], skipped: Counter[str]) -> list[Entry]:
    """What lines say of pictures below `root`, each of which is there, and counts once.

    In the order of the paths, so that the order of the lines does not matter.
    """
    first: dict[str, Line] = {}
    for where, entry in lines:
        other, known = first.setdefault(entry.place, (where, entry))
        if known != entry:
            raise InputError(
                f"{where}: {entry.place} is also in {other}, with another label or split; keep one."
            )
        if other != where:
            skipped["lines that are there twice"] += 1
    folder.check(root, {place: where for place, (where, _) in first.items()})
    return sorted((entry for _, entry in first.values()), key=lambda entry: entry.place.split("/"))


def reader(root: Path, entries: list[Entry]) -> Callable[[list[int]], Iterator[Path]]:
    """What gives the pictures of some entries."""
    return lambda places: (root / entries[place].place for place in places)


def _numbered(path: str, entries: list[Entry]) -> list[Entry]:
    """The entries with numbers for labels, if all are numbers; 007 is a name."""
    texts = {entry.label for entry in entries}
    if not all(map(str.isdigit, texts)):
        numbers = [entry for entry in entries if _NUMBER.fullmatch(entry.label)]
        if numbers and len(numbers) < len(entries):
            name = next(entry for entry in entries if not _NUMBER.fullmatch(entry.label))
            raise InputError(
                f"{path}: the label of {numbers[0].place} is the number {numbers[0].label}, and "
                f"that of {name.place} the name {name.label!r}; give numbers everywhere, or names."
            )
    label, above = (_as_numbers(t) for t in (texts, {g for entry in entries for g in entry.above}))
    return [
        entry._replace(label=label(entry.label), above=tuple(map(above, entry.above)))
        for entry in entries
    ]


def _as_numbers(texts: set[str]) -> Callable[[str], _Label]:
    return int if all(map(_NUMBER.fullmatch, texts)) else str


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
            if not cells[number_at].isdecimal():
                raise InputError(
                    f"{path}, line {line}: the ID {cells[number_at]!r} is not a number from 0 on; "
                    "correct it."
                )
            number = int(cells[number_at])
            if named.setdefault(number, cells[name_at]) != cells[name_at]:
                raise InputError(
                    f"{path}, line {line}: {prefix} {number} is {cells[name_at]!r} here and "
                    f"{named[number]!r} before; correct one."
                )
        if sorted(named) != list(range(len(named))):
            raise InputError(
                f"{path}: the IDs of {prefix} are not 0 to {len(named) - 1}, each once; correct "
                "them."
            )
        if len(set(named.values())) < len(named):
            twice = Counter(named.values()).most_common(1)[0][0]
            raise InputError(f"{path}: two IDs of {prefix} are called {twice!r}; rename one.")
        tables.append(tuple(named[number] for number in range(len(named))))
    return tables[0], tables[1], [path] if any(tables) else []
