"""The canonical form: images are read by slices as they were written, and parts are what they say.

A given val is val; else a part of train is, stratified and seeded, or by whole groups.
"""

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from treehead.artifacts import InputError
from treehead.data import dataset
from treehead.data.dataset import Pixels, Row

SIZE = 8
BALANCED = [0, 1, 2] * 4

some_labels = arrays.arrays(np.int64, st.integers(1, 120), elements=st.integers(0, 5))
fractions = st.floats(0.01, 0.5)
seeds = st.integers(0, 2**32 - 1)


def pictures(n: int, size: int = SIZE) -> np.ndarray:
    """Random images (n, 3, size, size) uint8."""
    return np.random.default_rng(n).integers(0, 256, (n, 3, size, size), dtype=np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "train.npy", tmp_path / "train.parquet"


def written(files: tuple[Path, Path], fine: list[int], part: str = "train") -> np.ndarray:
    """Write random images of a part with these labels, and return them."""
    images = pictures(len(fine))
    dataset.write(*files, zip(images, fine, strict=True), part)
    return images


def test_written_images_and_labels_are_read_back(files: tuple[Path, Path]):
    images = written(files, [2, 0, 1, 1, 2])
    np.testing.assert_array_equal(Pixels(files[0])[:], images)
    labels = dataset.labels(files[1])
    assert labels.tolist() == [2, 0, 1, 1, 2]
    assert labels.dtype == np.int64


def test_the_images_are_a_plain_npy_file(files: tuple[Path, Path]):
    """Anyone reads it with numpy, mapped or whole."""
    images = written(files, [0, 1, 2])
    for mode in (None, "r"):
        found = np.load(files[0], mmap_mode=mode, allow_pickle=False)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, images)


def test_the_table_has_a_row_an_image(files: tuple[Path, Path]):
    images = written(files, [1, 0], "test")
    assert pq.read_table(files[1]).schema.equals(dataset.SCHEMA)
    assert pq.read_table(files[1]).to_pylist() == [
        {
            "path": f"test {row}",
            "label": label,
            "part": "test",
            "group": None,
            "digest": dataset.digest(images[row]),
        }
        for row, label in enumerate((1, 0))
    ]


def test_images_of_no_contiguous_memory_are_written_as_they_look(files: tuple[Path, Path]):
    """Such as an image (h, w, 3) whose channels are put first."""
    image = pictures(1)[0]
    shown = image.transpose(1, 2, 0).copy()
    dataset.write(*files, [(shown.transpose(2, 0, 1), 0)], "train")
    np.testing.assert_array_equal(Pixels(files[0])[:], image[None])


def test_the_same_images_are_the_same_bytes(files: tuple[Path, Path], tmp_path: Path):
    written(files, BALANCED)
    again = tmp_path / "again.npy", tmp_path / "again.parquet"
    written(again, BALANCED)
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "asked",
    [
        slice(None),
        slice(3, 7),
        slice(10, 99),
        slice(0, 0),
        slice(None, None, 3),
        np.array([7, 0, 3]),
        np.array([5, 5]),
        np.array([-1]),
        np.array([], dtype=np.int64),
        np.arange(12) % 2 == 0,
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [None, np.array([11, 2, 5, 3, 7, 0, 1, 8])], ids=["all", "some"])
def test_pixels_are_asked_for_as_of_an_array(files: tuple[Path, Path], rows, asked):
    chosen = written(files, BALANCED)[slice(None) if rows is None else rows]
    if isinstance(asked, np.ndarray) and asked.dtype == bool:
        asked = asked[: len(chosen)]
    pixels = Pixels(files[0], rows)
    assert len(pixels) == len(chosen)
    assert pixels.shape == chosen.shape
    found = pixels[asked]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, chosen[asked], strict=True)


def test_only_the_images_that_are_asked_for_are_read(files: tuple[Path, Path]):
    """The file is cut after the third image: the others are there only as long as none is read."""
    images = written(files, BALANCED)
    pixels = Pixels(files[0])
    with open(files[0], "rb+") as file:
        file.truncate(files[0].stat().st_size - 9 * images[0].nbytes)
    np.testing.assert_array_equal(pixels[np.array([2, 0])], images[[2, 0]])
    with pytest.raises(InputError, match=r"train\.npy ends before image 3; delete it and run"):
        pixels[2:4]


def test_an_image_that_changed_is_told_when_it_is_read(files: tuple[Path, Path]):
    images = written(files, BALANCED)
    with open(files[0], "rb+") as file:
        file.seek(-9 * images[0].nbytes, os.SEEK_END)
        file.write(bytes([images[3].flat[0] ^ 1]))
    pixels, _ = dataset.part(*files, "train", {"val_fraction": 0.25, "seed": 0})
    place = pixels._rows.tolist().index(3)
    for asked in (pixels, pickle.loads(pickle.dumps(pixels)), pixels.part(slice(place + 1))):
        with pytest.raises(InputError, match=r"train\.npy: image 3 changed since it was made; del"):
            asked[:]
    others = dataset.pixels(*files)
    np.testing.assert_array_equal(others[:3], images[:3])
    with pytest.raises(InputError, match="image 3 changed"):
        others[:4]


def test_what_is_read_is_a_copy(files: tuple[Path, Path]):
    images = written(files, BALANCED)
    pixels = Pixels(files[0])
    pixels[:][...] = 0
    np.testing.assert_array_equal(pixels[:], images)


def test_pixels_are_given_to_other_processes(files: tuple[Path, Path]):
    images = written(files, BALANCED)
    again = pickle.loads(pickle.dumps(Pixels(files[0], np.array([4, 2]))))
    np.testing.assert_array_equal(again[:], images[[4, 2]])


def test_a_file_of_many_images_is_read_by_slices(files: tuple[Path, Path]):
    """A label that needs two bytes, and more rows than parquet reads at a time."""
    fine = list(range(1000))
    images = pictures(1000, 1)
    dataset.write(*files, zip(images, fine, strict=True), "train")
    assert dataset.labels(files[1]).tolist() == fine
    pixels = Pixels(files[0])
    found = np.concatenate([pixels[start : start + 96] for start in range(0, 1000, 96)])
    np.testing.assert_array_equal(found, images)


@given(fine=some_labels, fraction=fractions, seed=seeds)
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
        else:
            assert in_val == 0, "the only image of a class is trained on"


@given(fine=some_labels, seed=seeds, grouped=st.booleans())
def test_the_same_seed_gives_the_same_split(fine: np.ndarray, seed: int, grouped: bool):
    groups = [f"plant {at // 3}" for at in range(len(fine) if grouped else 0)]
    one, again = (dataset.split(fine, 0.3, seed, groups) for _ in range(2))
    assert one.keys() == again.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])


@pytest.mark.parametrize("groups", [[], [f"plant {at // 2 % 40}" for at in range(100)]])
def test_another_seed_gives_another_split(groups: list[str]):
    fine = np.tile(np.arange(5), 20)
    chosen = [tuple(dataset.split(fine, 0.2, seed, groups)["val"]) for seed in range(20)]
    assert len(set(chosen)) == 20


def test_val_is_not_the_first_images_of_a_class():
    val = dataset.split(np.zeros(100, dtype=np.int64), 0.2, 0)["val"]
    assert set(val) != set(range(20))
    assert set(val) != set(range(80, 100))


@given(data=st.data(), fine=some_labels, fraction=fractions, seed=seeds)
def test_a_group_is_on_one_side(data: st.DataObject, fine: np.ndarray, fraction: float, seed: int):
    """Each class stays in train, and val is nearer to the fraction than without its groups."""
    drawn = data.draw(arrays.arrays(np.int64, len(fine), elements=st.integers(-1, 12)))
    groups = [None if number < 0 else f"plant {number}" for number in drawn]
    parts = dataset.split(fine, fraction, seed, groups)
    assert sorted(np.concatenate([parts["train"], parts["val"]])) == list(range(len(fine)))
    train, val = ({groups[row] for row in parts[name]} - {None} for name in ("train", "val"))
    assert not train & val
    assert set(fine[parts["val"]]) <= set(fine[parts["train"]])
    counts = np.bincount(fine)
    wanted = np.clip(np.rint(fraction * counts), np.minimum(1, counts - 1), counts - 1).clip(0)
    far = np.abs(wanted - np.bincount(fine[parts["val"]], minlength=len(counts))).sum()
    sole = len(val) == 1 and all(groups[row] for row in parts["val"])
    assert far < wanted.sum() or not len(parts["val"]) or sole or all(g is None for g in groups)


def test_groups_of_one_image_are_split_as_images():
    """Then the shares of all classes are the fraction, as without groups."""
    fine = np.repeat(np.arange(4), 50)
    val = dataset.split(fine, 0.2, 0, [f"plant {at}" for at in range(200)])["val"]
    assert np.bincount(fine[val]).tolist() == [10] * 4


def test_many_small_groups_give_about_the_fraction():
    """As the cameras or plants of a real set: here ten images each, of two of the classes."""
    fine = np.concatenate([[plant % 5] * 6 + [(plant + 1) % 5] * 4 for plant in range(100)])
    groups = [f"plant {at // 10}" for at in range(1000)]
    val = dataset.split(fine, 0.2, 0, groups)["val"]
    shares = np.bincount(fine[val], minlength=5) / np.bincount(fine)
    assert (np.abs(shares - 0.2) < 0.05).all()


def table(files: tuple[Path, Path], rows: list[tuple[int, str, str | None]]) -> np.ndarray:
    """Write images whose rows are label, part and group, and return them."""
    images = written(files, [label for label, _, _ in rows])
    full = [
        Row(str(at), label, part, group, dataset.digest(images[at]))
        for at, (label, part, group) in enumerate(rows)
    ]
    dataset.write_table(files[1], full)
    return images


def test_the_parts_are_what_the_split_says(files: tuple[Path, Path]):
    images = written(files, BALANCED)
    settings = {"val_fraction": 0.25, "seed": 3}
    rows = dataset.split(np.array(BALANCED), 0.25, 3)
    for name in ("train", "val"):
        pixels, fine = dataset.part(*files, name, settings)
        np.testing.assert_array_equal(pixels[:], images[rows[name]])
        np.testing.assert_array_equal(fine, np.array(BALANCED)[rows[name]])


def test_test_is_never_split(files: tuple[Path, Path]):
    images = written(files, BALANCED, "test")
    pixels, fine = dataset.part(*files, "test", {})
    np.testing.assert_array_equal(pixels[:], images)
    assert fine.tolist() == BALANCED


def test_a_given_val_is_used_whatever_the_fraction(files: tuple[Path, Path]):
    """It may lack a class, and its rows may stand anywhere."""
    rows = [(0, "val", None), (1, "train", None), (0, "train", None), (0, "val", None)]
    images = table(files, rows)
    for fraction in (0.1, 0.5):
        settings = {"val_fraction": fraction, "seed": 0}
        pixels, fine = dataset.part(*files, "val", settings)
        np.testing.assert_array_equal(pixels[:], images[[0, 3]])
        assert fine.tolist() == [0, 0]
        pixels, fine = dataset.part(*files, "train", settings)
        np.testing.assert_array_equal(pixels[:], images[[1, 2]])
        assert fine.tolist() == [1, 0]


@pytest.mark.parametrize("given_val", [True, False])
def test_what_is_dropped_is_in_no_part(files: tuple[Path, Path], given_val: bool):
    rows = [(label, "train", None) for label in BALANCED]
    rows[4] = (1, "dropped", None)
    rows[7] = (1, "val" if given_val else "train", None)
    images = table(files, rows)
    settings = {"val_fraction": 0.25, "seed": 0}
    found = [
        image.tobytes()
        for name in ("train", "val")
        for image in dataset.part(*files, name, settings)[0][:]
    ]
    expected = [image.tobytes() for row, image in enumerate(images) if row != 4]
    assert sorted(found) == sorted(expected)


def test_val_is_of_whole_groups_if_each_image_has_one(files: tuple[Path, Path]):
    rows = [(at % 2, "train", f"plant {at // 4}") for at in range(40)]
    images = table(files, rows)
    group_of = {image.tobytes(): group for image, (_, _, group) in zip(images, rows, strict=True)}
    sides = [
        {group_of[image.tobytes()] for image in dataset.part(*files, name, settings)[0][:]}
        for settings in [{"val_fraction": 0.2, "seed": 0}]
        for name in ("train", "val")
    ]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 10
    assert len(sides[1]) == 2


def test_of_two_groups_one_is_val(files: tuple[Path, Path]):
    """Though it is half of train: an empty val would choose nothing."""
    rows = [(at % 2, "train", f"camera {at // 6}") for at in range(12)]
    table(files, rows)
    settings = {"val_fraction": 0.1, "seed": 0}
    assert [len(dataset.part(*files, name, settings)[1]) for name in ("train", "val")] == [6, 6]


def test_a_group_that_some_images_lack_counts_for_the_others(files: tuple[Path, Path]):
    """An image without one stands alone."""
    rows = [(0, "train", "plant" if at < 5 else None) for at in range(20)]
    images = table(files, rows)
    own = {image.tobytes() for image in images[:5]}
    for seed in range(10):
        pixels, _ = dataset.part(*files, "val", {"val_fraction": 0.5, "seed": seed})
        assert len(own & {image.tobytes() for image in pixels[:]}) in (0, 5)
        assert 6 <= len(pixels) <= 14


@pytest.mark.parametrize("group", ["one plant", None])
def test_a_val_that_can_not_be_had_is_told(files: tuple[Path, Path], group: str | None):
    table(files, [(label, "train", group and f"{group} {label}") for label in range(3)])
    with pytest.raises(InputError, match=r"train\.parquet has no images for val, since each class"):
        dataset.part(*files, "val", {"val_fraction": 0.5, "seed": 0})


def test_the_first_of_each_class_are_found_where_they_are():
    assert dataset.first_of_each(np.array([1, 0, 1, 2, 0, 1]), 2).tolist() == [1, 4, 0, 2, 3]
