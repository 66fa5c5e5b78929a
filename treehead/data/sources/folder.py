"""Pictures in folders: `<split>/<group>/.../<class>/<picture>`, with or without splits."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from treehead.artifacts import InputError
from treehead.data import pictures
from treehead.data.sources.source import PARTS, Entry, Source

# Other files that lie among pictures are not worth a word.
_QUIET = {"", ".db", ".ini", ".ds_store"}


def look(path: str) -> Source:
    """List the pictures of a folder.

    The folder that holds a picture is its class, those above are its tree.
    """
    skipped: Counter[str] = Counter()
    found = sorted(_files(Path(path), skipped))
    if not found:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in skipped.most_common(5))
        raise InputError(
            f"The folder {path} of dataset.source holds no picture ({kinds or 'it is empty'}); "
            "give a folder with a folder of pictures for each class."
        )
    root = _common(found)
    inside = [name[len(root) :] for name in found]
    splits = {name[0] for name in inside if len(name) > 1}
    parts = {split: PARTS[split.lower()] for split in splits if split.lower() in PARTS}
    remarks = []
    if parts and (others := splits - parts.keys()):
        outside = [name for name in inside if name[0] in others]
        skipped["outside of the splits"] += len(outside)
        remarks.append(f"{', '.join(sorted(others))} are beside the splits and are left out")
        kept = [name for name in inside if name[0] in parts]
        inside = kept
    entries = []
    for name in inside:
        folders = name[1:-1] if parts else name[:-1]
        if not folders:
            raise InputError(
                f"{Path(path, *root, *name)} is in no folder of a class; move it into one."
            )
        part = parts[name[0]] if parts else None
        entries.append(Entry("/".join((*root, *name)), folders[-1], part, folders[:-1]))
    _check_names(path, entries)
    entries, told = _one_tree(path, entries)

    def read(places: list[int]) -> Iterator[Path]:
        return (Path(path, entries[place].place) for place in places)

    return Source(
        entries,
        read,
        skipped={key: count for key, count in skipped.items() if key not in _QUIET},
        remarks=(*remarks, *told),
        version=version(path, [entry.place for entry in entries]),
    )


def version(root: str, names: list[str]) -> str:
    """A digest of the names, sizes and dates of files below `root`."""
    digest = hashlib.sha256()
    for name in names:
        status = os.stat(os.path.join(root, name))
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


def _files(root: Path, skipped: Counter[str]) -> Iterator[tuple[str, ...]]:
    """The path of each picture below `root`, in parts; hidden files are left out."""
    seen: set[tuple[int, int]] = set()
    todo: list[tuple[str, ...]] = [()]
    for folder in todo:
        path = os.path.join(root, *folder)
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:
            raise InputError(f"{path} is a link to a folder that is read already; remove the link.")
        seen.add((status.st_dev, status.st_ino))
        for entry in os.scandir(path):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                todo.append((*folder, entry.name))
            elif (suffix := os.path.splitext(entry.name)[1].lower()) in pictures.EXTENSIONS:
                yield (*folder, entry.name)
            else:
                skipped[suffix] += 1


def _common(names: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders around all pictures, in which there is nothing to tell apart."""
    first, last = names[0][:-1], names[-1][:-1]
    count = 0
    while count < min(len(first), len(last)) - 1 and first[count] == last[count]:
        count += 1
    shared = first[:count]
    # A folder of a split is no wrapper, even if it is the only one.
    for place, name in enumerate(shared):
        if name.lower() in PARTS:
            return shared[:place]
    return shared


def _check_names(path: str, entries: list[Entry]) -> None:
    """Check that the folders of classes are told apart by more than case, and are text."""
    cased: dict[tuple[str, ...], tuple[str, ...]] = {}
    for full in dict.fromkeys((*entry.above, str(entry.label)) for entry in entries):
        try:
            "/".join(full).encode()
        except UnicodeEncodeError:
            shown = os.fsencode("/".join(full)).decode(errors="replace")
            raise InputError(
                f"{path}: the name of the folder {shown} is not UTF-8; rename it."
            ) from None
        other = cased.setdefault(tuple(part.lower() for part in full), full)
        if other != full:
            raise InputError(
                f"{path}: the folders {'/'.join(other)} and {'/'.join(full)} differ only in case; "
                "merge or rename them."
            )


def _one_tree(path: str, entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """The entries with one path to each class, and a remark where its splits had two.

    A class may lie deeper in one split than in another; the deeper folder tells more.
    """
    above: dict[str | int, tuple[str | int, ...]] = {}
    remarks = {}
    for label, own in dict.fromkeys((entry.label, entry.above) for entry in entries):
        known = above.setdefault(label, own)
        longer, shorter = sorted((known, own), key=len, reverse=True)
        if longer[: len(shorter)] != shorter:
            raise InputError(
                f"{path}: the class {label} is under {'/'.join(map(str, known)) or 'no folder'} "
                f"and under {'/'.join(map(str, own))}; rename one of them, or merge them."
            )
        if known != own:
            remarks[label] = (
                f"the class {label} is under {'/'.join(map(str, shorter)) or 'no folder'} in one "
                f"place and under {'/'.join(map(str, longer))} in another; the deeper one counts"
            )
        above[label] = longer
    return [entry._replace(above=above[entry.label]) for entry in entries], list(remarks.values())
