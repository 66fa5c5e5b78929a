"""A list names pictures and their labels, a line each, in the forms that people write."""

from pathlib import Path

import pytest
from test_folder import laid

from treehead.artifacts import InputError
from treehead.data.sources import lists
from treehead.data.sources.source import Source

PICTURES = ("a/1.png", "a/2.png", "b/1.png")


def looked(root: Path, text: str | bytes, name: str = "list.csv", **settings: dict) -> Source:
    """Look at a list of this text beside three pictures."""
    laid(root, *PICTURES)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return lists.look(str(root / name), {"columns": {}, "splits": {}} | settings)


def told(source: Source) -> list[tuple]:
    """Path, label, groups and split of each picture."""
    return [(e.place, e.label, e.above, e.part) for e in source.entries]


CATS = [("a/1.png", "cat", (), None), ("a/2.png", "dog", (), None), ("b/1.png", "cat", (), None)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "path,label\na/1.png,cat\na/2.png,dog\nb/1.png,cat\n"),
        ("list.csv", "b/1.png,cat\na/2.png,dog\na/1.png,cat"),
        ("list.txt", "a/1.png, cat\na/2.png, dog\nb/1.png, cat\n"),
        ("list.txt", "a/1.png cat\na/2.png dog\nb/1.png cat\n"),
        ("list.tsv", "label\tpath\ncat\ta/1.png\ndog\ta/2.png\ncat\tb/1.png\n"),
        ("list.csv", "id;Image Path;Class Name\n1;a/1.png;cat\n2;a/2.png;dog\n3;b/1.png;cat\n"),
        ("list.csv", "\ufeffpath,label\r\na/1.png,cat\r\na/2.png,dog\r\nb/1.png,cat\r\n"),
        ("list.csv", "\ufeffa/1.png,cat\r\na/2.png,dog\r\nb/1.png,cat\r\n"),
        ("list.csv", "\n\npath,label\n\na/1.png,cat\n , \na/2.png,dog\nb/1.png,cat\n\n\n"),
        ("list.csv", 'path,label\n"a/1.png", "cat"\n"a/2.png","dog"\n"b/1.png","cat"\n'),
        ("list.csv", "path,label\na\\1.png,cat\n.\\a\\2.png,dog\nb\\1.png,cat\n"),
        ("list.csv", "path,label\n./a/1.png,cat\nb/../a/2.png,dog\nb//1.png,cat\n"),
        ("list.CSV", "FILE_NAME,Label\na/1.png,cat\na/2.png,dog\nb/1.png,cat\n"),
    ],
    ids=str,
)
def test_each_form_says_the_same(tmp_path: Path, name: str, text: str):
    """Without a header too, and whatever the order of the lines."""
    assert told(looked(tmp_path, text, name)) == CATS


def test_paths_may_hold_spaces_commas_and_other_letters(tmp_path: Path):
    names = ("my cats/no. 1, the old.png", "K\u00f6che/\u732b.png")
    laid(tmp_path, *names)
    text = f'path,label\n"{names[0]}",cat\n{names[1]},cook\n'
    assert told(looked(tmp_path, text)) == [
        (names[1], "cook", (), None),
        (names[0], "cat", (), None),
    ]
    bare = f'"{names[0]}", 3, 1\n"{names[1]}", 4, 1\n'
    assert [e.label for e in looked(tmp_path, bare).entries] == [4, 3]


def test_an_absolute_path_in_the_folder_of_the_list_is_one_of_it(tmp_path: Path):
    text = f"path,label\n{tmp_path}/a/1.png,cat\na/2.png,dog\n"
    assert [entry.place for entry in looked(tmp_path, text).entries] == ["a/1.png", "a/2.png"]


def test_pictures_are_read_where_the_list_says(tmp_path: Path):
    source = looked(tmp_path, "b/1.png,cat\na/2.png,dog\na/1.png,cat")
    assert list(source.read([0, 2])) == [tmp_path / "a/1.png", tmp_path / "b/1.png"]
    assert source.files == (str(tmp_path / "list.csv"),)


def test_parent_split_and_group_are_taken_where_they_are(tmp_path: Path):
    text = (
        "path,label,superclass,Split,group\na/1.png,cat,pet,train,x\na/2.png,dog,pet,Valid,\n"
        "b/1.png,oak,tree,testing,y\n"
    )
    source = looked(tmp_path, text)
    assert told(source) == [
        ("a/1.png", "cat", ("pet",), "train"),
        ("a/2.png", "dog", ("pet",), "val"),
        ("b/1.png", "oak", ("tree",), "test"),
    ]
    assert [entry.group for entry in source.entries] == ["x", None, "y"]


def test_columns_and_splits_are_named_by_the_settings(tmp_path: Path):
    text = (
        "file,what,kind,fold,plant\na/1.png,cat,pet,A,1\na/2.png,dog,pet,B,2\nb/1.png,cat,pet,C,3\n"
    )
    columns = {"label": "what", "parent": "kind", "split": "fold", "group": "plant"}
    source = looked(tmp_path, text, columns=columns, splits={"train": "A", "test": "b"})
    assert told(source) == [
        ("a/1.png", "cat", ("pet",), "train"),
        ("a/2.png", "dog", ("pet",), "test"),
    ]
    assert [entry.group for entry in source.entries] == ["1", "2"]
    assert source.skipped == {"of the split C": 1}


def test_a_column_that_only_looks_like_a_split_is_no_split_by_setting(tmp_path: Path):
    text = "path,label,set\na/1.png,cat,dinner\nb/1.png,dog,tea\n"
    with pytest.raises(InputError, match=r"line 2 is in the split 'dinner', .*columns\.split to n"):
        looked(tmp_path, text)
    source = looked(tmp_path, text, columns={"split": None})
    assert [entry.part for entry in source.entries] == [None, None]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("0", "1", "1"), [0, 1, 1]),
        (("1", "2", "10"), [1, 2, 10]),
        (("-1", "1", "1"), [-1, 1, 1]),
        (("007", "010", "100"), ["007", "010", "100"]),
        (("1.0", "2.0", "2.0"), ["1.0", "2.0", "2.0"]),
        (("3a", "b", "b"), ["3a", "b", "b"]),
    ],
)
def test_labels_are_numbers_if_all_are(tmp_path: Path, labels: tuple, expected: list):
    """A leading zero makes a name, as of a folder."""
    lines = [f"{path},{label}" for path, label in zip(PICTURES, labels, strict=True)]
    source = looked(tmp_path, "\n".join(["path,label", *lines]))
    assert [entry.label for entry in source.entries] == expected


def test_parents_are_numbers_if_all_are(tmp_path: Path):
    text = "a/1.png, 0, 1\na/2.png, 1, 1\nb/1.png, 2, 0\n"
    assert [entry.above for entry in looked(tmp_path, text).entries] == [(1,), (1,), (0,)]


def test_numbers_in_one_split_and_names_in_another_are_told(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "test.txt").write_text("b/1.png, cat\n")
    sentence = (
        r"train\.txt: the label of a/1\.png is the number 3, and that of b/1\.png the name 'cat'; "
        "give numbers everywhere, or names"
    )
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, "a/1.png, 3\na/2.png, 4\n", "train.txt")


def test_the_lists_of_the_other_splits_come_with_one(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "my-Testing.csv").write_text("path,label\nb/1.png,cat\n")
    (tmp_path / "my-dev.csv").write_text("label,path\ndog,a/2.png\n")
    for other in ("your-test.csv", "my-test.txt", "contest.csv", "my-testing-old.csv"):
        (tmp_path / other).write_text("nothing of ours")
    for given in ("my-train.csv", "my-dev.csv"):
        train = "path,label\na/1.png,cat\n"
        (tmp_path / "my-train.csv").write_text(train)
        source = lists.look(str(tmp_path / given), {"columns": {}, "splits": {}})
        assert told(source) == [
            ("a/1.png", "cat", (), "train"),
            ("a/2.png", "dog", (), "val"),
            ("b/1.png", "cat", (), "test"),
        ]
        assert len(source.files) == 3
        assert sum("beside it belongs to it" in remark for remark in source.remarks) == 2


def test_a_list_of_no_split_comes_alone(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "test.csv").write_text("path,label\nb/1.png,cat\n")
    source = looked(tmp_path, "path,label\na/1.png,cat\n", "labels.csv")
    assert told(source) == [("a/1.png", "cat", (), None)]
    assert source.remarks == ()


def test_lists_of_splits_are_found_by_the_setting(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "holdout.csv").write_text("b/1.png,cat\n")
    (tmp_path / "train.csv").write_text("a/2.png,cat\n")
    splits = {"train": "fit", "test": "holdout"}
    source = looked(tmp_path, "a/1.png,cat\n", "fit.csv", splits=splits)
    assert told(source) == [("a/1.png", "cat", (), "train"), ("b/1.png", "cat", (), "test")]


def test_two_lists_of_one_split_are_told(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "val.csv").write_text("b/1.png,cat\n")
    (tmp_path / "valid.csv").write_text("b/1.png,cat\n")
    with pytest.raises(InputError, match=r"val\.csv and .*valid\.csv are both lists of val; remov"):
        looked(tmp_path, "a/1.png,cat\n", "train.csv")


NAMES = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)\n"


def test_classes_csv_names_numbers(tmp_path: Path):
    """As beside the lists of the Grocery Store data set; the parent 1 has one child."""
    laid(tmp_path, *PICTURES)
    rows = "fir,1,tree,1\ncat,0,pet,0\ndog,2,pet,0\n"
    (tmp_path / "classes.csv").write_text(NAMES + rows)
    source = looked(tmp_path, "a/1.png, 0, 0\na/2.png, 1, 1\nb/1.png, 2, 0\n")
    assert told(source) == [
        ("a/1.png", "cat", ("pet",), None),
        ("a/2.png", "fir", ("tree",), None),
        ("b/1.png", "dog", ("pet",), None),
    ]
    assert str(tmp_path / "classes.csv") in source.files
    assert f"{tmp_path}/classes.csv names the classes" in source.remarks


def test_lines_with_the_hubs_number_for_no_label_are_left_out_and_counted(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "classes.csv").write_text(NAMES + "fir,1,tree,1\ncat,0,pet,0\n")
    source = looked(tmp_path, "a/1.png, 1, 1\na/2.png, -1, 0\nb/1.png, 0, 0\n")
    assert told(source) == [
        ("a/1.png", "fir", ("tree",), None),
        ("b/1.png", "cat", ("pet",), None),
    ]
    assert list(source.read([1])) == [tmp_path / "b/1.png"]
    assert source.skipped == {"with the label -1, which is none": 1}


def test_classes_csv_does_not_count_beside_names(tmp_path: Path):
    laid(tmp_path, *PICTURES)
    (tmp_path / "classes.csv").write_text(NAMES + "fir,0,tree,0\n")
    source = looked(tmp_path, "a/1.png, cat\na/2.png, dog\n")
    assert {entry.label for entry in source.entries} == {"cat", "dog"}
    assert source.remarks == ()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("cat,0,pet,0\ndog,2,pet,0\n", "IDs of class are not 0 to 1, each once; correct them"),
        ("cat,0,pet,0\ndog,0,pet,0\n", "line 3: class 0 is 'dog' here and 'cat' before; correct"),
        ("cat,0,pet,0\ncat,1,pet,0\n", "two IDs of class are called 'cat'; rename one"),
        ("cat,one,pet,0\n", "line 2: the ID 'one' is not a number from 0 on; correct it"),
        ("cat,0,pet,0\n", r"a/2\.png has the number 1, but classes\.csv has names of 0 to 0; corr"),
        ("cat,0\n", "line 2 has 2 values, not 4; correct the line"),
    ],
)
def test_a_mistake_in_classes_csv_is_told(tmp_path: Path, rows: str, sentence: str):
    laid(tmp_path, *PICTURES)
    (tmp_path / "classes.csv").write_text(NAMES + rows)
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, "a/1.png, 0, 0\na/2.png, 1, 0\n")


def test_a_line_that_is_there_twice_counts_once(tmp_path: Path):
    text = "path,label\na/1.png,cat\nb/1.png,dog\na/1.png,cat\n./a/1.png,cat\n"
    source = looked(tmp_path, text)
    assert [entry.place for entry in source.entries] == ["a/1.png", "b/1.png"]
    assert source.skipped == {"lines that are there twice": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "list.csv is empty; give a list of pictures"),
        ("\n \n", "list.csv is empty; give a list of pictures"),
        (
            "path,colour\na/1.png,red\n",
            r"list\.csv has no column of the label: its columns are path, colour; name the right "
            r"one in dataset\.columns\.label, or add a first line if none names them\.",
        ),
        ("name,label\nx,cat\n", "no column of the image: its columns are name, label; name the"),
        ("3,a/1.png\n", r"line 1: 3, a/1\.png is no header, .* add a first line that names the c"),
        ("a/1.png\n", r"line 1: a/1\.png is no header, and a list without one has the columns pa"),
        ("a/1.png,1,2,3\n", r"line 1: a/1\.png, 1, 2, 3 is no header"),
        ("path,label\n../x.png,cat\n", r"line 2: \.\./x\.png is outside the folder of the list; p"),
        ("path,label\na/../../x.png,cat\n", r"line 2: a/\.\./\.\./x\.png is outside the folder"),
        ("path,label\n/etc/x.png,cat\n", r"line 2: /etc/x\.png is outside the folder of the list"),
        ("path,label\nC:\\x.png,cat\n", r"line 2: there is no file .*/C:/x\.png; correct the list"),
        (
            "path,label\na/1.png,cat\na/9.png,cat\na/8.png,cat\n",
            r"line 3: there is no file .*/a/9\.png \(and 1 others\); correct the list, or put the ",
        ),
        ("path,label\na,cat\n", "line 2: there is no file .*/a; correct the list"),
        (f"path,label\n{'x' * 5000}.png,cat\n", r"line 2: there is no file .*x\.png; correct"),
        ("path,label\na/1.png,\n", "line 2: the label is empty; correct or remove the line"),
        ("path,label\na/1.png,  \n", "line 2: the label is empty"),
        ("path,label\n,cat\n", "line 2: the image is empty"),
        ("path,label,split\na/1.png,cat,train\na/2.png,cat,\n", "line 3: the split is empty"),
        ("path,label,split\na/1.png,cat,extra\n", r"line 2 is in the split 'extra', which is nei"),
        ("path,label\na/1.png,cat,3\n", "line 2 has 3 values, not 2; correct the line, and quote"),
        ('path,label\n"a/1.png,cat\n', "line 2: .*; correct the line"),
        ("path,label\na/1.png,cat\na/1.png,dog\n", r"line 3: a/1\.png is also in .*line 2, with "),
        ("path,label,split\na/1.png,c,train\na/1.png,c,test\n", "line 3: .* another label or spl"),
        ("path,label,label\na/1.png,c,d\n", "has the column label twice; rename one"),
        (
            "path,Label,label\na/1.png,c,d\n",
            r"the columns 'Label' and 'label', each of which may be the label; name one of them in "
            r"dataset\.columns\.label, or rename the other",
        ),
        ("path,label,my split,Split,split\na/1.png,c,1,train,test\n", "'Split' and 'split', each"),
        (b"path,label\na/1.png,caf\xe9\n", "is not UTF-8 text .*; save it as UTF-8"),
    ],
    ids=str,
)
def test_a_mistake_is_told_with_its_line_and_remedy(tmp_path: Path, text, sentence: str):
    with pytest.raises(InputError, match=sentence) as error:
        looked(tmp_path, text)
    assert str(error.value).count("list.csv") >= 1


@pytest.mark.parametrize(
    ("columns", "text", "sentence"),
    [
        (
            {"label": "kind"},
            "path,label\na/1.png,cat\n",
            r"no column 'kind', which dataset\.columns\.label names; its columns are path, label",
        ),
        ({"label": "kind"}, "a/1.png,cat\n", "is no header, .* add a first line that names the c"),
    ],
)
def test_a_column_of_the_settings_that_is_not_there_is_told(
    tmp_path: Path, columns: dict, text: str, sentence: str
):
    with pytest.raises(InputError, match=sentence):
        looked(tmp_path, text, columns=columns)


def test_another_picture_has_another_version(tmp_path: Path):
    first = looked(tmp_path, "a/1.png,cat\na/2.png,dog\n").version

    def version() -> str:
        return lists.look(str(tmp_path / "list.csv"), {"columns": {}, "splits": {}}).version

    (tmp_path / "b/1.png").write_bytes(b"no picture of the list")
    assert version() == first
    (tmp_path / "a/1.png").write_bytes(b"another one")
    assert version() != first
