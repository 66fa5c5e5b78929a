"""Which fine class belongs to which parent, and which child of it that is: a partition."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead.artifacts import InputError, read_json, write_json

_SUPERCLASSES = Path("resources/taxonomies")


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


def choose(setting: str, dataset: str, classes: int) -> Taxonomy:
    """The taxonomy of a data set: its superclasses, where they are known, or a JSON file."""
    path = _SUPERCLASSES / f"{dataset}.json" if setting == "superclass" else Path(setting)
    return read(path, classes)


def from_parents(parent_of: list[int], parent_names: list[str], fine_names: list[str]) -> Taxonomy:
    """A taxonomy from the parent of each fine class; children are in the order of their labels."""
    members = [
        tuple(int(fine) for fine in np.flatnonzero(np.equal(parent_of, parent)))
        for parent in range(len(parent_names))
    ]
    return Taxonomy(tuple(members), tuple(parent_names), tuple(fine_names))


def read(path: str | Path, classes: int) -> Taxonomy:
    """Read a taxonomy file and check that it partitions the fine labels 0..classes-1.

    The names are optional. Any number of parents and of children, one included, will do.
    """
    content = read_json(path)
    tree = content.get("tree") if isinstance(content, dict) else None
    if not isinstance(tree, dict) or not tree:
        raise InputError(
            f'{path} has no tree; it must hold {{"tree": {{"<parent>": {{"<fine label>": '
            "<child label>}}}, with parents and children numbered from 0."
        )
    parents = sorted(_number(path, "parent", parent) for parent in tree)
    if parents != list(range(len(parents))):
        raise InputError(f"{path}: the parents are {parents}; number them 0, 1, 2, ...")
    members = tuple(_members(path, parent, tree[str(parent)]) for parent in parents)
    _check_partition(path, members, classes)
    return Taxonomy(
        members,
        _names(path, content, "parent_names", len(members), "parent"),
        _names(path, content, "fine_names", classes, "class"),
    )


def _members(path: str | Path, parent: int, children: object) -> tuple[int, ...]:
    if not isinstance(children, dict) or not children:
        raise InputError(f"{path}: parent {parent} has no children; give it one or remove it.")
    numbers = [_number(path, "fine label", fine) for fine in children]
    if sorted(children.values(), key=str) != sorted(range(len(children)), key=str):
        raise InputError(
            f"{path}: the child labels of parent {parent} are {list(children.values())}; "
            f"each of 0..{len(children) - 1} must stand there once."
        )
    by_child = dict(zip(children.values(), numbers, strict=True))
    return tuple(by_child[child] for child in range(len(children)))


def _check_partition(path: str | Path, members: tuple[tuple[int, ...], ...], classes: int) -> None:
    owner: dict[int, int] = {}
    for parent, fines in enumerate(members):
        for fine in fines:
            if fine in owner:
                raise InputError(
                    f"{path} is no partition: fine label {fine} is under parents {owner[fine]} and "
                    f"{parent}; leave it under one."
                )
            if not 0 <= fine < classes:
                raise InputError(
                    f"{path}: fine label {fine} under parent {parent} is outside 0..{classes - 1}; "
                    "mend it, or set dataset.classes."
                )
            owner[fine] = parent
    if absent := sorted(set(range(classes)) - set(owner)):
        raise InputError(
            f"{path} is no partition: fine label {absent[0]} is under no parent; add it to one."
        )


def _number(path: str | Path, what: str, text: str) -> int:
    if not text.isdecimal() or text != str(int(text)):
        raise InputError(f"{path}: the {what} {text!r} is no number; {what}s count from 0.")
    return int(text)


def _names(path: str | Path, content: dict, key: str, count: int, noun: str) -> tuple[str, ...]:
    names = content.get(key, [f"{noun} {index}" for index in range(count)])
    if not isinstance(names, list) or len(names) != count:
        raise InputError(f"{path}: {key} must be a list of {count} names; mend it or remove it.")
    return tuple(map(str, names))


def check_labels(
    taxonomy: Taxonomy, fine: np.ndarray, coarse: np.ndarray, path: str | Path
) -> None:
    """Check that each image's coarse label is the parent of its fine label, both (n,)."""
    contradictions = np.flatnonzero(taxonomy.parent_of()[fine] != coarse)
    if len(contradictions):
        row = contradictions[0]
        raise InputError(
            f"{path}, row {row}: fine label {fine[row]} has coarse label {coarse[row]}, but the "
            f"taxonomy puts it under {taxonomy.parent_of()[fine[row]]}; mend the row, or give your "
            "own taxonomy as a JSON file."
        )
