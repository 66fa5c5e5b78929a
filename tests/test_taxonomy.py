"""A taxonomy is a partition of the classes; anything else is refused with a sentence."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treehead.artifacts import InputError
from treehead.data import taxonomy
from treehead.data.demo100 import classes
from treehead.data.taxonomy import Taxonomy

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "resources" / "taxonomies"
REAL = ROOT.parent / "shared" / "data" / "cifar100"

# One tree, as people write it: parent 0 has the classes 3 and 1, parent 1 has 2 and 0.
FRUIT = ("fig", "pear", "rose", "plum")
TWO_OF_TWO = {"0": {"3": 0, "1": 1}, "1": {"0": 1, "2": 0}}


@st.composite
def trees(draw):
    """A taxonomy of unequal parents, some with one child, classes in any order."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=14))
    order = draw(st.permutations(range(sum(sizes))))
    ends = np.cumsum(sizes)
    members = tuple(tuple(order[end - size : end]) for size, end in zip(sizes, ends, strict=True))
    return Taxonomy(
        members,
        tuple(f"parent {index}" for index in range(len(sizes))),
        tuple(f"class {index}" for index in range(len(order))),
    )


def written(folder: Path, tree: object, **names: object) -> Path:
    path = folder / "tree.json"
    path.write_text(json.dumps({"tree": tree, **names}))
    return path


@given(trees())
def test_a_taxonomy_is_read_as_it_was_written(tmp_path_factory, tree: Taxonomy):
    """Parents in the order of their numbers: parent 10 comes after 9, not after 1."""
    path = tmp_path_factory.mktemp("taxonomy") / "tree.json"
    tree.write(path)
    assert taxonomy.read(path, len(tree.fine_names)) == tree


@given(trees())
def test_the_parent_of_a_class_is_the_one_that_lists_it(tree: Taxonomy):
    for fine, parent in enumerate(tree.parent_of()):
        assert [fine in members for members in tree.classes].index(True) == parent


@given(st.lists(st.integers(0, 4), min_size=5, max_size=20), st.randoms())
def test_parents_of_classes_and_taxonomy_say_the_same(parent_of, random):
    parent_of[:5] = random.sample(range(5), 5)
    names = [f"class {index}" for index in range(len(parent_of))]
    tree = taxonomy.from_parents(parent_of, list("abcde"), names)
    assert tree.parent_of().tolist() == parent_of
    assert all(list(members) == sorted(members) for members in tree.classes)


def test_a_child_label_is_a_place_among_its_parents_classes(tmp_path: Path):
    tree = taxonomy.read(written(tmp_path, TWO_OF_TWO), 4)
    assert tree.classes == ((3, 1), (2, 0))
    assert tree.parent_of().tolist() == [1, 0, 1, 0]


def test_the_written_table_is_parent_to_fine_label_to_child_label(tmp_path: Path):
    path = tmp_path / "tree.json"
    Taxonomy(((3, 1), (2, 0)), ("a", "b"), ("w", "x", "y", "z")).write(path)
    content = json.loads(path.read_text())
    assert content["tree"] == {"0": {"3": 0, "1": 1}, "1": {"2": 0, "0": 1}}
    assert (content["parent_names"], content["fine_names"]) == (["a", "b"], ["w", "x", "y", "z"])


def test_names_are_optional(tmp_path: Path):
    tree = taxonomy.read(written(tmp_path, TWO_OF_TWO), 4)
    assert len(set(tree.parent_names)) == 2
    assert len(set(tree.fine_names)) == 4


def test_a_parent_of_one_child_is_a_parent(tmp_path: Path):
    tree = taxonomy.read(written(tmp_path, {"0": {"1": 0}, "1": {"0": 0, "2": 1}}), 3)
    assert tree.classes == ((1,), (0, 2))


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"0": {"3": 0, "1": 1}, "1": {"0": 0}}, "fine label 2 is under no parent"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": 0, "2": 1, "3": 2}}, "fine label 3 is under parents 0"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": 0, "2": 1, "4": 2}}, "fine label 4 .* outside 0..3"),
        ({"0": {"3": 0, "1": 2}, "1": {"0": 0, "2": 1}}, "child labels of parent 0"),
        ({"0": {"3": 1, "1": 2}, "1": {"0": 0, "2": 1}}, "child labels of parent 0"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": 0, "2": 0}}, "child labels of parent 1"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": "0", "2": "1"}}, "child labels of parent 1"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": None, "2": 1}}, "child labels of parent 1"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": [0], "2": 1}}, "child labels of parent 1"),
        ({"1": {"3": 0, "1": 1}, "2": {"0": 0, "2": 1}}, r"parents are \[1, 2\]"),
        ({"0": {"3": 0, "1": 1}, "2": {"0": 0, "2": 1}}, r"parents are \[0, 2\]"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": False, "2": True}}, "child labels of parent 1"),
        ({"0": {"3": 0, "1": 1}, "1": {"0": 0.0, "2": 1.0}}, "child labels of parent 1"),
        (
            {"0": {"3": 0, "1": 1}, "fish": {"0": 0, "2": 1}},
            "parent 0 is a number .* 'fish' a name",
        ),
        ({"0": {"3": 0, "1": 1}, "01": {"0": 0, "2": 1}}, "parent 0 is a number .* '01' a name"),
        ({"0": {"3": 0, "rose": 1}, "1": {"0": 0, "2": 1}}, "class 3 is a number .* 'rose' a name"),
        ({"0": {"3": 0, "-1": 1}, "1": {"0": 0, "2": 1}}, "fine label -1 .* outside 0..3"),
        ({"0": {"3": 0, "1": 1}, "1": {}}, "parent 1 has no children"),
        ({"0": {"3": 0, "1": 1}, "1": 2}, "parent 1 has no children"),
        ({"0": [3, 1], "1": []}, "parent 1 has no children"),
        ({"0": [3, 1], "1": [2, 0, 2]}, "fine label 2 is twice under parent 1"),
        ({"0": [3, 1], "1": [2, 0, 3]}, "fine label 3 is under parents 0 and 1"),
        ({"0": [3, 1], "1": [2]}, "fine label 0 is under no parent"),
        ({"0": [3, 1], "1": [2, True]}, "parent 1 has the child True"),
        ({"0": [3, 1], "1": [2, [0]]}, r"parent 1 has the child \[0\]"),
        ({"a": ["plum", "pear"], "b": ["rose", "fig"]}, "'plum', but this data set has no names"),
        ({}, "has no tree"),
        ([[3, 1], [0, 2]], "has no tree"),
    ],
)
def test_what_is_no_partition_is_refused_with_its_place(tmp_path: Path, tree, sentence: str):
    with pytest.raises(InputError, match=rf"tree\.json.*{sentence}"):
        taxonomy.read(written(tmp_path, tree), 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"0": {"3": 0, "1": 1}, "1": {"0": 1, "2": 0}}'),
        ("a.json", '{"0": [3, 1], "1": [2, 0]}'),
        ("a.json", '{"1": ["2", "0"], "0": ["3", "1"]}'),
        ("a.json", '{"tree": {"0": [3, 1], "1": [2, 0]}}'),
        ("a.json", '\ufeff{"0": [3, 1],\r\n"1": [2, 0]}\r\n'),
        ("a.json", '{"0": ["plum", "pear"], "1": {"rose": 0, "fig": 1}}'),
        ("a.csv", "class,parent\n3,0\n2,1\n1,0\n0,1\n"),
        ("a.csv", "Parent;CLASS\r\n0;plum\r\n1;rose\r\n0;pear\r\n1;fig\r\n"),
        ("a.CSV", '\ufeffid,"class", parent \r\n\r\n7,"3",0\r\n,2,1\r\n,1,0\r\n,0, 1\r\n,,\r\n'),
        ("a.tsv", "class\tparent\nplum\t0\npear\t0\nrose\t1\nfig\t1"),
    ],
)
def test_one_tree_in_all_that_people_write(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    tree = taxonomy.read(tmp_path / name, 4, FRUIT)
    assert tree == Taxonomy(((3, 1), (2, 0)), ("parent 0", "parent 1"), FRUIT)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"tree": ["plum", "pear"], "flower, shrub": ["rose", "fig"]}'),
        ("a.json", '{"tree": {"plum": 0, "pear": 1}, "flower, shrub": {"fig": 1, "rose": 0}}'),
        ("a.json", '{"tree": {"tree": ["plum", "pear"], "flower, shrub": ["rose", "fig"]}}'),
        ("a.json", '{"tree": {"tree": [3, 1], "flower, shrub": [2, 0]}}'),
        (
            "a.json",
            '{"tree": {"1": [2, 0], "0": [3, 1]}, "parent_names": ["tree", "flower, shrub"]}',
        ),
        (
            "a.json",
            '{"tree": {"flower, shrub": [2, 0], "tree": [3, 1]},'
            '"parent_names": ["tree", "flower, shrub"]}',
        ),
        ("a.csv", 'class,parent\nplum,tree\nrose,"flower, shrub"\npear,tree\nfig,"flower, shrub"'),
        ("a.csv", "class;parent\nplum;tree\nrose;flower, shrub\npear;tree\nfig;flower, shrub"),
    ],
)
def test_parents_with_names_are_numbered_as_they_come(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    tree = taxonomy.read(tmp_path / name, 4, FRUIT)
    assert tree == Taxonomy(((3, 1), (2, 0)), ("tree", "flower, shrub"), FRUIT)


@given(trees(), st.data())
def test_a_table_says_the_same_as_the_tree_in_any_order_of_rows(tmp_path_factory, tree, data):
    rows = [(fine, parent) for parent, fines in enumerate(tree.classes) for fine in fines]
    shuffled = data.draw(st.permutations(rows))
    path = tmp_path_factory.mktemp("taxonomy") / "tree.csv"
    path.write_text("class,parent\n" + "".join(f"{fine},{parent}\n" for fine, parent in shuffled))
    read = taxonomy.read(path, len(rows))
    assert read.parent_of().tolist() == tree.parent_of().tolist()
    assert read.classes == tuple(
        tuple(fine for fine, parent in shuffled if parent == own)
        for own in range(len(tree.classes))
    )


def test_names_that_are_digits_are_names_among_names(tmp_path: Path):
    path = written(tmp_path, {"digit": ["7", 1], "letter": ["a"]}, fine_names=["1", "a", "7"])
    assert taxonomy.read(path, 3).classes == ((2, 0), (1,))


def test_the_files_own_names_come_before_those_of_the_data_set(tmp_path: Path):
    path = written(tmp_path, {"x": ["w"], "y": ["z"]}, fine_names=["w", "z"])
    assert taxonomy.read(path, 2, ("fig", "pear")).fine_names == ("w", "z")


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"a": ["plum", "paer"], "b": ["rose", "fig"]}, "no class 'paer'; did you mean 'pear'"),
        ({"a": ["PLUM", "pear"], "b": ["rose", "fig"]}, "no class 'PLUM'; did you mean 'plum'"),
        ({"a": ["plum", "pear"], "b": ["rose"]}, "class 'fig' is under no parent"),
        ({"a": ["plum", "pear"], "b": ["rose", "fig", "plum"]}, "'plum' is under parents a and b"),
        ({"a": ["plum", "pear", "plum"], "b": ["rose", "fig"]}, "'plum' is twice under parent a"),
        ({"a": ["plum", 1], "b": ["rose", "fig"]}, "class 1 is a number and class 'plum' a name"),
    ],
)
def test_a_class_is_called_as_the_file_calls_it(tmp_path: Path, tree: dict, sentence: str):
    with pytest.raises(InputError, match=rf"tree\.json.*{sentence}"):
        taxonomy.read(written(tmp_path, tree), 4, FRUIT)


def test_parents_have_the_names_that_parent_names_gives(tmp_path: Path):
    path = written(tmp_path, {"a": [0], "c": [1]}, parent_names=["a", "b"])
    with pytest.raises(InputError, match="there is no parent 'c'; did you mean 'b'"):
        taxonomy.read(path, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has the columns ; its first line must name"),
        ("class,superclass\n0,1\n", "has the columns class, superclass; its first line must name"),
        ("class,parent,class\n0,0,1\n", "must name one column class and one column parent"),
        ("class,parent\n", "has no rows"),
        ("class,parent\n0,0\n1\n", "line 3: '1' is not a value for each of class, parent"),
        ("class,parent\n0,0\n1,\n", "line 3: '1,' is not a value for each of class, parent"),
        ("class,parent\nfig, red,0\n", "line 2: 'fig,red,0' is not .* quote a name"),
        ('class,parent\n"0,0\n1,0\n', "line 3: unexpected end of data"),
        ("class,parent\n0,0\n0,1\n", "fine label 0 is under parents 0 and 1"),
        ("class,parent\n0,0\n1,2\n", r"the parents are \[0, 2\]; number them"),
        ("class,parent\n0,0\n7,1\n", r"fine label 7 under parent 1 is outside 0\.\.1"),
        ("class,parent\n0,0\n1,a\n", "parent 0 is a number and parent 'a' a name"),
    ],
)
def test_a_table_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "tree.csv").write_text(text)
    with pytest.raises(InputError, match=rf"tree\.csv.*{sentence}"):
        taxonomy.read(tmp_path / "tree.csv", 2)


def test_a_number_of_classes_beyond_memory_is_no_matter(tmp_path: Path):
    with pytest.raises(
        InputError, match=r"fine label 4 is under no parent; .* set dataset.classes"
    ):
        taxonomy.read(written(tmp_path, TWO_OF_TWO), 10**12)


def test_a_file_without_a_tree_is_refused(tmp_path: Path):
    (tmp_path / "tree.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"tree\.json has no tree"):
        taxonomy.read(tmp_path / "tree.json", 2)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a"], "ab", {"0": "a", "1": "b"}])
def test_as_many_names_as_there_are_parents(tmp_path: Path, names: object):
    with pytest.raises(InputError, match="parent_names must be a list of 2 names"):
        taxonomy.read(written(tmp_path, TWO_OF_TWO, parent_names=names), 4)


def test_as_many_names_as_there_are_classes(tmp_path: Path):
    with pytest.raises(InputError, match="fine_names must be a list of 4 names"):
        taxonomy.read(written(tmp_path, TWO_OF_TWO, fine_names=["a", "b"]), 4)


def test_an_image_whose_coarse_label_contradicts_the_taxonomy_is_named_by_its_row():
    tree = Taxonomy(((0, 1), (2, 3)), ("a", "b"), tuple("wxyz"))
    taxonomy.check_labels(tree, np.array([0, 3, 2]), np.array([0, 1, 1]), "train.parquet")
    with pytest.raises(InputError, match=r"train\.parquet, row 1: fine label 3 .* coarse label 0"):
        taxonomy.check_labels(tree, np.array([0, 3, 2]), np.array([0, 0, 0]), "train.parquet")


@pytest.mark.parametrize("name", ["cifar100", "demo100"])
def test_superclasses_are_twenty_of_five(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(ROOT)
    tree = taxonomy.choose("superclass", name, 100)
    assert [len(members) for members in tree.classes] == [5] * 20
    assert len(set(tree.parent_names)) == 20
    assert len(set(tree.fine_names)) == 100


def test_a_taxonomy_of_the_users_own_is_taken_from_its_file(tmp_path: Path):
    path = written(tmp_path, TWO_OF_TWO)
    assert taxonomy.choose(str(path), "demo100", 4) == taxonomy.read(path, 4)


def test_a_file_without_names_has_those_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    cifar100 = taxonomy.choose("superclass", "cifar100", 100)
    halves = {"0": list(range(50)), "1": list(range(50, 100))}
    path = written(tmp_path, halves)
    assert taxonomy.choose(str(path), "cifar100", 100).fine_names == cifar100.fine_names
    assert taxonomy.choose(str(path), "mine", 100).fine_names[99] == "class 99"


def test_ten_classes_of_cifar100_are_not_its_first_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    path = written(tmp_path, {"0": list(range(10))})
    assert taxonomy.choose(str(path), "cifar100", 10).fine_names[0] == "class 0"


def test_learned_clusters_are_named_after_their_first_classes():
    tree = taxonomy.from_clusters(np.array([0, 0, 0, 0, 1, 1, 1, 2]), list("abcdefgh"))
    assert tree.parent_names == ("a, b, c, ...", "e, f, g", "h")


def test_the_table_of_cifar100_has_the_names_of_the_original():
    tree = taxonomy.read(TABLES / "cifar100.json", 100)
    assert list(tree.fine_names) == sorted(tree.fine_names), "fine labels are alphabetical"
    people = tree.classes[tree.parent_names.index("people")]
    assert {tree.fine_names[fine] for fine in people} == {"baby", "boy", "girl", "man", "woman"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CIFAR-100 is not in ../shared/data")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_table_of_cifar100_agrees_with_the_labels_of_the_real_images(split: str):
    (path,) = REAL.glob(f"{split}-*.parquet")
    labels = pq.read_table(path, columns=["fine_label", "coarse_label"]).to_pydict()
    tree = taxonomy.read(TABLES / "cifar100.json", 100)
    pairs = set(zip(labels["fine_label"], labels["coarse_label"], strict=True))
    assert pairs == set(enumerate(tree.parent_of().tolist()))


def test_the_table_of_demo100_says_what_is_drawn():
    tree = taxonomy.read(TABLES / "demo100.json", 100)
    assert tree == taxonomy.from_parents(
        list(classes.SUPERCLASS_OF), list(classes.SUPERCLASS_NAMES), list(classes.FINE_NAMES)
    )


def test_the_studys_clusters_are_ten_of_ten():
    tree = taxonomy.read(TABLES / "study_clusters.json", 100)
    assert [len(members) for members in tree.classes] == [10] * 10
    assert tree.classes[0] == (4, 30, 55, 72, 95, 1, 32, 67, 73, 91)
    assert tree.classes[9] == (2, 11, 35, 46, 98, 27, 29, 44, 78, 93)
