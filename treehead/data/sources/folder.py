"""Pictures in folders: `<split>/<group>/.../<class>/<picture>`, with or without splits."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from treehead.artifacts import InputError
from treehead.data import pictures
from treehead.data.sources.source import Entry, Source, parts_by_name, shown

# Other files that lie among pictures are not worth a word.
_QUIET = {".db", ".ini"}

# The names of the folders around a file, and its own, from the folder of the source on.
_Name = tuple[str, ...]


def look(path: str, splits: dict[str, str]) -> Source:
    """List the pictures of a folder.

    The folder that holds a picture is its class, those above are its tree.

    Args:
        path: the folder.
        splits: the setting dataset.splits.
    """
    skipped: Counter[str] = Counter()
    found = sorted(_files(path, skipped))
    if not found:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in skipped.most_common(5))
        raise InputError(
            f"The folder {path} of dataset.source holds no picture ({kinds or 'it is empty'}); "
            "give a folder with a folder of pictures for each class."
        )
    names = parts_by_name(splits)
    root = _common(found, names)
    parts = _parts([name[len(root) :] for name in found], names)
    kept, entries = [], []
    for name in found:
        top, *rest = name[len(root) :]
        if parts and rest and top not in parts:
            skipped[f"in {shown(top)}, which is beside the splits"] += 1
            continue
        folders = (*rest[:-1],) if parts else name[len(root) : -1]
        if not folders:
            raise InputError(
                f"{path}: {shown('/'.join(name))} is in no folder of a class; move it into one."
            )
        kept.append("/".join(name))
        entries.append(Entry(shown(kept[-1]), folders[-1], parts.get(top), folders[:-1]))
    _check_names(path, {(top,) for top in parts})
    _check_names(path, {(*entry.above, entry.label) for entry in entries})
    _check_names(path, {(entry.label,) for entry in entries})
    entries, remarks = _one_tree(path, entries)

    def read(places: list[int]) -> Iterator[Path]:
        return (Path(path, kept[place]) for place in places)

    return Source(
        entries,
        read,
        skipped={key: count for key, count in skipped.items() if key not in _QUIET},
        remarks=tuple(remarks),
        version=version(path, kept),
    )


def inside(where: str, path: str, root: Path) -> str:
    """A path below the folder of the list that names it at `where`, in its plain form."""
    plain = os.path.normpath(path.replace("\\", "/"))
    plain = os.path.relpath(plain, root) if os.path.isabs(plain) else plain
    if plain.split("/")[0] == "..":
        raise InputError(
            f"{where}: {path} is outside the folder of the list; put the list in a folder around "
            "the pictures, and write their paths relative to it."
        )
    return plain


def check(root: Path, where: dict[str, str]) -> None:
    """Check that the files below `root` are there that lists name, each with its `where`."""
    absent = [name for name in where if not os.path.isfile(root / name)]
    if absent:
        others = f" (and {len(absent) - 1} others)" if len(absent) > 1 else ""
        raise InputError(
            f"{where[absent[0]]}: there is no file {root / absent[0]}{others}; correct the list, "
            "or put the files where it says."
        )


def version(root: str | Path, names: Iterable[str]) -> str:
    """A digest of the names, sizes and dates of files below `root`."""
    digest = hashlib.sha256()
    for name in names:
        try:
            status = os.stat(os.path.join(root, name))
        except OSError as error:
            raise _unreadable(os.path.join(root, name), error) from error
        digest.update(os.fsencode(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(
        f"{shown(path)} can't be read ({error.strerror}); rename or move it, or change its "
        "permissions."
    )


def _files(root: str, skipped: Counter[str]) -> Iterator[_Name]:
    """The name of each picture below `root`; hidden files are left out."""
    seen: set[tuple[int, int]] = set()
    todo: list[_Name] = [()]
    for folder in todo:
        path = os.path.join(root, *folder)
        try:
            status, inside = os.stat(path), list(os.scandir(path))
        except OSError as error:
            raise _unreadable(path, error) from error
        if (status.st_dev, status.st_ino) in seen:
            raise InputError(
                f"{shown(path)} is a link to a folder that is read already; remove the link."
            )
        seen.add((status.st_dev, status.st_ino))
        for entry in inside:
            if entry.name.startswith("."):
                continue
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.is_symlink() and not os.path.exists(entry.path):
                raise InputError(
                    f"{shown(entry.path)} is a link to nothing; put the file where it leads, or "
                    "remove the link."
                )
            if entry.is_dir():
                todo.append((*folder, entry.name))
            elif suffix in pictures.EXTENSIONS:
                yield (*folder, entry.name)
            else:
                skipped[shown(suffix) or "without extension"] += 1


def _common(names: list[_Name], splits: dict[str, str]) -> _Name:
    """The folders around all pictures, in which there is nothing to tell apart."""
    first, last = names[0][:-1], names[-1][:-1]
    count = 0
    while count < min(len(first), len(last)) - 1 and first[count] == last[count]:
        count += 1
    shared = first[:count]
    # A folder of a split is no wrapper, even if it is the only one.
    return next((shared[:at] for at, name in enumerate(shared) if name.lower() in splits), shared)


def _parts(names: list[_Name], splits: dict[str, str]) -> dict[str, str]:
    """The part of each outermost folder that is a split."""
    tops = {name[0] for name in names if len(name) > 1}
    parts = {top: splits[top.lower()] for top in tops if top.lower() in splits}
    # A single one beside others that holds no folder is a class, such as the vehicle.
    is_class = len(parts) == 1 < len(tops) and all(len(n) == 2 for n in names if n[0] in parts)
    return {} if is_class else parts


def _check_names(path: str, names: set[_Name]) -> None:
    """Check that folders are text, and told apart by more than case or the form of accents."""
    first: dict[_Name, _Name] = {}
    for name in sorted(names):
        for folders in (name[: depth + 1] for depth in range(len(name))):
            full = "/".join(folders)
            if full != shown(full):
                raise InputError(
                    f"{path}: the name of the folder {shown(full)} is not UTF-8; rename it."
                )
            key = tuple(unicodedata.normalize("NFC", part).lower() for part in folders)
            if (other := first.setdefault(key, folders)) != folders:
                raise InputError(
                    f"{path}: the folders {'/'.join(other)} and {full} differ only in case or in "
                    "the form of accents; merge them, or rename one."
                )


def _one_tree(path: str, entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """The entries with one path to each class, and a remark where its splits had two.

    A class may lie deeper in one split than in another; the deeper folder tells more.
    """
    above: dict[str | int, tuple[str | int, ...]] = {}
    remarks = {}
    in_part: dict[tuple[str | int, str | None], tuple[str | int, ...]] = {}
    for label, part, own in dict.fromkeys((e.label, e.part, e.above) for e in entries):
        known = above.setdefault(label, own)
        longer, shorter = sorted((known, own), key=len, reverse=True)
        if longer[: len(shorter)] != shorter or in_part.setdefault((label, part), own) != own:
            raise InputError(
                f"{path}: the class {label} is under {_path(known)} and under {_path(own)}; rename "
                "one of them, or merge them."
            )
        if known != own:
            remarks[label] = (
                f"the class {label} is under {_path(shorter)} in one split and under "
                f"{_path(longer)} in another; the deeper one counts"
            )
        above[label] = longer
    return [entry._replace(above=above[entry.label]) for entry in entries], list(remarks.values())


def _path(folders: tuple[str | int, ...]) -> str:
    return "/".join(map(str, folders)) or "no folder"
