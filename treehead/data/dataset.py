"""Labelled images in parquet, in the layout of the hub's `uoft-cs/cifar100`: read, checked, split.

Columns: `img` = struct{bytes: PNG, path}, `fine_label`, `coarse_label`. No pickle is ever read.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from treehead.artifacts import InputError, replacing

LAYOUT = pa.schema(
    [
        ("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("fine_label", pa.int64()),
        ("coarse_label", pa.int64()),
    ]
)


_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)


def write(path: str | Path, rows: Iterable[tuple[bytes, int, int]]) -> None:
    """Write rows (PNG, fine label, coarse label) in the hub's layout."""
    pngs, fine, coarse = zip(*rows, strict=True)
    table = pa.table(
        {"img": [{"bytes": png} for png in pngs], "fine_label": fine, "coarse_label": coarse},
        schema=LAYOUT,
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="none", store_schema=False)


def labels(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Fine and coarse labels of a file, each int64 (n,)."""
    table = _read(path, ["fine_label", "coarse_label"])
    fine, coarse = (table[name].to_numpy().astype(np.int64) for name in table.column_names)
    return fine, coarse


def images(path: str | Path, size: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Decoded images of a file, uint8 (n, 3, size, size), all of them or those of `rows`."""
    pngs = _column(_read(path, ["img"]), "img", "bytes")
    rows = np.arange(len(pngs)) if rows is None else rows
    for row in rows[:1]:  # a wrong size is found before memory for all of that size is asked for
        _decode(pngs[int(row)].as_py(), size, path, row)
    decoded = np.empty((len(rows), 3, size, size), dtype=np.uint8)
    for position, row in enumerate(rows):
        decoded[position] = _decode(pngs[int(row)].as_py(), size, path, row).transpose(2, 0, 1)
    return decoded


def _decode(png: bytes | None, size: int, path: str | Path, row: int) -> np.ndarray:
    try:
        image = Image.open(io.BytesIO(png or b""))
        if image.size == (size, size):
            return np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path}, row {row}: the image can't be decoded ({type(error).__name__}); "
            "replace or remove that row."
        ) from error
    width, height = image.size
    raise InputError(
        f"{path}, row {row}: the image is {width} x {height} pixels, not {size} x {size}; "
        "set dataset.image_size to the size of your images, one for all of them."
    )


def check(path: str | Path, settings: dict[str, Any], split: str) -> None:
    """Check a whole file, every image and label in it.

    Args:
        path: the parquet file.
        settings: `classes`, `image_size`, and for each split the images of each class that it must
            have, `<split>_per_class`, or None if that is not known.
        split: "train" or "test"; only train must have images of each class.
    """
    fine, coarse = labels(path)
    classes, per_class = settings["classes"], settings[f"{split}_per_class"]
    for name, column in (("fine_label", fine), ("coarse_label", coarse)):
        outside = np.flatnonzero((column < 0) | (column >= classes))
        if len(outside):
            row = outside[0]
            raise InputError(
                f"{path}, row {row}: {name} is {column[row]}, outside 0..{classes - 1}; "
                "correct the row, or set dataset.classes."
            )
    counts = np.bincount(fine, minlength=classes)
    if split == "train" and counts.min() < 2:
        raise InputError(
            f"{path} has {counts.min()} images of class {counts.argmin()}, and train needs two of "
            "each; add some, or set dataset.classes to the number of classes that you have."
        )
    if per_class is not None and (uneven := np.flatnonzero(counts != per_class)).size:
        raise InputError(
            f"{path} has {counts[uneven[0]]} images of class {uneven[0]}, not {per_class}; fetch "
            f"the file again, or set dataset.{split}_per_class to null."
        )
    images(path, settings["image_size"])


def part(path: str | Path, name: str, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, size, size) and fine labels int64 (n,) of "train", "val" or "test".

    Args:
        path: the parquet file of train, or of test.
        name: the part; train and val are parts of one file.
        settings: `image_size`, and but for test the `val_fraction` and the `seed` of the split.
    """
    fine, _ = labels(path)
    rows = np.arange(len(fine))
    if name != "test":
        rows = split(fine, settings["val_fraction"], settings["seed"])[name]
    return images(path, settings["image_size"], rows), fine[rows]


def split(fine: np.ndarray, fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Split the rows of train into "train" and "val", stratified by class.

    Of each class a rounded `fraction` goes to val, at least one image to each side if it has two.

    Args:
        fine: labels (n,).
        fraction: share of val, 0 < fraction < 1.
        seed: seed of the choice.

    Returns:
        Ascending row numbers of each part; together they are 0..n-1.
    """
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(fine), dtype=bool)
    for label in np.unique(fine):
        rows = generator.permutation(np.flatnonzero(fine == label))
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        chosen[rows[:count]] = True
    return {"train": np.flatnonzero(~chosen), "val": np.flatnonzero(chosen)}


def first_of_each(fine: np.ndarray, count: int) -> np.ndarray:
    """Rows of the first `count` images of each class."""
    return np.concatenate([np.flatnonzero(fine == label)[:count] for label in np.unique(fine)])


def _read(path: str | Path, columns: list[str]) -> pa.Table:
    if not Path(path).is_file():
        raise InputError(f"The file {path} does not exist; check dataset.source.")
    try:
        with pq.ParquetFile(path) as file:
            absent = [name for name in LAYOUT.names if name not in file.schema_arrow.names]
            if absent:
                raise InputError(
                    f"{path} has no column {absent[0]}; it needs img (a struct with bytes), "
                    "fine_label and coarse_label, as uoft-cs/cifar100 has them."
                )
            table = file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} is not a complete parquet file ({reason}); download it again."
        ) from error
    for name in columns:
        _check_type(path, name, table.schema.field(name).type)
        if table[name].null_count:
            row = pc.index(table[name].is_null(), True).as_py()
            raise InputError(f"{path}, row {row}: {name} is empty; correct or remove that row.")
    return table


def _check_type(path: str | Path, name: str, kind: pa.DataType) -> None:
    if name == "img":
        field = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
        fits = field >= 0 and any(is_kind(kind[field].type) for is_kind in _BYTES)
    else:
        fits = pa.types.is_integer(kind)
    if not fits:
        wanted = LAYOUT.field(name).type
        raise InputError(f"{path}: the column {name} is {kind}; it must be {wanted}.")


def _column(table: pa.Table, struct: str, field: str) -> pa.Array:
    return pc.struct_field(table[struct].combine_chunks(), field)
