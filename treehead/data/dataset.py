"""The canonical form of a data set: decoded images, read by slices, and a table of their labels.

For each of train and test, `<split>.npy` holds the images, uint8 (n, 3, size, size), and
`<split>.parquet` a row for each of them: where it is from, its label, the part that it belongs to,
its group, and a digest of its pixels.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from treehead.artifacts import InputError, read_json, replacing

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.int64()),
        # train, val or test; "dropped" is in none of them. Without any val, a part of train is val.
        ("part", pa.string()),
        ("group", pa.string()),
        ("digest", pa.string()),
    ]
)


class Row(NamedTuple):
    """A row of the table, as `SCHEMA` has it."""

    path: str
    label: int
    part: str
    group: str | None
    digest: str


class Pixels:
    """Images of a file, uint8 (n, 3, size, size), of which only those asked for are read.

    They are read, not mapped: mapped pages would count as memory of the process.

    Args:
        path: an .npy file.
        rows: which of its images, int64 (n,); without them all.
        digests: of all images of the file; each that is read is checked by its own.
    """

    def __init__(
        self, path: str | Path, rows: np.ndarray | None = None, digests: np.ndarray | None = None
    ) -> None:
        mapped = np.load(path, mmap_mode="r")
        self._path, self._first, self._digests = path, mapped.offset, digests
        self._rows = np.arange(len(mapped)) if rows is None else rows
        self.shape = (len(self._rows), *mapped.shape[1:])
        # Kept open, so that a file that replaces it is not read in the middle of a training.
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115

    def __reduce__(self) -> tuple[Any, ...]:
        return Pixels, (self._path, self._rows, self._digests)

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, places: slice) -> "Pixels":
        """Some of the images, of which none is read yet."""
        return Pixels(self._path, self._rows[places], self._digests)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        rows = self._rows[places]
        images = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        size = int(np.prod(self.shape[1:]))
        for image, row in zip(images, rows.tolist(), strict=True):
            if os.preadv(self._file.fileno(), [image], self._first + row * size) < size:
                raise InputError(f"{self._path} ends before image {row}; delete it and run again.")
            if self._digests is not None and digest(image).encode() != self._digests[row]:
                raise InputError(
                    f"{self._path}: image {row} changed since it was made; delete the file and run "
                    "again."
                )
        return images


def digest(image: np.ndarray) -> str:
    """Hash of a decoded image: of its shape and its pixels."""
    # 128 bits at memory speed: a cryptographic hash takes as long as decoding a small JPEG.
    found = xxhash.xxh3_128(",".join(map(str, image.shape)).encode() + b":")
    found.update(np.ascontiguousarray(image))
    return found.hexdigest()


def write_header(path: str | Path, n: int, size: int) -> int:
    """Write the header of an .npy file of n images, and return where the first one begins.

    The header has room for any number, so that it can be written again.
    """
    with open(path, "rb+") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (n, 3, size, size)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()


def write(
    images: str | Path, table: str | Path, examples: Iterable[tuple[np.ndarray, int]], part: str
) -> None:
    """Write the images uint8 (3, size, size) and labels of a part, one after the other."""
    rows: list[Row] = []
    with replacing(images) as temporary:
        with open(temporary, "rb+") as file:
            for image, label in examples:
                if not rows:
                    file.seek(write_header(temporary, 0, image.shape[-1]))
                file.write(np.ascontiguousarray(image))
                rows.append(Row(f"{part} {len(rows)}", label, part, None, digest(image)))
        write_header(temporary, len(rows), image.shape[-1])
    write_table(table, rows)


def write_table(path: str | Path, rows: list[Row]) -> None:
    """Write the table of a split."""
    columns = dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True))
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary, store_schema=False)


def pixels(images: str | Path, table: str | Path, rows: np.ndarray | None = None) -> Pixels:
    """Images of a file, or some rows of them, checked by the digests in their table as read."""
    digests = _columns(table, "digest")["digest"].to_numpy(zero_copy_only=False)
    return Pixels(images, rows, digests.astype("S32"))


def labels(path: str | Path) -> np.ndarray:
    """The label of each row of a table, int64 (n,)."""
    return _columns(path, "label")["label"].to_numpy()


def _columns(path: str | Path, *names: str) -> pa.Table:
    """Columns of a table, read in this thread: pyarrow waits forever for one that can't start."""
    with pq.ParquetFile(path) as file:
        return file.read(names, use_threads=False)


def part(
    images: str | Path, table: str | Path, name: str, settings: dict[str, Any]
) -> tuple[Pixels, np.ndarray]:
    """Images and labels int64 (n,) of "train", "val" or "test".

    Args:
        images: the images of train, or of test.
        table: their table.
        name: the part; train and val are parts of one file.
        settings: but for test the `val_fraction` and the `seed` of the split, if val is not given.
    """
    columns = _columns(table, "label", "part", "group")
    fine, own, group = (column.to_numpy(zero_copy_only=False) for column in columns.columns)
    if name == "test":
        rows = np.flatnonzero(own == "test")
    elif (own == "val").any():
        rows = np.flatnonzero(own == name)
    else:
        undecided = np.flatnonzero(own == "train")
        parts = split(
            fine[undecided], settings["val_fraction"], settings["seed"], group[undecided].tolist()
        )
        rows = undecided[parts[name]]
    if not len(rows):
        raise InputError(
            f"{table} has no images for {name}, since each class of train is a single picture or a "
            "single group; add pictures, or give a val split."
        )
    return pixels(images, table, rows), fine[rows]


def split(
    fine: np.ndarray, fraction: float, seed: int, groups: Sequence[str | None] = ()
) -> dict[str, np.ndarray]:
    """Split the rows of train into "train" and "val", stratified by class.

    Of each class a rounded `fraction` goes to val, at least one image to each side if it has two.

    Args:
        fine: labels (n,).
        fraction: share of val, 0 < fraction < 1.
        seed: seed of the choice.
        groups: the group of each image, None for one that stands alone. A group stays on one side,
            so that the shares of the classes are only about `fraction`.

    Returns:
        Ascending row numbers of each part; together they are 0..n-1.
    """
    generator = np.random.default_rng(seed)
    if any(group is not None for group in groups):
        chosen = _whole_groups(fine, fraction, generator, groups)
        return {"train": np.flatnonzero(~chosen), "val": np.flatnonzero(chosen)}
    chosen = np.zeros(len(fine), dtype=bool)
    for label in np.unique(fine):
        rows = generator.permutation(np.flatnonzero(fine == label))
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        chosen[rows[:count]] = True
    return {"train": np.flatnonzero(~chosen), "val": np.flatnonzero(chosen)}


def _whole_groups(
    fine: np.ndarray, fraction: float, generator: np.random.Generator, groups: Sequence[str | None]
) -> np.ndarray:
    """Which rows (n,) go to val: groups in random order, if they bring the classes nearer to it.

    If none does, as of two large groups, it is the one that does the least harm.
    """
    names, group_of = np.unique(
        [f"image {row}" if one is None else f"group {one}" for row, one in enumerate(groups)],
        return_inverse=True,
    )
    counts = np.zeros((len(names), fine.max() + 1), dtype=np.int64)
    np.add.at(counts, (group_of, fine), 1)
    total = counts.sum(0)
    wanted = np.minimum(np.maximum(1, np.rint(fraction * total)), np.maximum(total - 1, 0))
    taken, chosen = np.zeros_like(total), np.zeros(len(names), dtype=bool)

    def left(group: int) -> bool:
        """Whether each class of a group stays in train without it."""
        return bool((taken + counts[group] < total)[counts[group] > 0].all())

    def distance(more: np.ndarray | int) -> int:
        return np.abs(wanted - taken - more).sum()

    order = generator.permutation(len(names))
    for group in order:
        if left(group) and distance(counts[group]) < distance(0):
            chosen[group] = True
            taken += counts[group]
    if not chosen.any() and (possible := [group for group in order if left(group)]):
        chosen[min(possible, key=lambda group: distance(counts[group]))] = True
    return chosen[group_of]


def provenance(files: list[str]) -> dict[str, Any]:
    """What metrics say of how the images were read: how many of each part, broken ones, leaks.

    Args:
        files: what `reading.read` wrote of them; none of drawn images.
    """
    found = read_json(files[0]) if files else {}
    return {key: found[key] for key in ("images", "broken", "leaks") if key in found}


def first_of_each(fine: np.ndarray, count: int) -> np.ndarray:
    """Rows of the first `count` images of each class."""
    return np.concatenate([np.flatnonzero(fine == label)[:count] for label in np.unique(fine)])
