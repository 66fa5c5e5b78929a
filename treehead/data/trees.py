"""Trees of classes as people have them, of any depth, each cut at one level to a taxonomy."""

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from treehead.artifacts import InputError, read_json, read_text
from treehead.data import spelling, taxonomy
from treehead.data.taxonomy import Taxonomy

_BUILT_IN = {name: Path(f"resources/taxonomies/{name}.json") for name in ("cifar100", "demo100")}
_NAMES = {"parent_names", "fine_names"}

# A class as a file calls it, and the groups above it, outermost first.
_Label = int | str
_Leaf = tuple[_Label, tuple[str, ...]]
# A node of a graph and its parent; a root has none.
_Link = tuple[str, str | None]


def choose(
    setting: str,
    level: int | None,
    *,
    dataset: str,
    names: tuple[str, ...],
    ancestors: tuple[tuple[str, ...], ...] | None,
) -> Taxonomy | None:
    """The taxonomy of a data set; None for clusters, which are known once they are learned.

    Args:
        setting: `superclass` (the built-in tree or the data's own), `clusters` or a file.
        level: as for `from_ancestors`.
        dataset: its name.
        names: of the classes, in the order of their labels.
        ancestors: the names above each class, outermost first, if the data have a tree.
    """
    if taxonomy.groups(setting):
        if level not in (None, 1):
            raise InputError(
                f"Config: taxonomy_level is {level}, but {setting} has one level; set it to null."
            )
        return None
    if setting != "superclass":
        return read(setting, names, level)
    if dataset in _BUILT_IN:
        tree = read(_BUILT_IN[dataset], names, level)
        if ancestors:
            _check_same(dataset, tree, ancestors)
        return tree
    if ancestors and any(ancestors):
        return from_ancestors(names, ancestors, level)
    raise InputError(
        f"Config: taxonomy is superclass, but {dataset} has no tree of its own; set taxonomy to "
        f"{_remedy(names)}."
    )


def built_in_names(dataset: str, classes: int) -> tuple[str, ...] | None:
    """The names of the classes of a data set that is known by its name."""
    names = taxonomy.read(_BUILT_IN[dataset]).fine_names if dataset in _BUILT_IN else ()
    return names if len(names) == classes else None


def _check_same(dataset: str, tree: Taxonomy, ancestors: Sequence[tuple[str, ...]]) -> None:
    """Check that the data's own tree has the same groups of classes as the built-in one."""
    owner: dict[str, tuple[str, ...]] = {}
    for name, parent, above in zip(tree.fine_names, tree.parent_of(), ancestors, strict=True):
        known = owner.setdefault(tree.parent_names[parent], above)
        if known != above or list(owner.values()).count(above) > 1:
            raise InputError(
                f"The labels of {dataset} put the class {name!r} under {'/'.join(above)}, but its "
                f"known tree puts it under {tree.parent_names[parent]!r}; correct the labels, or "
                "set taxonomy to a file."
            )


def from_ancestors(
    classes: Sequence[str],
    ancestors: Sequence[tuple[str, ...]],
    level: int | None = None,
    source: str | Path = "The data's own tree",
) -> Taxonomy:
    """Cut a tree at a level: the groups there are the parents, in the order of their names.

    A class above the level is a parent of its own. Parents of the same name are called by their
    paths.

    Args:
        classes: their names.
        ancestors: the names above each class, outermost first.
        level: counted from the top, from 1; None for the lowest.
        source: the tree, for an error.
    """

    def cut(level: int) -> list[tuple[str, ...]]:
        return [(*above, name)[:level] for name, above in zip(classes, ancestors, strict=True)]

    depth = max(map(len, ancestors))
    level = level or depth
    paths = set(cut(level))
    if level > depth or len(paths) == 1:
        found = (f"{len(set(cut(each)))} at level {each}" for each in range(1, depth + 1))
        raise InputError(
            f"{source} can't be cut at level {level}; its parents are "
            f"{', '.join(found) or 'none'}; set taxonomy_level to one with several, or taxonomy to "
            f"{_remedy(classes)}."
        )
    alike = Counter(path[-1] for path in paths)
    title = {path: "/".join(path) if alike[path[-1]] > 1 else path[-1] for path in paths}
    number = {name: parent for parent, name in enumerate(sorted(title.values()))}
    return taxonomy.from_parents([number[title[path]] for path in cut(level)], [*number], classes)


def read(path: str | Path, names: tuple[str, ...], level: int | None = None) -> Taxonomy:
    """Read a tree of any form, cut it, and check that it partitions the classes.

    JSON holds {parent: [class, ...]}, which nests to any depth, {parent: {class: child label}},
    {node: parent} or [{"name": node, "parent": parent}, ...], alone or as the "tree" beside
    "fine_names" and, for a tree of one level, "parent_names". A table has the columns class and
    parent. Classes, and the parents of one level, are names, or numbers from 0.

    Args:
        path: a .csv or .tsv file, else JSON.
        names: of the data's classes.
        level: as for `from_ancestors`.
    """
    table = Path(path).suffix.lower() in (".csv", ".tsv")
    content, given = (_rows(path), {}) if table else _content(path)
    place = {name: fine for fine, name in enumerate(names)}
    if own := _given(path, given, "fine_names", len(names)):
        _check_fine_names(path, own, names)
        names, place = own, {name: fine for fine, name in enumerate(own)}
    nested = isinstance(content, dict)
    leaves = [*_nested(path, content, place)] if nested else _linked(path, content, place, level)
    labels = [label for label, _ in leaves]
    if not own and all(str(label) in place for label in labels):
        fines = [place[str(label)] for label in labels]
    else:
        fines = _numbers(path, "class", labels, names)
    owners = ["/".join(above) for _, above in leaves]
    _check_partition(path, fines, owners, names, all(map(_is_number, labels)))
    deep = any(len(above) != 1 for _, above in leaves)
    if not deep and level in (None, 1):
        return _of_one_level(path, fines, owners, names, given)
    if deep and "parent_names" in given:
        raise InputError(f"{path}: parent_names belong to a tree of one level; remove them.")
    spelling.check(path, "parents", [*dict.fromkeys(chain(*(above for _, above in leaves)))])
    above = dict(zip(fines, (above for _, above in leaves), strict=True))
    return from_ancestors(names, [above[fine] for fine in range(len(names))], level, path)


def _check_fine_names(path: str | Path, own: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Check that a file's names are those of the data, or name classes that have numbers alone."""
    if all(re.fullmatch(r"class \d+", name) for name in names):
        spelling.check(path, "classes of fine_names", own)
        return
    for fine, (name, known) in enumerate(zip(own, names, strict=True)):
        if name != known:
            raise InputError(
                f"{path}: fine_names has {name!r} as class {fine}, which is {known!r} in the data; "
                "give the names of the data in the order of the labels."
            )


def _of_one_level(
    path: str | Path,
    fines: list[int],
    owners: list[str],
    names: tuple[str, ...],
    given: dict[str, Any],
) -> Taxonomy:
    """Parents that have numbers keep them, others are numbered as they come, like the children."""
    parents = list(dict.fromkeys(owners))
    parent_names = _given(path, given, "parent_names", len(parents))
    if not any(map(_is_number, parents)):
        parent_names = parent_names or tuple(parents)
    numbers = _numbers(path, "parent", parents, parent_names or ())
    if sorted(numbers) != list(range(len(parents))):
        raise InputError(f"{path}: the parents are {sorted(numbers)}; number them 0, 1, 2, ...")
    number = dict(zip(parents, numbers, strict=True))
    classes: list[list[int]] = [[] for _ in parents]
    for fine, owner in zip(fines, owners, strict=True):
        classes[number[owner]].append(fine)
    parent_names = parent_names or _numbered("parent", len(parents))
    spelling.check(path, "parents", parent_names)
    return Taxonomy(tuple(map(tuple, classes)), parent_names, names)


def _content(path: str | Path) -> tuple[dict[str, Any] | list[_Link], dict[str, Any]]:
    """The nested groups or the links of a JSON file, and the mapping that has its names, if any."""
    tree, given = read_json(path), {}
    if isinstance(tree, dict) and (_NAMES & tree.keys() or tree.keys() == {"tree"}):
        tree, given = tree.get("tree"), tree
    links: list[Any] = []
    if isinstance(tree, list) and all(isinstance(row, dict) for row in tree):
        rows = [(row.get("name", row.get("class")), row.get("parent")) for row in tree]
        links = [tuple(str(x) if type(x) is int else x for x in row) for row in rows]
    elif isinstance(tree, dict) and not any(isinstance(x, dict | list) for x in tree.values()):
        links = list(tree.items())
    texts = all(isinstance(node, str) and isinstance(parent, str | None) for node, parent in links)
    if any(parent for _, parent in links) and texts:
        if all(map(_is_number, dict(links))) and len({*dict(links).values()}) == len(links):
            raise InputError(f"{path} gives each class a name and no parent; give parents.")
        return links, given
    if not isinstance(tree, dict) or not tree:
        raise InputError(
            f'{path} has no tree; it must hold {{"<parent>": ["<class>", ...]}}, to any depth, or '
            '{"<class>": "<parent>"}, alone or as the "tree" beside "fine_names".'
        )
    return tree, given


def _nested(path: str | Path, tree: dict[str, Any], place: dict[str, int]) -> Iterator[_Leaf]:
    """The classes of nested groups, in the order of the file."""
    todo: list[tuple[_Label, Any, tuple[str, ...]]]
    todo = [(name, content, ()) for name, content in reversed(tree.items())]
    while todo:
        name, content, above = todo.pop()
        if content in (None, {}) and (above or name in place):
            yield name, above
        else:
            inner = _children(path, str(name), content)
            todo += [(child, under, (*above, str(name))) for child, under in reversed(inner)]


def _children(path: str | Path, parent: str, content: object) -> list[tuple[_Label, Any]]:
    """What a group holds, each with its own content; classes in the order of their child labels."""
    if not isinstance(content, dict | list) or not content:
        raise InputError(f"{path}: parent {parent} has no children; give it one or remove it.")
    if isinstance(content, list):
        if wrong := [child for child in content if type(child) not in (int, str, dict)]:
            raise InputError(
                f"{path}: parent {parent} has the child {wrong[0]!r}; give the number or the "
                "name of a class."
            )
        inner = [child if isinstance(child, dict) else {child: None} for child in content]
        return [item for child in inner for item in child.items()]
    places = list(content.values())
    if all(place is None or isinstance(place, dict | list) for place in places):
        return list(content.items())
    if any(type(place) is not int for place in places) or set(places) != set(range(len(places))):
        raise InputError(
            f"{path}: the child labels of parent {parent} are {places}; each of "
            f"0..{len(places) - 1} must appear once."
        )
    return [(child, None) for child in sorted(content, key=content.__getitem__)]


def _rows(path: str | Path) -> list[_Link]:
    """The class and the parent of each row of a table."""
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    links: list[_Link] = []
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
            if len(row) != len(columns) or not cells["class"]:
                raise InputError(
                    f"{path}, line {rows.line_num}: {delimiter.join(row)!r} is not a value for "
                    f"each of {', '.join(columns)}; correct the line, and quote a name that holds "
                    f"{delimiter!r}."
                )
            links.append((cells["class"], cells["parent"] or None))
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; correct the line.") from error
    if not links:
        raise InputError(f"{path} has no rows; give each class its parent.")
    return links


def _linked(
    path: str | Path, links: list[_Link], place: dict[str, int], level: int | None
) -> list[_Leaf]:
    """The classes of a graph of links to parents, in the order of the file.

    A class may have classes under it, and leaves that are not classes of the data are left out.
    The paths through two parents of a node must not part above the level.
    """
    parents: dict[str, list[str]] = {}
    for node, parent in links:
        known = parents.setdefault(node, [])
        if parent and parent not in known:
            known.append(parent)
    groups = dict.fromkeys(chain.from_iterable(parents.values()))
    if alone := [node for node in parents if not parents[node] and node not in groups]:
        raise InputError(f"{path}: {alone[0]!r} has no parent and no children; give it a parent.")
    if all(map(_is_number, parents)):
        return [(node, (parent,)) for node, parent in links if parent]
    parents |= {group: [] for group in groups if group not in parents}
    leaves = [node for node in parents if node in place or node not in groups]
    classes = [node for node in leaves if node in place]
    absent = next((name for name in place if name not in parents), None)
    if classes and absent is not None:
        near = difflib.get_close_matches(absent, set(leaves) - place.keys(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; add it with its parent."
        raise InputError(f"{path} has no class {absent!r}{hint}")
    above, parting = _paths(path, parents)
    found = [(node, above[node] or tuple(parents[node])) for node in classes or leaves]
    depth = max(len(groups) for _, groups in found)
    for node, _ in found:
        limit, at = parting.get(node, (depth, node))
        if limit < min(level or depth, depth):
            remedy = f", or set taxonomy_level to {limit}" if limit else ""
            raise InputError(
                f"{path}: {at!r} is under {' and '.join(map(repr, parents[at]))}, which are "
                f"different parents at level {level or depth}; leave it under one{remedy}."
            )
    return found


def _paths(
    path: str | Path, parents: dict[str, list[str]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[int, str]]]:
    """The longest path to each node of a graph, and how much of it is common to all of them.

    Returns:
        For each node the names above it; and for those with several paths the number of levels
        that these share, with the node whose parents make them part.
    """
    above: dict[str, tuple[str, ...]] = {}
    parting: dict[str, tuple[int, str]] = {}
    # A group may have a class of its own name.
    links = {node: [name for name in parents[node] if name != node] for node in parents}
    try:
        for node in TopologicalSorter(links).static_order():
            paths = [(*above[parent], parent) for parent in links[node]]
            above[node] = max(paths, key=len, default=())
            ways = [parting[parent] for parent in links[node] if parent in parting]
            if len(paths) > 1:
                levels = zip(*paths, strict=False)
                shared = takewhile(lambda names: len(set(names)) == 1, levels)
                ways.append((len(list(shared)), node))
            if ways:
                parting[node] = min(ways)
    except CycleError as error:
        circle = " over ".join(map(repr, error.args[1]))
        raise InputError(f"{path} has a cycle, {circle}; remove one of its links.") from error
    return above, parting


def _is_number(label: _Label) -> bool:
    return re.fullmatch(r"-?(0|[1-9][0-9]*)", str(label)) is not None


def _numbers(
    path: str | Path, what: str, labels: list[_Label], names: tuple[str, ...]
) -> list[int]:
    """The number of each label; the labels are all numbers, or all among the names."""
    numbers = [label for label in labels if _is_number(label)]
    if len(numbers) == len(labels):
        return [int(label) for label in labels]
    place = {name: number for number, name in enumerate(names)}
    unknown = [str(label) for label in labels if str(label) not in place]
    if not unknown:
        return [place[str(label)] for label in labels]
    if numbers:
        other = next(label for label in labels if not _is_number(label))
        raise InputError(
            f"{path}: {what} {numbers[0]} is a number and {what} {other!r} a name; give all "
            "as numbers, or all as names."
        )
    if names == _numbered(what, len(names)):
        raise InputError(
            f"{path} has the {what} {unknown[0]!r}, but this data set has no names of classes; "
            'give the fine labels, counted from 0, or JSON with all names as "fine_names" beside '
            'the "tree".'
        )
    cased = {name.lower(): name for name in place}
    near = difflib.get_close_matches(unknown[0].lower(), cased, n=1, cutoff=0.0)[0]
    raise InputError(f"{path}: there is no {what} {unknown[0]!r}; did you mean {cased[near]!r}?")


def _check_partition(
    path: str | Path, fines: list[int], parents: list[str], names: tuple[str, ...], numbers: bool
) -> None:
    """Check that each class is once among `fines`, each of which has its parent."""

    def called(fine: int) -> str:
        return f"fine label {fine}" if numbers else f"class {names[fine]!r}"

    owner: dict[int, str] = {}
    for fine, parent in zip(fines, parents, strict=True):
        if not 0 <= fine < len(names):
            raise InputError(
                f"{path}: {called(fine)} under parent {parent} is outside 0..{len(names) - 1}; "
                "correct it, or set dataset.classes."
            )
        if fine in owner:
            raise InputError(
                f"{path} is not a partition: {called(fine)} is under parents {owner[fine]} and "
                f"{parent}; leave it under one, once."
            )
        owner[fine] = parent
    if len(owner) < len(names):
        absent = next(fine for fine in range(len(names)) if fine not in owner)
        raise InputError(
            f"{path} is not a partition: {called(absent)} is under no parent; add it to one, or "
            f"set dataset.classes, which is {len(names)}."
        )


def _numbered(noun: str, count: int) -> tuple[str, ...]:
    return tuple(f"{noun} {index}" for index in range(count))


def _given(
    path: str | Path, content: dict[str, Any], key: str, count: int
) -> tuple[str, ...] | None:
    names = content.get(key)
    if key in content and (
        not isinstance(names, list)
        or len(names) != count
        or not all(type(name) is int or (isinstance(name, str) and name.strip()) for name in names)
    ):
        raise InputError(f"{path}: {key} must be a list of {count} names; correct or remove it.")
    return names and tuple(map(str, names))


def _remedy(classes: Sequence[str]) -> str:
    return f"a JSON or CSV file, or to clusters-{max(2, round(len(classes) ** 0.5))}"
