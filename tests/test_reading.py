"""Each picture of a source is decoded once: the same images and labels whatever the layout."""

import csv
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import own
import pytest
from own import SET, SIZE, Made, made, settings

from treehead.artifacts import InputError
from treehead.data import dataset, decoding, pictures, reading


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The set read from its folders."""
    folder = tmp_path_factory.mktemp("plain")
    return made(folder / "made", settings(own.folders(folder / "given")))


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_images_and_labels_are_those_of_the_pictures(plain: Made):
    for split in ("train", "test"):
        expected = [p for p in SET if (p.part == "test") == (split == "test")]
        images = np.stack([p.image.transpose(2, 0, 1) for p in expected])
        np.testing.assert_array_equal(plain.pixels(split), images, strict=True)
        names = [plain.catalog.names[label] for label in plain.column(split, "label")]
        assert names == [p.label for p in expected]
        assert plain.column(split, "part") == [p.part for p in expected]
        assert plain.column(split, "path") == [p.path for p in expected]
        digests = [dataset.digest(image) for image in images]
        assert plain.column(split, "digest") == digests


@pytest.mark.parametrize("layout", own.LAYOUTS[1:], ids=lambda layout: layout.__name__)
def test_each_layout_gives_the_same_images_and_labels(
    plain: Made, tmp_path: Path, layout: Callable[[Path], Path]
):
    """To the byte: only the places that the table names are others."""
    other = made(tmp_path / "made", settings(layout(tmp_path / "given")))
    assert other.catalog.names == plain.catalog.names == own.CLASSES
    assert other.catalog.counts == plain.catalog.counts == {"train": 12, "val": 3, "test": 4}
    for split in ("train", "test"):
        assert hashed(other.folder / f"{split}.npy") == hashed(plain.folder / f"{split}.npy")
        for name in ("label", "part", "group", "digest"):
            assert other.column(split, name) == plain.column(split, name), name
    assert other.json("statistics") == plain.json("statistics")


def test_the_tree_is_that_of_the_folders(plain: Made):
    assert plain.catalog.above == tuple(own.TREE[label] for label in own.CLASSES)


@pytest.mark.parametrize("layout", [own.listed, own.bare])
def test_the_tree_of_a_list_is_its_column_of_parents(tmp_path: Path, layout):
    found = made(tmp_path / "made", settings(layout(tmp_path / "given"))).catalog
    assert found.above == tuple(own.TREE[label][-1:] for label in own.CLASSES)


def test_a_given_val_is_used_and_a_class_may_be_absent_from_it(plain: Made):
    pixels, fine = plain.part("val", val_fraction=0.5, seed=7)
    expected = own.of("val")
    np.testing.assert_array_equal(
        pixels[:], np.stack([p.image.transpose(2, 0, 1) for p in expected])
    )
    assert [own.CLASSES[label] for label in fine] == [p.label for p in expected]
    assert "beet" not in {p.label for p in expected}
    assert len(plain.part("train")[1]) == 12


def test_mean_and_deviation_are_those_of_all_pixels_of_train(plain: Made):
    """Neither val nor test counts."""
    images = plain.part("train")[0][:] / 255
    found = plain.json("statistics")
    assert found["images"] == 12
    np.testing.assert_allclose(found["mean"], images.mean((0, 2, 3)), atol=6e-6)
    np.testing.assert_allclose(found["std"], images.std((0, 2, 3)), atol=6e-6)
    assert found["per_class"] == [3, 3, 3, 3]


@pytest.mark.parametrize("shade", [0, 100, 255])
def test_a_channel_that_is_the_same_everywhere_is_not_divided_by_zero(tmp_path: Path, shade: int):
    """As the blue of microscopes."""
    shaded = []
    for picture in SET:
        image = picture.image.copy()
        image[:, :, 2] = shade
        shaded.append(picture._replace(image=image))
    source = own.folders(tmp_path / "given", shaded)
    found = made(tmp_path / "made", settings(source)).json("statistics")
    assert found["mean"][2] == round(shade / 255, 5)
    assert found["std"][2] == 1
    assert 0.2 < found["std"][0] < 0.4


def test_what_was_read_is_recorded(plain: Made):
    found = plain.json("provenance")
    assert found["images"] == {"train": 12, "val": 3, "test": 4}
    assert found["broken"] == 0
    assert found["leaks"] == {"identical": 0, "near": 0, "dropped": 0}
    assert found["source"].endswith("given")


def test_the_files_that_name_or_hold_the_pictures_are_recorded_by_hash(tmp_path: Path):
    source = own.bare(tmp_path / "given")
    found = made(tmp_path / "made", settings(source)).json("provenance")
    names = ("classes.csv", "test.txt", "train.txt", "val.txt")
    assert found["sha256"] == {str(source.with_name(n)): hashed(source.with_name(n)) for n in names}


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_pictures_of_any_shape_become_one_size(tmp_path: Path, resize: str):
    shapes = [(5, 9), (20, 8), (8, 8), (40, 30), (1, 3)]
    many = [
        picture._replace(image=own.noise(place, *shapes[place % len(shapes)]))
        for place, picture in enumerate(SET)
    ]
    source = own.folders(tmp_path / "given", many)
    found = made(tmp_path / "made", settings(source, resize=resize))
    expected = [pictures.decode(p.png(), SIZE, resize) for p in many if p.part == "test"]
    np.testing.assert_array_equal(found.pixels("test"), np.stack(expected))


BROKEN = {
    "train/fruit/apple/1.png": b"no picture",
    "train/fruit/pear/0.png": SET[0].png()[:60],
    "test/root/white/leek/0.png": b"",
}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The set in folders, with three broken pictures among the others."""
    folder = own.folders(tmp_path / "given")
    for path, content in BROKEN.items():
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.fault("several broken pictures in a folder", "one sentence and a list of all of them")
def test_all_broken_pictures_are_in_one_report_and_the_run_is_refused(
    damaged: Path, tmp_path: Path
):
    sentence = (
        r"^3 of the pictures can't be decoded, such as train/fruit/apple/1\.png \(.+\); .*/broken"
        r"\.csv lists them\. Replace or remove them, or set dataset\.skip_broken: true to leave "
        r"them out\.$"
    )
    with pytest.raises(InputError, match=sentence):
        made(tmp_path / "made", settings(damaged))
    with open(tmp_path / "made/broken.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "reason"]
    assert {path for path, _ in rows} == set(BROKEN)
    assert all(reason for _, reason in rows)
    left = {path.name for path in (tmp_path / "made").iterdir()}
    assert left == {".made", "broken.csv", "source.json"}, "no output is left behind"


def test_broken_pictures_may_be_left_out_and_the_rows_stay_right(damaged: Path, tmp_path: Path):
    found = made(tmp_path / "made", settings(damaged, skip_broken=True))
    for split in ("train", "test"):
        kept = [p for p in SET if (p.part == "test") == (split == "test") and p.path not in BROKEN]
        assert found.column(split, "path") == [p.path for p in kept]
        np.testing.assert_array_equal(
            found.pixels(split), np.stack([p.image.transpose(2, 0, 1) for p in kept])
        )
        assert [own.CLASSES[at] for at in found.column(split, "label")] == [p.label for p in kept]
    origin = found.json("provenance")
    assert origin["broken"] == 3
    assert origin["images"] == {"train": 10, "val": 3, "test": 3}
    assert dataset.provenance([str(found.folder / "provenance.json")])["broken"] == 3
    train = found.part("train")[0][:] / 255
    np.testing.assert_allclose(found.json("statistics")["mean"], train.mean((0, 2, 3)), atol=6e-6)


def test_the_report_of_broken_pictures_goes_when_there_are_none(damaged: Path, tmp_path: Path):
    made(tmp_path / "made", settings(damaged, skip_broken=True))
    assert (tmp_path / "made/broken.csv").exists()
    own.folders(damaged)
    made(tmp_path / "made", settings(damaged))
    assert not (tmp_path / "made/broken.csv").exists()


def test_a_class_whose_pictures_are_all_broken_is_named(tmp_path: Path):
    folder = own.folders(tmp_path / "given")
    for path in folder.glob("train/**/beet/*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="all pictures of the class 'beet' in train are broken"):
        made(tmp_path / "made", settings(folder, skip_broken=True))
    assert not (tmp_path / "made/train.npy").exists()


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_part_whose_pictures_are_all_broken_is_not_replaced_in_silence(tmp_path: Path, part: str):
    folder = own.folders(tmp_path / "given")
    broken = list(folder.glob(f"{part}*/**/*.png"))
    assert broken
    for path in broken:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=f"all pictures of {part} are broken or left out"):
        made(tmp_path / "made", settings(folder, skip_broken=True))


def test_a_file_name_that_is_no_text_is_read_and_told(tmp_path: Path):
    """Of an old archive, in Latin-1."""
    folder = own.folders(tmp_path / "given")
    odd = bytes(folder / "train/fruit/pear") + b"/p\xe8re.png"
    Path(odd.decode(errors="surrogateescape")).write_bytes(b"broken")
    with pytest.raises(InputError, match="such as train/fruit/pear/p\ufffdre\\.png"):
        made(tmp_path / "made", settings(folder))
    Path(odd.decode(errors="surrogateescape")).write_bytes(own.encoded(own.noise(99)))
    found = made(tmp_path / "made", settings(folder))
    assert "train/fruit/pear/p\ufffdre.png" in found.column("train", "path")


def test_many_pictures_are_decoded_in_two_processes_to_the_same_bytes(tmp_path: Path):
    """With broken ones at the edges of what a process gets at a time."""
    broken = {0, 63, 64, 65, 400, 649}
    contents = [
        b"broken" if place in broken else own.encoded(own.noise(place, 3, 4))
        for place in range(650)
    ]
    chosen = {"image_size": 4, "resize": "crop"}
    files, told = [], []
    for processes in (1, 2):
        path = tmp_path / f"{processes}.npy"
        path.touch()
        how = chosen | {"processes": processes}
        told.append(decoding.decoded(path, iter(contents), 650, how, "reading"))
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert told[0] == told[1]
    assert {place for place, each in enumerate(told[0]) if each.reason} == broken
    expected = [pictures.decode(data, 4, "crop") for data in contents if data != b"broken"]
    np.testing.assert_array_equal(dataset.Pixels(tmp_path / "2.npy")[:], np.stack(expected))


def leaking(tmp_path: Path) -> Path:
    """The set in folders, in which a picture of test is also in train."""
    folder = own.folders(tmp_path / "given")
    shutil.copy(folder / "test/fruit/pear/0.png", folder / "train/fruit/pear/same.png")
    return folder


def test_identical_pictures_of_train_and_test_are_counted_and_listed(tmp_path: Path):
    found = made(tmp_path / "made", settings(leaking(tmp_path)))
    assert found.json("provenance")["leaks"] == {"identical": 1, "near": 0, "dropped": 0}
    with open(found.folder / "leaks.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["train", "test", "kind"],
            ["train/fruit/pear/same.png", "test/fruit/pear/0.png", "identical"],
        ]
    assert len(found.part("train")[1]) == 13


def test_leaks_may_be_dropped_from_train_alone(tmp_path: Path):
    found = made(tmp_path / "made", settings(leaking(tmp_path), drop_leaks=True))
    origin = found.json("provenance")
    assert origin["leaks"] == {"identical": 1, "near": 0, "dropped": 1}
    assert origin["images"] == {"train": 12, "val": 3, "test": 4}
    rows = dict(zip(found.column("train", "path"), found.column("train", "part"), strict=True))
    assert [path for path, part in rows.items() if part == "dropped"] == [
        "train/fruit/pear/same.png"
    ]
    dropped = own.of("test")[1].image.transpose(2, 0, 1)
    assert not (found.part("train")[0][:] == dropped).all((1, 2, 3)).any()
    train = found.part("train")[0][:] / 255
    np.testing.assert_allclose(found.json("statistics")["mean"], train.mean((0, 2, 3)), atol=6e-6)


@pytest.mark.fault("the pictures change while a run goes on", "one sentence")
def test_a_source_that_has_changed_since_the_graph_was_built_is_told(tmp_path: Path):
    source = own.folders(tmp_path / "given")
    known = {"names": ["apple", "beet", "leek", "pear"], "version": "another"}
    outputs = {name: str(tmp_path / file) for name, file in own.OUTPUTS.items()}
    with pytest.raises(InputError, match="has changed since the graph was built; run the command"):
        reading.read({**settings(source), "processes": 1}, known, outputs)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"train_per_class": 3}, "has 4 images of the class 'apple' in train, not 3; fetch it"),
        ({"test_per_class": 2}, "1 images of the class 'apple' in test, not 2; .*test_per_class"),
    ],
)
def test_the_images_of_each_class_are_as_many_as_the_settings_say(
    tmp_path: Path, counts: dict, sentence: str
):
    """Train with val, as CIFAR-100's files have it."""
    with pytest.raises(InputError, match=sentence):
        made(tmp_path / "made", settings(own.folders(tmp_path / "given"), **counts))


@pytest.mark.fault("a disk too small for the data", "one sentence before anything is read")
def test_a_disk_that_is_too_small_is_told_before_anything_is_read(tmp_path: Path, monkeypatch):
    source = own.folders(tmp_path / "given")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    sentence = r"19 images of 8 x 8 pixels take 0\.0 GB, and .* has 0\.0 GB left; lower dataset\.im"
    with pytest.raises(InputError, match=sentence):
        made(tmp_path / "made", settings(source))


def test_reading_again_gives_the_same_bytes(plain: Made, tmp_path: Path):
    source = Path(plain.json("provenance")["source"])
    again = made(tmp_path / "made", settings(source))
    for name in own.OUTPUTS.values():
        assert hashed(again.folder / name) == hashed(plain.folder / name), name


@pytest.mark.fault("a killed run left half files as large as the data", "they are removed")
def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path):
    folder = own.folders(tmp_path / "given")
    half = tmp_path / "made/.train.npy.abcdefg1.part"
    half.parent.mkdir()
    half.write_bytes(b"half")
    made(tmp_path / "made", settings(folder))
    assert not half.exists()
