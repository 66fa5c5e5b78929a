"""Tables hold pictures or their paths beside labels, with or without the types of the hub."""

import json
from pathlib import Path
from typing import Any

import own
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own import CLASSES, Picture, of

from treehead.artifacts import InputError
from treehead.data.sources import tables
from treehead.data.sources.source import Source

PLAIN = {"columns": {}, "splits": {}}


def looked(*files: Path, **settings: dict) -> Source:
    return tables.look(dict.fromkeys(map(str, files)), PLAIN | settings)


def stored(path: Path, columns: dict[str, Any] | pa.Table) -> Path:
    """A parquet file with these columns."""
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    return path


def three(**columns: Any) -> dict[str, Any]:
    """Three pictures in plain bytes with labels, and `columns` in place of or beside these."""
    return {"image": [p.png() for p in of("train")[:3]], "label": [0, 1, 1]} | columns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.parquet"


def test_rows_are_pictures_with_their_labels_in_their_order(path: Path):
    source = looked(stored(path, three()))
    assert [(e.place, e.label, e.part, e.above, e.group) for e in source.entries] == [
        (f"{path}, row {row}", label, None, (), None) for row, label in enumerate((0, 1, 1))
    ]
    assert list(source.read([0, 2])) == [of("train")[0].png(), of("train")[2].png()]
    assert source.files == (str(path),)
    assert source.version is None, "the graph sees the file itself"


def test_many_row_groups_and_files_are_read_in_their_order(tmp_path: Path):
    many = [Picture("", "", (), "x", own.noise(at, 2, 2)) for at in range(700)]
    whole = own.table(many, Picture.png)
    one, two = (stored(tmp_path / f"{at}.parquet", whole.slice(350 * at, 350)) for at in (0, 1))
    pq.write_table(whole.slice(0, 350), one, row_group_size=100)
    source = looked(one, two)
    wanted = [0, 99, 100, 255, 256, 349, 350, 699]
    assert list(source.read(wanted)) == [many[place].png() for place in wanted]
    assert list(source.read([699])) == [many[699].png()]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64()])
def test_labels_of_any_whole_type_are_numbers(path: Path, kind: pa.DataType):
    source = looked(stored(path, three(label=pa.array([0, 1, 100], kind))))
    assert [entry.label for entry in source.entries] == [0, 1, 100]


NAMES = pa.array(["a", "b", "a"])


@pytest.mark.parametrize("names", [NAMES, NAMES.cast(pa.large_string()), NAMES.dictionary_encode()])
def test_labels_of_any_text_type_are_names(path: Path, names: pa.Array):
    source = looked(stored(path, three(label=names)))
    assert [entry.label for entry in source.entries] == ["a", "b", "a"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("struct", [True, False])
def test_pictures_are_bytes_of_any_type(path: Path, kind: pa.DataType, struct: bool):
    contents = three()["image"]
    column = pa.array(contents, kind)
    if struct:
        paths = pa.array([None] * 3, pa.string())
        column = pa.StructArray.from_arrays([column, paths], ["bytes", "path"])
    assert list(looked(stored(path, three(image=column))).read([0, 1, 2])) == contents


def test_a_picture_without_bytes_is_where_its_path_says(path: Path):
    pictures = [{"bytes": of("train")[0].png(), "path": "a.png"}, {"bytes": None, "path": "b.png"}]
    pictures.append({"bytes": b"", "path": None})
    source = looked(stored(path, three(image=pictures)))
    assert list(source.read([0, 1, 2])) == [of("train")[0].png(), path.parent / "b.png", b""]


def test_names_of_class_labels_are_kept_in_their_order(path: Path):
    names = ("pear", "leek", "beet", "apple")
    whole = own.with_features(own.table(of("train"), label=names.index), names)
    source = looked(stored(path, whole))
    assert source.class_names == names
    assert source.entries[0].label == 3


def test_the_layout_of_cifar100_is_one_case(path: Path):
    columns = {"img": three()["image"], "fine_label": [4, 5, 4], "coarse_label": [0, 1, 0]}
    source = looked(stored(path, columns))
    assert [(entry.label, entry.above) for entry in source.entries] == [
        (4, (0,)),
        (5, (1,)),
        (4, (0,)),
    ]
    assert set(source.remarks) == {
        "image is the column img",
        "label is the column fine_label",
        "parent is the column coarse_label",
    }


def test_the_one_column_of_class_labels_is_the_label_whatever_its_name(path: Path):
    features = {
        "image": {"_type": "Image"},
        "species": {"names": ["a", "b"], "_type": "ClassLabel"},
    }
    whole = pa.table({"image": three()["image"], "species": [0, 1, 1], "weight": [1.5, 2.5, 3.5]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    source = looked(stored(path, whole.replace_schema_metadata(metadata)))
    assert [entry.label for entry in source.entries] == [0, 1, 1]
    assert source.class_names == ("a", "b")


def test_of_two_columns_of_pictures_the_one_with_a_usual_name_is_taken(path: Path):
    """And no mask for the picture, only because it comes first."""
    mask, image = three()["image"], [own.encoded(own.noise(at)) for at in (7, 8, 9)]
    source = looked(stored(path, {"mask": mask, "img": image, "label": [0, 1, 1]}))
    assert list(source.read([0, 1, 2])) == image
    with pytest.raises(
        InputError, match=r"has no column of the image: its columns are front \(bin"
    ):
        looked(stored(path, {"front": mask, "back": image, "label": [0, 1, 1]}))
    columns = {"columns": {"image": "back"}}
    assert list(looked(path, **columns).read([0])) == image[:1]


def test_split_and_group_are_taken_where_they_are(path: Path):
    columns = three(split=["train", "validation", "Test"], group=[7, None, 9])
    source = looked(stored(path, columns))
    assert [(entry.part, entry.group) for entry in source.entries] == [
        ("train", "7"),
        ("val", None),
        ("test", "9"),
    ]


def test_names_and_groups_have_no_spaces_around_them_as_in_lists(path: Path):
    """One that is empty then is no group, and its pictures stand alone."""
    columns = {
        "label": ["cat", " cat", "cat\u00a0"],
        "parent": ["pet", "pet ", "pet"],
        "split": ["train", "train ", " test"],
        "group": ["x ", "", " "],
    }
    source = looked(stored(path, three(**columns)))
    assert [tuple(entry)[1:] for entry in source.entries] == [
        ("cat", "train", ("pet",), "x"),
        ("cat", "train", ("pet",), None),
        ("cat", "test", ("pet",), None),
    ]


def test_rows_with_the_hubs_number_for_no_label_are_left_out_and_counted(path: Path):
    names = ("pear", "leek", "beet", "apple")
    whole = own.table(of("train")[:3], label=lambda label: 0)
    whole = whole.set_column(whole.column_names.index("label"), "label", pa.array([3, -1, 0]))
    source = looked(stored(path, own.with_features(whole, names)))
    assert [entry.label for entry in source.entries] == [3, 0]
    assert list(source.read([1])) == [of("train")[2].png()]
    assert source.skipped == {"with the label -1, which is none": 1}


def test_of_columns_that_are_called_alike_the_settings_name_one(path: Path):
    """Neither the first nor the last is taken unasked."""
    stored(path, three(label=[0, 0, 1], Label=[1, 0, 0]))
    sentence = (
        r"mine\.parquet has the columns 'label' and 'Label', each of which may be the label; name "
        r"one of them in dataset\.columns\.label, or rename the other"
    )
    with pytest.raises(InputError, match=sentence):
        looked(path)
    for name, labels in (("label", [0, 0, 1]), ("Label", [1, 0, 0])):
        found = looked(path, columns={"label": name}).entries
        assert [entry.label for entry in found] == labels


def test_two_columns_of_one_name_are_told(path: Path):
    arrays = [pa.array(three()["image"]), pa.array([0, 0, 1]), pa.array([1, 0, 0])]
    stored(path, pa.table(arrays, names=["image", "label", "label"]))
    with pytest.raises(InputError, match=r"mine\.parquet has the column label twice; rename one"):
        looked(path)


def test_rows_of_other_splits_than_the_settings_name_are_left_out(path: Path):
    stored(path, three(split=["a", "b", "c"]))
    source = looked(path, splits={"train": "a", "test": "c"})
    assert [entry.part for entry in source.entries] == ["train", "test"]
    assert list(source.read([1])) == [three()["image"][2]]
    assert source.skipped == {"of the split b": 1}


def test_a_path_column_is_a_list(tmp_path: Path, path: Path):
    """In the order of the paths; what the list says twice counts once; the pictures are watched."""
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(name.encode())
    columns = {"file_name": ["b.png", "./a.png", "b.png"], "class": ["x", "y", "x"]}
    source = looked(stored(path, columns))
    assert [(entry.place, entry.label) for entry in source.entries] == [
        (str(tmp_path / "a.png"), "y"),
        (str(tmp_path / "b.png"), "x"),
    ]
    assert [file.read_bytes() for file in source.read([0, 1])] == [b"a.png", b"b.png"]
    assert source.skipped == {"lines that are there twice": 1}
    (tmp_path / "a.png").write_bytes(b"another")
    assert looked(path).version != source.version


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"file": ["x.png"], "label": [0]}, r"mine\.parquet, row 0: there is no file .*/x\.png; c"),
        (
            {"file": ["../x.png"], "label": [0]},
            r"row 0: \.\./x\.png is outside the folder of the l",
        ),
        ({"file": [None], "label": [0]}, "column file is null; it must hold pictures or paths"),
        ({"file": ["mine.parquet", ""], "label": [0, 1]}, "row 1: file is empty; correct or remov"),
    ],
)
def test_a_mistake_in_a_path_is_told(path: Path, columns: dict, sentence: str):
    with pytest.raises(InputError, match=sentence):
        looked(stored(path, columns))


STRUCT_OF_TEXT = [{"bytes": "png"}] * 3


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"label": None},
            r"mine\.parquet has no column of the label: its columns are image \(binary\); name the "
            r"right one in dataset\.columns\.label\.",
        ),
        ({"image": None}, r"has no column of the image: its columns are label \(int64\); name the"),
        ({"image": [1, 2, 3]}, "the column image is int64; it must hold pictures or paths. Name"),
        ({"image": STRUCT_OF_TEXT}, "column image is struct<bytes: string>; it must hold pictur"),
        ({"image": [{"path": "a"}] * 3}, "column image is struct<path: string>; it must hold pi"),
        (
            {"label": [0.0, 1.0, 2.0]},
            r"the column label is double; write it as whole numbers or as names, or name another "
            r"one in dataset\.columns\.",
        ),
        ({"label": [True, False, True]}, "column label is bool; write it as whole numbers or as"),
        ({"label": [0, None, 1]}, "row 1: label is empty; correct or remove that row"),
        ({"label": ["a", "b", ""]}, "row 2: label is empty"),
        ({"label": ["a", "b", " "]}, "row 2: label is empty"),
        ({"label": [None, -1, None]}, "column label has no labels; name another one in dataset.c"),
        ({"coarse_label": [0, 0, None]}, "row 2: coarse_label is empty"),
        ({"split": ["train", None, "test"]}, "row 1: split is empty"),
        ({"split": ["train", "extra", "test"]}, "row 1 is in the split 'extra', which is neither"),
        ({"group": [0.5, 1.5, 2.5]}, "the column group is double; write it as whole numbers or"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_row(path: Path, columns: dict, sentence: str):
    given = {key: value for key, value in three(**columns).items() if value is not None}
    with pytest.raises(InputError, match=sentence) as error:
        looked(stored(path, given))
    assert "mine.parquet" in str(error.value)


def test_a_column_of_the_settings_that_is_not_there_is_told(path: Path):
    stored(path, three())
    sentence = (
        r"has no column 'kind', which dataset\.columns\.label names; its columns are image, l"
    )
    with pytest.raises(InputError, match=sentence):
        looked(path, columns={"label": "kind"})


def test_a_part_without_labels_is_left_out(tmp_path: Path):
    """As the test of a competition."""
    one = stored(tmp_path / "train.parquet", three())
    two = stored(tmp_path / "test.parquet", three(label=[-1, -1, -1]))
    source = looked(one, two)
    assert len(source.entries) == 3
    assert f"{two} has no labels and is left out" in source.remarks
    assert list(source.read([2])) == three()["image"][2:]


def test_files_with_other_columns_are_told(tmp_path: Path):
    one = stored(tmp_path / "a.parquet", three())
    two = stored(tmp_path / "b.parquet", {"image": three()["image"], "name": ["a", "b", "c"]})
    sentence = r"b\.parquet has no column label, which .*a\.parquet has; write both with the same c"
    with pytest.raises(InputError, match=sentence):
        looked(one, two)


def test_columns_that_are_not_used_may_be_absent_from_a_file(tmp_path: Path):
    one = stored(tmp_path / "a.parquet", three(size=[1, 2, 3]))
    two = stored(tmp_path / "b.parquet", three())
    assert len(looked(one, two).entries) == 6


def test_files_that_number_their_classes_in_different_ways_are_told(tmp_path: Path):
    files = []
    for at, names in enumerate((CLASSES, CLASSES[::-1])):
        whole = own.with_features(own.table(of("train"), label=names.index), names)
        files.append(stored(tmp_path / f"{at}.parquet", whole))
    with pytest.raises(InputError, match="number the classes of label in different ways; write th"):
        looked(*files)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather"])
@pytest.mark.parametrize("damage", ["cut", "other", "empty", "a name that is no text"])
def test_a_file_that_is_not_complete_is_told(tmp_path: Path, kind: str, damage: str):
    path = tmp_path / f"mine.{kind}"
    whole = pa.table(three())
    if kind == "parquet":
        stored(path, whole)
    else:
        with pa.ipc.new_file(str(path), whole.schema) as writer:
            writer.write_table(whole)
    content = path.read_bytes()
    damaged = {
        "cut": content[:-100],
        "other": b"a letter to you",
        "empty": b"",
        "a name that is no text": content.replace(b"label", b"\x98abel"),
    }
    path.write_bytes(damaged[damage])
    sentence = rf"mine\.{kind} is not a complete {kind} file \(.*\); download or write it again"
    with pytest.raises(InputError, match=sentence):
        looked(path)


def test_a_stream_that_is_cut_is_told(tmp_path: Path):
    path = tmp_path / "mine.arrow"
    whole = pa.table(three())
    with pa.ipc.new_stream(str(path), whole.schema) as writer:
        writer.write_table(whole, max_chunksize=1)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"mine\.arrow is not a complete arrow file"):
        looked(path)


def test_a_file_that_is_not_there_is_told(path: Path):
    with pytest.raises(InputError, match=r"mine\.parquet does not exist; check dataset\.source"):
        looked(path)
