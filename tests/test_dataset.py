"""Images and labels come out of parquet as they went in; what is wrong is named by file and row."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from treehead.artifacts import InputError
from treehead.data import dataset

SIZE = 8
KNOWN = {"classes": 3, "image_size": SIZE, "train_per_class": 4, "test_per_class": 4}
UNKNOWN = {**KNOWN, "train_per_class": None, "test_per_class": None}
BALANCED = [0, 1, 2] * 4

some_labels = arrays.arrays(np.int64, st.integers(1, 120), elements=st.integers(0, 5))


def pictures(n: int, size: int = SIZE) -> np.ndarray:
    """Random images (n, 3, size, size) uint8."""
    return np.random.default_rng(n).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


def encoded(image: np.ndarray, format: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).convert(mode).save(file, format)
    return file.getvalue()


def stored(path: Path, fine: list[int], **columns: object) -> Path:
    """A file with these fine labels and random images, and `columns` in place of its own."""
    table = {
        "img": [{"bytes": encoded(image), "path": None} for image in pictures(len(fine))],
        "fine_label": fine,
        "coarse_label": [0] * len(fine),
        **columns,
    }
    pq.write_table(pa.table({key: value for key, value in table.items() if value}), path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.parquet"


def test_written_images_and_labels_are_read_back(path: Path):
    images, fine, coarse = pictures(5), [2, 0, 1, 1, 2], [1, 0, 0, 0, 1]
    dataset.write(path, zip(map(encoded, images), fine, coarse, strict=True))
    np.testing.assert_array_equal(dataset.images(path, SIZE), images)
    for found, expected in zip(dataset.labels(path), (fine, coarse), strict=True):
        assert found.tolist() == expected
        assert found.dtype == np.int64


def test_a_file_is_written_in_the_layout_of_the_hub(path: Path):
    dataset.write(path, [(encoded(pictures(1)[0]), 1, 0)])
    schema = pq.read_schema(path)
    assert schema.names == ["img", "fine_label", "coarse_label"]
    assert schema.field("img").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_chosen_rows_are_read_in_the_order_of_the_choice(path: Path):
    stored(path, BALANCED)
    rows = np.array([7, 0, 3])
    np.testing.assert_array_equal(dataset.images(path, SIZE, rows), pictures(12)[rows])


def test_files_of_many_row_groups_are_read_whole(path: Path):
    stored(path, BALANCED)
    pq.write_table(pq.read_table(path), path, row_group_size=5)
    np.testing.assert_array_equal(dataset.images(path, SIZE), pictures(12))
    assert dataset.labels(path)[0].tolist() == BALANCED
    dataset.check(path, KNOWN, "train")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("P", 1), ("RGBA", 3)])
def test_any_mode_of_png_becomes_rgb(path: Path, mode: str, channels: int):
    image = np.broadcast_to(pictures(1)[0][:channels], (3, SIZE, SIZE)) // 32 * 32
    stored(path, [0], img=[{"bytes": encoded(image, mode=mode), "path": None}])
    decoded = dataset.images(path, SIZE)
    assert decoded.shape == (1, 3, SIZE, SIZE)
    if mode != "P":  # a palette may be of other colours
        np.testing.assert_array_equal(decoded[0], image)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64()])
def test_labels_of_any_integer_type_are_int64(path: Path, kind: pa.DataType):
    """torch takes no other, and a uint8 of class 2 times 100 classes would be 200 at most."""
    stored(path, BALANCED, fine_label=pa.array(BALANCED, kind))
    fine, coarse = dataset.labels(path)
    assert (fine.dtype, coarse.dtype) == (np.int64, np.int64)
    assert fine.tolist() == BALANCED


@pytest.mark.parametrize("settings", [KNOWN, UNKNOWN])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_balanced_file_passes(path: Path, settings: dict, split: str):
    dataset.check(stored(path, BALANCED), settings, split)


def spoiled(replace: Callable[[dict], None]) -> Callable[[Path], Path]:
    """Write a balanced file after a change of its columns."""

    def write(path: Path) -> Path:
        columns = {
            "img": [{"bytes": encoded(image), "path": None} for image in pictures(12)],
            "fine_label": list(BALANCED),
            "coarse_label": [0] * 12,
        }
        replace(columns)
        return stored(path, BALANCED, **columns)

    return write


def at(column: str, row: int, value: object) -> Callable[[dict], None]:
    return lambda columns: columns[column].__setitem__(row, value)


def instead(column: str, values: object) -> Callable[[dict], None]:
    return lambda columns: columns.__setitem__(column, values)


def truncated(path: Path) -> Path:
    path.write_bytes(stored(path, BALANCED).read_bytes()[:-100])
    return path


def overwritten(path: Path) -> Path:
    path.write_bytes(b"not parquet, but a letter to you")
    return path


def of_claimed_size(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels."""
    png = encoded(pictures(1)[0])
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


LARGE = encoded(pictures(1, SIZE + 1)[0])
HALF = encoded(pictures(1)[0])[:60]


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: path, "does not exist; check dataset.source"),
        (truncated, "is not a complete parquet file"),
        (overwritten, "is not a complete parquet file"),
        (spoiled(instead("img", None)), "has no column img"),
        (spoiled(instead("fine_label", None)), "has no column fine_label"),
        (spoiled(instead("coarse_label", None)), "has no column coarse_label"),
        (spoiled(instead("fine_label", list("abcabcabcabc"))), "column fine_label is string"),
        (spoiled(instead("coarse_label", [0.0] * 12)), "column coarse_label is double"),
        (spoiled(instead("img", [b"png"] * 12)), "column img is binary"),
        (spoiled(instead("img", [{"path": "a.png"}] * 12)), "column img is struct<path: string>"),
        (spoiled(instead("img", [{"bytes": "png"}] * 12)), "column img is struct<bytes: string>"),
        (spoiled(at("fine_label", 5, None)), "row 5: fine_label is empty"),
        (spoiled(at("coarse_label", 11, None)), "row 11: coarse_label is empty"),
        (spoiled(at("img", 3, None)), "row 3: img is empty"),
        (spoiled(at("img", 4, {"bytes": None})), "row 4: the image can't be decoded"),
        (spoiled(at("img", 4, {"bytes": b""})), "row 4: the image can't be decoded"),
        (spoiled(at("img", 6, {"bytes": HALF})), "row 6: the image can't be decoded"),
        (spoiled(at("img", 7, {"bytes": b"GIF"})), "row 7: the image can't be decoded"),
        (spoiled(at("img", 8, {"bytes": LARGE})), "row 8: the image is 9 x 9 pixels, not 8 x 8"),
        (spoiled(at("img", 2, {"bytes": of_claimed_size(50_000)})), "row 2: the image"),
        (spoiled(at("fine_label", 9, 3)), r"row 9: fine_label is 3, outside 0\.\.2"),
        (spoiled(at("fine_label", 2, -1)), r"row 2: fine_label is -1, outside 0\.\.2"),
        (spoiled(at("coarse_label", 1, 3)), r"row 1: coarse_label is 3, outside 0\.\.2"),
        (spoiled(at("fine_label", 1, 0)), "has 5 images of class 0, not 4"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_row(path: Path, write, sentence: str):
    with pytest.raises(InputError, match=rf"train\.parquet.*{sentence}"):
        dataset.check(write(path), KNOWN, "train")


def test_the_first_image_is_looked_at_before_memory_for_all_is_asked_for(path: Path):
    stored(path, BALANCED)
    with pytest.raises(InputError, match=r"row 0: the image is 8 x 8 pixels, not 9+ x 9+"):
        dataset.images(path, 9_999_999)


@pytest.mark.parametrize("fine", [[0, 0, 2, 2], [0, 0, 1, 2, 2], [0, 0, 1, 1]])
def test_train_needs_two_images_of_each_class(path: Path, fine: list[int]):
    stored(path, fine)
    with pytest.raises(InputError, match=r"train\.parquet has [01] images of class [12]"):
        dataset.check(path, UNKNOWN, "train")
    dataset.check(path, UNKNOWN, "test")


def test_a_bad_image_that_is_not_asked_for_does_not_stop_a_part(path: Path):
    """But `check` has looked at all of them before."""
    spoiled(at("img", 3, {"bytes": b"GIF"}))(path)
    assert len(dataset.images(path, SIZE, np.array([0, 1, 2]))) == 3
    with pytest.raises(InputError, match="row 3"):
        dataset.images(path, SIZE, np.array([2, 3]))


@given(fine=some_labels, fraction=st.floats(0.01, 0.5), seed=st.integers(0, 2**32 - 1))
def test_train_and_val_are_a_stratified_partition(fine: np.ndarray, fraction: float, seed: int):
    parts = dataset.split(fine, fraction, seed)
    assert sorted(np.concatenate([parts["train"], parts["val"]])) == list(range(len(fine)))
    for rows in parts.values():
        assert (np.diff(rows) > 0).all()
    for label in np.unique(fine):
        count, in_val = (fine == label).sum(), (fine[parts["val"]] == label).sum()
        assert abs(in_val - fraction * count) <= 1
        if count > 1:
            assert 1 <= in_val < count, "a class with two images is on both sides"


@given(fine=some_labels, seed=st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_split(fine: np.ndarray, seed: int):
    one, again = dataset.split(fine, 0.3, seed), dataset.split(fine, 0.3, seed)
    assert one.keys() == again.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])


def test_another_seed_gives_another_split():
    fine = np.tile(np.arange(5), 20)
    chosen = [tuple(dataset.split(fine, 0.2, seed)["val"]) for seed in range(20)]
    assert len(set(chosen)) == 20


def test_val_is_not_the_first_images_of_a_class():
    val = dataset.split(np.zeros(100, dtype=np.int64), 0.2, 0)["val"]
    assert set(val) != set(range(20))
    assert set(val) != set(range(80, 100))


def test_the_parts_are_what_the_split_says(path: Path):
    stored(path, BALANCED)
    settings = {"image_size": SIZE, "val_fraction": 0.25, "seed": 3}
    rows = dataset.split(np.array(BALANCED), 0.25, 3)
    for name in ("train", "val"):
        images, fine = dataset.part(path, name, settings)
        np.testing.assert_array_equal(images, pictures(12)[rows[name]])
        np.testing.assert_array_equal(fine, np.array(BALANCED)[rows[name]])


def test_test_is_never_split(path: Path):
    images, fine = dataset.part(stored(path, BALANCED), "test", {"image_size": SIZE})
    np.testing.assert_array_equal(images, pictures(12))
    assert fine.tolist() == BALANCED
