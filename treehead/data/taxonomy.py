"""Which fine class belongs to which parent, and which child of it that is: a partition."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from treehead.artifacts import read_json, write_json


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


def from_parents(
    parent_of: Sequence[int], parent_names: Sequence[str], fine_names: Sequence[str]
) -> Taxonomy:
    """A taxonomy from the parent of each fine class; children are in the order of their labels."""
    members: list[list[int]] = [[] for _ in parent_names]
    for fine, parent in enumerate(parent_of):
        members[parent].append(fine)
    return Taxonomy(tuple(map(tuple, members)), tuple(parent_names), tuple(fine_names))


def read(path: str | Path) -> Taxonomy:
    """Read what `Taxonomy.write` wrote."""
    content = read_json(path)
    classes = tuple(tuple(map(int, children)) for children in content["tree"].values())
    return Taxonomy(classes, tuple(content["parent_names"]), tuple(content["fine_names"]))
