"""Pictures in folders: the folder around them is their class, and those above it are its tree."""

import os
from pathlib import Path

import pytest

from treehead.artifacts import InputError
from treehead.data.sources import folder
from treehead.data.sources.source import Source


def laid(root: Path, *names: str) -> str:
    """A folder with empty files of these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(root)


def looked(root: Path, *names: str, **splits: str) -> Source:
    return folder.look(laid(root, *names), splits)


def told(source: Source) -> list[tuple]:
    """Part, groups and class of each picture."""
    return [(entry.part, "/".join(entry.above), entry.label) for entry in source.entries]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/1.jpg", (None, "", "cat")),
        ("pets/cat/1.jpg", (None, "pets", "cat")),
        ("animals/pets/cat/1.jpg", (None, "animals/pets", "cat")),
        ("train/cat/1.jpg", ("train", "", "cat")),
        ("training/pets/cat/1.jpg", ("train", "pets", "cat")),
        ("Train/animals/pets/cat/1.jpg", ("train", "animals/pets", "cat")),
        ("val/cat/1.jpg", ("val", "", "cat")),
        ("valid/cat/1.jpg", ("val", "", "cat")),
        ("VALIDATION/cat/1.jpg", ("val", "", "cat")),
        ("dev/cat/1.jpg", ("val", "", "cat")),
        ("test/cat/1.jpg", ("test", "", "cat")),
        ("testing/cat/1.jpg", ("test", "", "cat")),
    ],
)
def test_folders_say_the_split_the_groups_and_the_class(tmp_path: Path, name: str, expected: tuple):
    top = name.partition("/")[0]
    is_split = expected[0] is not None
    other = f"{top}/dog/1.jpg" if is_split else "dog/1.jpg"
    assert expected in told(looked(tmp_path, name, other))


def test_pictures_are_in_the_order_of_their_paths_and_are_read_in_it(tmp_path: Path):
    names = ["b/2.png", "b/10.png", "a c/1.png", "a/1.png"]
    source = looked(tmp_path, *names)
    assert [entry.place for entry in source.entries] == [
        "a/1.png",
        "a c/1.png",
        "b/10.png",
        "b/2.png",
    ]
    assert list(source.read([1, 3])) == [tmp_path / "a c/1.png", tmp_path / "b/2.png"]


def test_folders_around_everything_are_no_groups(tmp_path: Path):
    names = ("my data/pictures/cat/1.png", "my data/pictures/dog/1.png")
    assert told(looked(tmp_path, *names)) == [(None, "", "cat"), (None, "", "dog")]


@pytest.mark.parametrize("wrapper", ["", "data/", "a/b/"])
def test_a_split_is_found_below_what_is_around_it(tmp_path: Path, wrapper: str):
    names = (f"{wrapper}train/cat/1.png", f"{wrapper}train/dog/1.png")
    assert told(looked(tmp_path, *names)) == [("train", "", "cat"), ("train", "", "dog")]
    laid(tmp_path, f"{wrapper}test/dog/1.png")
    assert ("test", "", "dog") in told(folder.look(str(tmp_path), {}))


def test_one_class_alone_is_a_class_and_no_wrapper(tmp_path: Path):
    assert told(looked(tmp_path, "cat/1.png", "cat/2.png")) == [(None, "", "cat")] * 2


def test_a_class_may_be_called_as_a_split(tmp_path: Path):
    """A train is a vehicle."""
    names = ("bus/1.png", "plane/1.png", "train/1.png")
    assert told(looked(tmp_path / "flat", *names)) == [(None, "", n[:-6]) for n in names]
    names = ("test/rail/train/1.png", "train/rail/train/1.png", "train/road/bus/1.png")
    assert told(looked(tmp_path / "deep", *names)) == [
        ("test", "rail", "train"),
        ("train", "rail", "train"),
        ("train", "road", "bus"),
    ]


def test_splits_are_named_by_the_setting(tmp_path: Path):
    names = ("Fit/cat/1.png", "holdout/cat/1.png", "train/cat/1.png")
    source = looked(tmp_path, *names, train="fit", test="holdout")
    assert told(source) == [("train", "", "cat"), ("test", "", "cat")]
    assert source.skipped == {"in train, which is beside the splits": 1}


def test_what_is_beside_the_splits_is_left_out_and_counted(tmp_path: Path):
    names = ("train/cat/1.png", "test/cat/1.png", "icons/cat/1.png", "icons/2.png")
    source = looked(tmp_path, *names)
    assert told(source) == [("test", "", "cat"), ("train", "", "cat")]
    assert source.skipped == {"in icons, which is beside the splits": 2}


def test_other_files_are_left_out_and_counted_by_extension(tmp_path: Path):
    names = ("cat/1.jpg", "cat/2.JPEG", "cat/clip.mp4", "cat/a.txt", "dog/b.txt", "dog/1.webp")
    source = looked(tmp_path, *names, "README", "cat/Thumbs.db", "cat/.hidden.png", ".git/x.png")
    assert [entry.place for entry in source.entries] == ["cat/1.jpg", "cat/2.JPEG", "dog/1.webp"]
    assert source.skipped == {".mp4": 1, ".txt": 2, "without extension": 1}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], r"holds no picture \(it is empty\); give a folder with a folder of pictures for each"),
        (["a/1.mp4", "a/2.mp4", "b.txt"], r"holds no picture \(2 \.mp4, 1 \.txt\); give"),
    ],
)
def test_a_folder_with_no_picture_is_told(tmp_path: Path, names: list[str], sentence: str):
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, *names)


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["cat/1.png", "logo.png"], "logo.png"),
        (["train/cat/1.png", "train/2.png"], "train/2.png"),
        (["train/1.png", "test/1.png"], "test/1.png"),
        (["1.png", "2.png"], "1.png"),
    ],
)
def test_a_picture_in_no_folder_of_a_class_is_named(tmp_path: Path, names: list[str], odd: str):
    with pytest.raises(InputError, match=rf": {odd} is in no folder of a class; move it into one"):
        looked(tmp_path, *names)


def test_a_class_under_two_parents_is_told(tmp_path: Path):
    sentence = "the class plum is under fruit and under tree; rename one of them, or merge them"
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, "fruit/plum/1.png", "tree/plum/1.png")


def test_a_class_with_and_without_a_parent_in_one_split_is_told(tmp_path: Path):
    sentence = "the class plum is under fruit and under no folder; rename"
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, "train/fruit/plum/1.png", "train/plum/1.png", "train/fig/1.png")


def test_a_class_may_lie_deeper_in_one_split(tmp_path: Path):
    """As one of the Grocery Store data set."""
    names = ("test/plum/1.png", "train/fruit/plum/1.png", "train/fruit/fig/1.png")
    source = looked(tmp_path, *names)
    assert told(source) == [
        ("test", "fruit", "plum"),
        ("train", "fruit", "fig"),
        ("train", "fruit", "plum"),
    ]
    assert source.remarks == (
        "the class plum is under no folder in one split and under fruit in another; the deeper "
        "one counts",
    )


@pytest.mark.parametrize(
    ("names", "two"),
    [
        (["Cat/1.png", "cat/1.png"], "Cat and cat"),
        (["train/cat/1.png", "test/Cat/1.png"], "Cat and cat"),
        (["Pets/cat/1.png", "pets/dog/1.png"], "Pets and pets"),
        (["train/pets/cat/1.png", "test/PETS/cat/1.png"], "PETS and pets"),
        (["pets/Cat/1.png", "wild/cat/1.png"], "Cat and cat"),
        (["Train/cat/1.png", "train/dog/1.png"], "Train and train"),
        (["caf\u00e9/1.png", "cafe\u0301/1.png"], "cafe\u0301 and caf\u00e9"),
    ],
)
def test_names_that_differ_only_in_case_or_accents_are_told(
    tmp_path: Path, names: list[str], two: str
):
    """As the same folder is called on two systems."""
    with pytest.raises(InputError, match=f"folders {two} differ only in case or in the form of a"):
        looked(tmp_path, *names)


def test_a_parent_may_be_called_as_its_class(tmp_path: Path):
    names = ("melon/Melon/1.png", "onion/Onion/1.png")
    assert told(looked(tmp_path, *names)) == [(None, "melon", "Melon"), (None, "onion", "Onion")]


def text(name: bytes) -> str:
    return os.fsdecode(name)


def test_a_folder_whose_name_is_not_utf_8_is_told(tmp_path: Path):
    sentence = "the name of the folder P\ufffdre is not UTF-8; rename it"
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, text(b"P\xe8re/1.png"), "cat/1.png")


@pytest.mark.fault("a file name that is not UTF-8", "it is read, and shown as text")
def test_a_file_whose_name_is_not_utf_8_is_read_and_shown_as_text(tmp_path: Path):
    names = (text(b"cat/\xe8.png"), text(b"cat/\xe9.png"), "dog/1.png", text(b"dog/x.\xe8"))
    source = looked(tmp_path, *names)
    assert [entry.place for entry in source.entries][:2] == ["cat/\ufffd.png"] * 2
    assert sorted(source.read([0, 1])) == sorted(tmp_path / name for name in names[:2])
    assert source.skipped == {".\ufffd": 1}


def test_very_long_names_are_read(tmp_path: Path):
    long = "x" * 255
    source = looked(tmp_path, f"{long}/{'y' * 251}.png", "cat/1.png")
    assert told(source) == [(None, "", "cat"), (None, "", long)]


@pytest.mark.fault("a path that is too long for the system", "one sentence")
def test_a_path_that_is_too_long_for_the_system_is_told(tmp_path: Path):
    here = os.getcwd()
    try:  # only from within can such a path be made
        os.chdir(tmp_path)
        for _ in range(20):
            os.mkdir("x" * 250)
            os.chdir("x" * 250)
        Path("1.png").touch()
    finally:
        os.chdir(here)
    with pytest.raises(
        InputError, match=r"x+ can't be read \(File name too long\); rename or move"
    ):
        folder.look(str(tmp_path), {})


@pytest.mark.fault("a link to a folder around itself in the data", "one sentence")
def test_a_link_to_a_folder_around_itself_is_told(tmp_path: Path):
    laid(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "dog/again").symlink_to(tmp_path)
    with pytest.raises(InputError, match="dog/again is a link to a folder that is read already"):
        folder.look(str(tmp_path), {})


@pytest.mark.fault("a link to itself or to nothing in the data", "one sentence")
def test_a_link_to_itself_or_to_nothing_is_told(tmp_path: Path):
    laid(tmp_path, "cat/1.png", "dog/1.png")
    link = tmp_path / "dog/2.png"
    link.symlink_to(link)
    with pytest.raises(InputError, match=r"dog/2\.png is a link to nothing; put the file where"):
        folder.look(str(tmp_path), {})
    link.unlink()
    link.symlink_to("absent.png")
    with pytest.raises(InputError, match=r"dog/2\.png is a link to nothing"):
        folder.look(str(tmp_path), {})


def test_links_to_pictures_and_folders_are_followed(tmp_path: Path):
    laid(tmp_path / "elsewhere", "cat/1.png", "2.png")
    laid(tmp_path / "set", "dog/1.png")
    (tmp_path / "set/cat").symlink_to(tmp_path / "elsewhere/cat")
    (tmp_path / "set/dog/2.png").symlink_to("../../elsewhere/2.png")
    assert [entry.place for entry in folder.look(str(tmp_path / "set"), {}).entries] == [
        "cat/1.png",
        "dog/1.png",
        "dog/2.png",
    ]


def test_another_picture_has_another_version(tmp_path: Path):
    """The graph sees it: a file that is new, gone, renamed, larger or later."""
    path = Path(laid(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png"))

    def version() -> str:
        return folder.look(str(path), {}).version

    seen = [version()]
    assert version() == seen[0]
    (path / "cat/1.png").write_bytes(b"x")
    seen.append(version())
    os.utime(path / "cat/1.png", (5, 5))
    seen.append(version())
    (path / "cat/2.png").rename(path / "cat/3.png")
    seen.append(version())
    (path / "dog/2.png").touch()
    seen.append(version())
    (path / "cat/3.png").unlink()
    seen.append(version())
    assert len(set(seen)) == len(seen)
