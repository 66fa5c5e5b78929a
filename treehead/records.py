"""The record of each file that a job made: its SHA-256, and those of the files it was made from.

The record of `folder/name` is `folder/.made/name.json`. A file without one is the user's own.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from treehead import artifacts, console
from treehead.artifacts import InputError

_FOLDER = ".made"
# What Snakemake, the logs and an unfinished training say of jobs; no job reads it.
_TOLD = ("logs/", "benchmarks/", "unfinished-")


@contextmanager
def kept(given: Iterable[str], made: Iterable[str]) -> Iterator[None]:
    """Check what a job reads before the body, and record what it made behind it.

    Raises:
        InputError: a file changed since it was made.
    """
    sums = check(given)
    yield
    for file in map(Path, made):
        folder = file.parent.resolve()
        inputs = {os.path.relpath(Path(one).resolve(), folder): sums[one] for one in sorted(sums)}
        record = {"sha256": artifacts.sha256(file), "inputs": inputs}
        artifacts.write_json(place(file), record)


def check(files: Iterable[str | Path]) -> dict[str, str]:
    """Check that files are as they were made; return the SHA-256 of each that has a record.

    Raises:
        InputError: a file, or its record, changed since it was made.
    """
    sums = {}
    for file in map(str, files):
        if place(file).is_file():
            sums[file] = artifacts.sha256(file)
            if sums[file] != _read(file)["sha256"]:
                raise InputError(_changed(file))
    return sums


class Verified(NamedTuple):
    """What `verify` found.

    Args:
        files: what was checked.
        faults: by file, what is wrong: it changed, or was made from others than are there now.
        unknown: files of the folder that have no record.
    """

    files: list[Path]
    faults: dict[Path, str]
    unknown: list[Path]


def verify(folder: str | Path) -> Verified:
    """Check the files of a results folder, and all that they were made from.

    Raises:
        InputError: it has no records, or one is damaged.
    """
    there = sorted(path for path in Path(folder).rglob("*") if _is_result(path, Path(folder)))
    first = [path for path in there if place(path).is_file()]
    if not first:
        raise InputError(f"{folder} has no files with a record; give the results of a run.")
    records = _chain(first)
    present = [file for file in records if file.is_file()]
    faults = {}
    for file in console.progress(present, "verify", len(present), "files"):
        if artifacts.sha256(file) != records[file]["sha256"]:
            faults[file] = _changed(file)
        elif replaced := _replaced(file, records):
            faults[file] = (
                f"{_shown(file)} was made from another {replaced} than is there now; run the "
                "command that made it again."
            )
    return Verified(present, faults, [path for path in there if path not in first])


def _is_result(path: Path, folder: Path) -> bool:
    """Whether a path in a results folder is a file that a job made, or should have."""
    name = path.relative_to(folder).as_posix()
    hidden = any(part.startswith(".") for part in Path(name).parts)
    return path.is_file() and not hidden and not any(f"/{told}" in f"/{name}" for told in _TOLD)


def _chain(files: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """The records of files, of what they were made from, and so on; files by their real path."""
    records, queue = {}, [file.resolve() for file in files]
    while queue:
        file = queue.pop()
        if file not in records and place(file).is_file():
            records[file] = _read(file)
            queue += [(file.parent / name).resolve() for name in records[file]["inputs"]]
    return records


def _replaced(file: Path, records: dict[Path, dict[str, Any]]) -> str:
    """The names of what was made again with other content after `file` was made; "" if none was."""
    sources = {
        (file.parent / name).resolve(): told for name, told in records[file]["inputs"].items()
    }
    return " and ".join(
        _shown(source)
        for source, sha256 in sources.items()
        if source in records and records[source]["sha256"] != sha256
    )


def place(file: str | Path) -> Path:
    """Where the record of a file is."""
    file = Path(file)
    return file.parent / _FOLDER / f"{file.name}.json"


def _read(file: str | Path) -> dict[str, Any]:
    """The record of a file."""
    record = artifacts.read_json(place(file))
    try:
        if isinstance(record["sha256"], str) and isinstance(record["inputs"], dict):
            return record
    except (KeyError, TypeError):
        pass
    raise InputError(f"{place(file)} is damaged; delete it and {file}, which is made again then.")


def _changed(file: str | Path) -> str:
    return (
        f"{_shown(file)} changed since it was made; delete it, and the same command makes it again."
    )


def _shown(file: str | Path) -> str:
    """A path as short as it can be told."""
    return min(str(file), os.path.relpath(file), key=len)
