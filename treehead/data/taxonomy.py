"""Which fine class belongs to which parent, and which child of it that is: a partition."""

import re
from pathlib import Path
from typing import Any, NamedTuple

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


def groups(setting: str) -> int | None:
    """The number of learned clusters of "clusters" (ten) or "clusters-<number>"; None of others."""
    found = re.fullmatch(r"clusters(?:-([1-9]\d*))?", setting)
    return int(found[1] or 10) if found else None


def choose(setting: str, dataset: str, classes: int) -> Taxonomy | None:
    """The taxonomy of a data set: its superclasses, where they are known, or a JSON file.

    None for clusters: they are known only when they have been learned.
    """
    if groups(setting):
        return None
    path = _SUPERCLASSES / f"{dataset}.json" if setting == "superclass" else Path(setting)
    return read(path, classes)


def fine_names(dataset: str, classes: int) -> list[str]:
    """The names of the classes, where they are known."""
    path = _SUPERCLASSES / f"{dataset}.json"
    return list(read(path, classes).fine_names) if path.is_file() else _numbered("class", classes)


def complete(
    settings: dict[str, Any], learned: list[str], parent: int | None = None
) -> dict[str, Any]:
    """Settings with what only a learned taxonomy knows, in the place of None.

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
    titles = [", ".join(names[fine] for fine in fines[:3]) + ", ..." for fines in members]
    return from_parents(cluster_of.tolist(), titles, names)


def from_parents(parent_of: list[int], parent_names: list[str], fine_names: list[str]) -> Taxonomy:
    """A taxonomy from the parent of each fine class; children are in the order of their labels."""
    members = [
        tuple(int(fine) for fine in np.flatnonzero(np.equal(parent_of, parent)))
        for parent in range(len(parent_names))
    ]
    return Taxonomy(tuple(members), tuple(parent_names), tuple(fine_names))


def read(path: str | Path, classes: int | None = None) -> Taxonomy:
    """Read a taxonomy file and check that it partitions the fine labels 0..classes-1.

    Without `classes` there are as many as the file has fine labels. The names are optional. Any
    number of parents and of children, one included, will do.
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
    classes = classes or sum(map(len, members))
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


def _numbered(noun: str, count: int) -> list[str]:
    return [f"{noun} {index}" for index in range(count)]


def _names(path: str | Path, content: dict, key: str, count: int, noun: str) -> tuple[str, ...]:
    names = content.get(key, _numbered(noun, count))
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
