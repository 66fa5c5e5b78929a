"""Which fine class belongs to which parent, and which child of it that is: a partition."""

import csv
import difflib
import io
import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from treehead.artifacts import InputError, read_json, read_text, write_json

_SUPERCLASSES = Path("resources/taxonomies")
_NAMES = {"parent_names", "fine_names"}

# A number or a name; and the classes of each parent as the file gives them.
_Label = int | str
_Tree = dict[str, list[_Label]]


class Taxonomy(NamedTuple):
    """A tree: parent p has the fine classes `classes[p]`, and a child label is a place there."""

    classes: tuple[tuple[int, ...], ...]
    parent_names: tuple[str, ...]
    fine_names: tuple[str, ...]

    def parent_of(self) -> np.ndarray:
        """Parent of each fine class, int64 (fine classes,)."""
        parents = np.empty(len(self.fine_names), dtype=np.int64)
        for parent, members in enumerate(self.classes):
            parents[list(members)] = parent
        return parents

    def write(self, path: str | Path) -> None:
        """Write as {"tree": {parent: {fine label: child label}}, "parent_names", "fine_names"}."""
        tree = {
            str(parent): {str(fine): child for child, fine in enumerate(members)}
            for parent, members in enumerate(self.classes)
        }
        names = {"parent_names": list(self.parent_names), "fine_names": list(self.fine_names)}
        write_json(path, {"tree": tree, **names})


def groups(setting: str) -> int | None:
    """The number of learned clusters of "clusters" (ten) or "clusters-<number>"; None of others."""
    found = re.fullmatch(r"clusters(?:-([1-9]\d*))?", setting)
    return int(found[1] or 10) if found else None


def choose(setting: str, dataset: str, classes: int) -> Taxonomy | None:
    """The taxonomy of a data set: its superclasses, where they are known, or a file.

    None for clusters: they are known only when they have been learned.
    """
    if groups(setting):
        return None
    path = _SUPERCLASSES / f"{dataset}.json" if setting == "superclass" else Path(setting)
    return read(path, classes, _known_names(dataset, classes))


def fine_names(dataset: str, classes: int) -> tuple[str, ...]:
    """The names of the classes, where they are known, else their numbers."""
    return _known_names(dataset, classes) or _numbered("class", classes)


def _known_names(dataset: str, classes: int) -> tuple[str, ...] | None:
    path = _SUPERCLASSES / f"{dataset}.json"
    names = read(path).fine_names if path.is_file() else ()
    return names if len(names) == classes else None


def complete(
    settings: dict[str, Any], learned: list[str], parent: int | None = None
) -> dict[str, Any]:
    """Settings in which None is replaced by what only a learned taxonomy knows.

    Args:
        settings: may hold `parent_of`, the parent of each class, and `classes`, those of `parent`.
        learned: the taxonomy's file; empty if the taxonomy was known before.
        parent: whose classes `classes` are.
    """
    if not learned:
        return settings
    tree = read(learned[0])
    filled = dict(settings)
    if "parent_of" in settings:
        filled["parent_of"] = tree.parent_of().tolist()
    if parent is not None:
        filled["classes"] = list(tree.classes[parent])
    return filled


def from_clusters(cluster_of: np.ndarray, names: list[str]) -> Taxonomy:
    """A taxonomy of learned clusters, each named after its first classes.

    Args:
        cluster_of: cluster of each class, (classes,).
        names: of the classes.
    """
    members = [np.flatnonzero(cluster_of == cluster) for cluster in range(cluster_of.max() + 1)]
    firsts = [[*(names[fine] for fine in fines[:3]), "..."][: len(fines)] for fines in members]
    titles = [", ".join(first) for first in firsts]
    return from_parents(cluster_of.tolist(), titles, names)


def from_parents(parent_of: list[int], parent_names: list[str], fine_names: list[str]) -> Taxonomy:
    """A taxonomy from the parent of each fine class; children are in the order of their labels."""
    members = [
        tuple(int(fine) for fine in np.flatnonzero(np.equal(parent_of, parent)))
        for parent in range(len(parent_names))
    ]
    return Taxonomy(tuple(members), tuple(parent_names), tuple(fine_names))


def read(
    path: str | Path, classes: int | None = None, known: tuple[str, ...] | None = None
) -> Taxonomy:
    """Read a taxonomy file and check that it partitions the fine labels 0..classes-1.

    JSON holds {parent: {class: child label}} or {parent: [class, ...]}, alone or as the "tree"
    beside "parent_names" and "fine_names"; CSV has the columns class and parent. Parents and
    classes are numbers from 0, or names. Any number of parents and of children, one included,
    will do.

    Args:
        path: a .csv or .tsv file, else JSON.
        classes: their number; without it there are as many as the file lists.
        known: names of the classes, in case the file has none.
    """
    table = Path(path).suffix.lower() in (".csv", ".tsv")
    tree, names = (_from_csv(path), {}) if table else _from_json(path)
    listed = [label for labels in tree.values() for label in labels]
    classes = classes or len(listed)
    fine_names = _names(path, names, "fine_names", classes) or known
    parent_names = _names(path, names, "parent_names", len(tree))
    if not any(map(_is_number, tree)):
        parent_names = parent_names or tuple(tree)
    parents = _numbers(path, "parent", list(tree), parent_names)
    if sorted(parents) != list(range(len(tree))):
        raise InputError(f"{path}: the parents are {sorted(parents)}; number them 0, 1, 2, ...")
    numbers = _numbers(path, "class", listed, fine_names)
    owners = [parent for parent, labels in tree.items() for _ in labels]
    named = not all(map(_is_number, listed))
    _check_partition(path, numbers, owners, classes, fine_names if named else None)
    rest = iter(numbers)
    members = {
        parent: tuple(itertools.islice(rest, len(labels)))
        for parent, labels in zip(parents, tree.values(), strict=True)
    }
    return Taxonomy(
        tuple(members[parent] for parent in range(len(tree))),
        parent_names or _numbered("parent", len(tree)),
        fine_names or _numbered("class", classes),
    )


def _from_json(path: str | Path) -> tuple[_Tree, dict[str, Any]]:
    """The tree of a JSON file, and the mapping that has its names, if any."""
    tree, names = read_json(path), {}
    if isinstance(tree, dict) and (_NAMES & tree.keys() or not _is_parent(tree.get("tree", [0]))):
        tree, names = tree.get("tree"), tree
    if not isinstance(tree, dict) or not tree:
        raise InputError(
            f'{path} has no tree; it must hold {{"<parent>": {{"<class>": <child label>}}}} or '
            '{"<parent>": [<class>, ...]}, alone or as the "tree" beside "fine_names".'
        )
    return {parent: _children(path, parent, tree[parent]) for parent in tree}, names


def _is_parent(content: object) -> bool:
    """Whether "tree" is a parent of that name, and not the tree itself."""
    if not isinstance(content, dict | list):
        return True
    values = content.values() if isinstance(content, dict) else content
    return bool(values) and not any(isinstance(value, dict | list) for value in values)


def _children(path: str | Path, parent: str, children: object) -> list[_Label]:
    """The classes of a parent, in the order of their child labels."""
    if not isinstance(children, dict | list) or not children:
        raise InputError(f"{path}: parent {parent} has no children; give it one or remove it.")
    if isinstance(children, list):
        if wrong := [child for child in children if type(child) not in (int, str)]:
            raise InputError(
                f"{path}: parent {parent} has the child {wrong[0]!r}; give the number or the "
                "name of a class."
            )
        return children
    places = list(children.values())
    if any(type(place) is not int for place in places) or set(places) != set(range(len(places))):
        raise InputError(
            f"{path}: the child labels of parent {parent} are {places}; each of "
            f"0..{len(places) - 1} must appear once."
        )
    return sorted(children, key=children.__getitem__)


def _from_csv(path: str | Path) -> _Tree:
    """The tree of a CSV file; children are in the order of their rows."""
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    tree: _Tree = {}
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        if (columns.count("class"), columns.count("parent")) != (1, 1):
            raise InputError(
                f"{path} has the columns {', '.join(columns)}; its first line must name one "
                "column class and one column parent."
            )
        for row in rows:
            cells = dict(zip(columns, map(str.strip, row), strict=False))
            if not any(row):
                continue
            if len(row) != len(columns) or not (cells["class"] and cells["parent"]):
                raise InputError(
                    f"{path}, line {rows.line_num}: {delimiter.join(row)!r} is not a value for "
                    f"each of {', '.join(columns)}; correct the line, and quote a name that holds "
                    f"{delimiter!r}."
                )
            tree.setdefault(cells["parent"], []).append(cells["class"])
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; correct the line.") from error
    if not tree:
        raise InputError(f"{path} has no rows; give each class its parent.")
    return tree


def _is_number(label: _Label) -> bool:
    return re.fullmatch(r"-?(0|[1-9][0-9]*)", str(label)) is not None


def _numbers(
    path: str | Path, what: str, labels: list[_Label], names: tuple[str, ...] | None
) -> list[int]:
    """The number of each label; the labels are all numbers, or all among the names."""
    numbers = [label for label in labels if _is_number(label)]
    if len(numbers) == len(labels):
        return [int(label) for label in labels]
    place = {name: number for number, name in enumerate(names or ())}
    unknown = [str(label) for label in labels if str(label) not in place]
    if not unknown:
        return [place[str(label)] for label in labels]
    if numbers:
        other = next(label for label in labels if not _is_number(label))
        raise InputError(
            f"{path}: {what} {numbers[0]} is a number and {what} {other!r} a name; give all "
            "as numbers, or all as names."
        )
    if names is None:
        raise InputError(
            f"{path} has the {what} {unknown[0]!r}, but this data set has no names of classes; "
            'give the fine labels, counted from 0, or JSON with all names as "fine_names" beside '
            'the "tree".'
        )
    cased = {name.lower(): name for name in place}
    near = difflib.get_close_matches(unknown[0].lower(), cased, n=1, cutoff=0.0)[0]
    raise InputError(f"{path}: there is no {what} {unknown[0]!r}; did you mean {cased[near]!r}?")


def _check_partition(
    path: str | Path,
    fines: list[int],
    parents: list[str],
    classes: int,
    names: tuple[str, ...] | None,
) -> None:
    """Check that each of the classes is once among `fines`, each of which has its parent."""

    def called(fine: int) -> str:
        return f"class {names[fine]!r}" if names else f"fine label {fine}"

    owner: dict[int, str] = {}
    for fine, parent in zip(fines, parents, strict=True):
        if not 0 <= fine < classes:
            raise InputError(
                f"{path}: {called(fine)} under parent {parent} is outside 0..{classes - 1}; "
                "correct it, or set dataset.classes."
            )
        if owner.get(fine) == parent:
            raise InputError(
                f"{path} is not a partition: {called(fine)} is twice under parent {parent}; "
                "remove one."
            )
        if fine in owner:
            raise InputError(
                f"{path} is not a partition: {called(fine)} is under parents {owner[fine]} and "
                f"{parent}; leave it under one."
            )
        owner[fine] = parent
    if len(owner) < classes:
        absent = next(fine for fine in range(classes) if fine not in owner)
        raise InputError(
            f"{path} is not a partition: {called(absent)} is under no parent; add it to one, or "
            f"set dataset.classes, which is {classes}."
        )


def _numbered(noun: str, count: int) -> tuple[str, ...]:
    return tuple(f"{noun} {index}" for index in range(count))


def _names(
    path: str | Path, content: dict[str, Any], key: str, count: int
) -> tuple[str, ...] | None:
    names = content.get(key)
    if key in content and (not isinstance(names, list) or len(names) != count):
        raise InputError(f"{path}: {key} must be a list of {count} names; correct or remove it.")
    return names and tuple(map(str, names))


def check_labels(
    taxonomy: Taxonomy, fine: np.ndarray, coarse: np.ndarray, path: str | Path
) -> None:
    """Check that each image's coarse label is the parent of its fine label, both (n,)."""
    contradictions = np.flatnonzero(taxonomy.parent_of()[fine] != coarse)
    if len(contradictions):
        row = contradictions[0]
        raise InputError(
            f"{path}, row {row}: fine label {fine[row]} has coarse label {coarse[row]}, but the "
            f"taxonomy puts it under {taxonomy.parent_of()[fine[row]]}; correct the row, or set "
            "taxonomy to a file."
        )
