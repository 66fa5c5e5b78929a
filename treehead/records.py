"""The record of each file that a job made: its SHA-256, and those of all that the job read.

The record of `folder/name` is `folder/.made/name.json`, with a SHA-256 of its own. What has no
record is the user's own, or code: it may change, and is told then.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from treehead import artifacts, console
from treehead.artifacts import InputError

_FOLDER = ".made"
# What Snakemake, the logs and an unfinished training say of jobs; no job reads it.
_TOLD = ("logs/", "benchmarks/", "unfinished-")


class _Record(NamedTuple):
    """The record of a file.

    Args:
        name: of the file, so that no record is taken for that of another one.
        sha256: its content's.
        inputs: that of each file with a record that the job read, by its path from the folder.
        given: that of each other file.
    """

    name: str
    sha256: str
    inputs: dict[str, str]
    given: dict[str, str]


@contextmanager
def kept(given: Iterable[str], made: Iterable[str], by_row: Iterable[str] = ()) -> Iterator[None]:
    """Check what a job reads before the body, and record what it made behind it.

    Args:
        given: what it reads.
        made: what it makes.
        by_row: images among `given`, each of which is checked when the job reads it.

    Raises:
        InputError: a file changed since it was made, or while the job ran.
    """
    made = list(made)
    for file in made:
        artifacts.remove_halves(file)
        artifacts.remove_halves(place(file))
    files = [file for file in map(Path, given) if file.is_file()]
    states = {file: _state(file) for file in files}
    own = {file for file in files if place(file).is_file()}
    images = set(map(Path, by_row))
    sums = {
        file: _sum(file, whole=file not in images) if file in own else artifacts.sha256(file)
        for file in files
    }
    yield
    for file, state in states.items():
        if _state(file) != state and not (file.is_file() and artifacts.sha256(file) == sums[file]):
            raise InputError(f"{file} changed while a job read it; run the same command again.")
    for file in map(_real, made):
        read = {os.path.relpath(_real(one), file.parent): one for one in sorted(files)}
        inputs = {path: sums[one] for path, one in read.items() if one in own}
        others = {path: sums[one] for path, one in read.items() if one not in own}
        _write(file, _Record(file.name, artifacts.sha256(file), inputs, others))


def _sum(file: Path, whole: bool) -> str:
    """The SHA-256 in a file's record, by which the file is checked if it is read whole."""
    return _checked(file) if whole else _read(file).sha256


def check(files: Iterable[str | Path]) -> None:
    """Check that those of the files that have a record are as they were made.

    Raises:
        InputError: a file, or its record, changed since it was made.
    """
    for file in map(Path, files):
        if file.is_file() and place(file).is_file():
            _checked(file)


def _checked(file: Path) -> str:
    """The SHA-256 of a file that is as its record says."""
    found = artifacts.sha256(file)
    if found != _read(file).sha256:
        raise InputError(_changed(file))
    return found


class Verified(NamedTuple):
    """What `verify` found.

    Args:
        files: what was checked.
        faults: by file, what is wrong: it or its record changed, or it was made from others than
            are there now.
        edited: files of the user, and code, that changed since they were read.
        absent: what jobs read and is there no more.
        unknown: files of the folder that nothing tells the SHA-256 of.
    """

    files: list[Path]
    faults: dict[Path, str]
    edited: list[Path]
    absent: list[Path]
    unknown: list[Path]


def verify(folder: str | Path) -> Verified:
    """Check the files of a results folder, and all that they were made from.

    A file whose record is lost is checked by the records of what was made from it.

    Raises:
        InputError: the folder has no records.
    """
    there = sorted(path for path in Path(folder).rglob("*") if _is_result(path, Path(folder)))
    records, faults = _chain(map(_real, there))
    if not records and not faults:
        raise InputError(f"{folder} has no files with a record; give the results of a run.")
    told = {file: {record.sha256} for file, record in records.items()}
    given: dict[Path, set[str]] = {}
    for file, record in records.items():
        for source, sha256 in _resolved(file, record.inputs).items():
            if source not in records:
                told.setdefault(source, set()).add(sha256)
        for source, sha256 in _resolved(file, record.given).items():
            given.setdefault(source, set()).add(sha256)
    present = [file for file in dict.fromkeys((*told, *given)) if file.is_file()]
    sums = {
        file: artifacts.sha256(file)
        for file in console.progress(present, "verify", len(present), "files")
    }
    for file in told.keys() & sums.keys():
        if told[file] != {sums[file]}:
            faults.setdefault(file, _changed(file))
        elif file in records and (replaced := _replaced(file, records)):
            faults[file] = (
                f"{shown(file)} was made from another {replaced} than is there now; {_again(file)}."
            )
    return Verified(
        files=[file for file in told if file in sums],
        faults=dict(sorted(faults.items())),
        edited=sorted(file for file in given if file in sums and given[file] != {sums[file]}),
        absent=sorted(file for file in told if file not in sums),
        unknown=[path for path in there if _real(path) not in told and _real(path) not in faults],
    )


def _is_result(path: Path, folder: Path) -> bool:
    """Whether a path in a results folder is a file that a job made, or should have."""
    name = path.relative_to(folder).as_posix()
    hidden = any(part.startswith(".") for part in Path(name).parts)
    return path.is_file() and not hidden and not any(f"/{told}" in f"/{name}" for told in _TOLD)


def _chain(files: Iterable[Path]) -> tuple[dict[Path, _Record], dict[Path, str]]:
    """The records of files, of what they were made from, and so on; and those that are damaged."""
    records, damaged, queue = {}, {}, list(files)
    while queue:
        file = queue.pop()
        if file in records or not place(file).is_file():
            continue
        try:
            records[file] = _read(file)
            queue += _resolved(file, records[file].inputs)
        except InputError as error:
            damaged[file] = str(error)
    return records, damaged


def _replaced(file: Path, records: dict[Path, _Record]) -> str:
    """The names of what was made again with other content after `file` was made; "" if none was."""
    return " and ".join(
        shown(source)
        for source, sha256 in _resolved(file, records[file].inputs).items()
        if source in records and records[source].sha256 != sha256
    )


def _real(file: str | Path) -> Path:
    """A file in its real folder; it may be a link itself, as to a larger disk."""
    return Path(file).parent.resolve() / Path(file).name


def _resolved(file: Path, sums: dict[str, str]) -> dict[Path, str]:
    """What a record of `file` tells of others, by where they are."""
    return {_real(os.path.normpath(file.parent / path)): told for path, told in sums.items()}


def _state(file: Path) -> tuple[int, ...] | None:
    """What differs after a file was written or replaced; None if it is gone."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def place(file: str | Path) -> Path:
    """Where the record of a file is."""
    file = Path(file)
    return file.parent / _FOLDER / f"{file.name}.json"


def _write(file: Path, record: _Record) -> None:
    told = record._asdict()
    artifacts.write_json(place(file), {**told, "record_sha256": _digest(told)})


def _read(file: Path) -> _Record:
    """The record of a file.

    Raises:
        InputError: it is damaged, or that of another file.
    """
    try:
        told: Any = json.loads(place(file).read_bytes())
        digest = told.pop("record_sha256")
        if digest == _digest(told) and told["name"] == file.name:
            return _Record(**told)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        pass
    raise InputError(
        f"{shown(place(file))}, the record of {shown(file)}, is damaged; delete both, and make "
        f"the file again {_with(file)}."
    )


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _changed(file: Path) -> str:
    return f"{shown(file)} changed since it was made; {_again(file)}."


def _again(file: Path) -> str:
    return f"delete it, and make it again {_with(file)}"


def _with(file: Path) -> str:
    command = f"snakemake --cores 4 {shlex.quote(shown(file))}"
    return f"with `{command}` and the configuration of its run"


def shown(file: str | Path) -> str:
    """A path as short as it can be told."""
    return min(str(file), os.path.relpath(file), key=len)
