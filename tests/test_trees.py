"""A tree of any form becomes a partition of the classes; anything else is refused."""

import itertools
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treehead.artifacts import InputError
from treehead.data import trees
from treehead.data.taxonomy import Taxonomy

ROOT = Path(__file__).parents[1]
FOUR = tuple(f"class {number}" for number in range(4))

# One tree, as people write it: parent 0 has the classes 3 and 1, parent 1 has 2 and 0.
FRUIT = ("fig", "pear", "rose", "plum")
TWO_OF_TWO = {"0": {"3": 0, "1": 1}, "1": {"0": 1, "2": 0}}


def written(folder: Path, tree: object, **names: object) -> Path:
    path = folder / "tree.json"
    path.write_text(json.dumps({"tree": tree, **names}))
    return path


def test_a_child_label_is_a_place_among_its_parents_classes(tmp_path: Path):
    tree = trees.read(written(tmp_path, TWO_OF_TWO), FOUR)
    assert tree.classes == ((3, 1), (2, 0))
    assert tree.parent_of().tolist() == [1, 0, 1, 0]


def test_names_are_optional(tmp_path: Path):
    tree = trees.read(written(tmp_path, TWO_OF_TWO), FOUR)
    assert len(set(tree.parent_names)) == 2
    assert len(set(tree.fine_names)) == 4


def test_a_parent_of_one_child_is_a_parent(tmp_path: Path):
    tree = trees.read(written(tmp_path, {"0": {"1": 0}, "1": {"0": 0, "2": 1}}), FOUR[:3])
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
        ({"0": [3, 1], "1": [2, 0, 2]}, "fine label 2 is under parents 1 and 1"),
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
        trees.read(written(tmp_path, tree), FOUR)


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
    tree = trees.read(tmp_path / name, FRUIT)
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
    tree = trees.read(tmp_path / name, FRUIT)
    assert tree == Taxonomy(((3, 1), (2, 0)), ("tree", "flower, shrub"), FRUIT)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=20), st.randoms())
def test_a_table_says_the_same_in_any_order_of_rows(tmp_path_factory, parent_of, random):
    parent_of[:5] = random.sample(range(5), 5)
    rows = random.sample(list(enumerate(parent_of)), len(parent_of))
    path = tmp_path_factory.mktemp("taxonomy") / "tree.csv"
    path.write_text("class,parent\n" + "".join(f"{fine},{parent}\n" for fine, parent in rows))
    tree = trees.read(path, tuple(f"class {number}" for number in range(len(rows))))
    assert tree.parent_of().tolist() == parent_of
    assert tree.classes == tuple(
        tuple(fine for fine, parent in rows if parent == own) for own in range(5)
    )


def test_names_that_are_digits_are_names_among_names(tmp_path: Path):
    path = written(tmp_path, {"digit": ["7", 1], "letter": ["a"]}, fine_names=["1", "a", "7"])
    assert trees.read(path, FOUR[:3]).classes == ((2, 0), (1,))


def test_a_file_names_the_classes_of_data_that_have_numbers_alone(tmp_path: Path):
    path = written(tmp_path, {"x": ["w"], "y": ["z"]}, fine_names=["w", "z"])
    assert trees.read(path, FOUR[:2]).fine_names == ("w", "z")
    assert trees.read(path, ("w", "z")).fine_names == ("w", "z")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["w", "z"], "'w' as class 0, which is 'fig' in the data; give the names of the data in t"),
        (["pear", "fig"], "'pear' as class 0, which is 'fig' in the data"),
        (["fig", "Pear"], "'Pear' as class 1, which is 'pear' in the data"),
        (["fig", "fig"], "'fig' as class 1, which is 'pear' in the data"),
    ],
)
def test_a_file_does_not_rename_classes_that_have_names(tmp_path: Path, names, sentence: str):
    path = written(tmp_path, {"x": [0], "y": [1]}, fine_names=names)
    with pytest.raises(InputError, match=rf"tree\.json: fine_names has {sentence}"):
        trees.read(path, ("fig", "pear"))


@pytest.mark.parametrize("key", ["fine_names", "parent_names"])
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cat", "cat"], "two .* are called 'cat'; rename one"),
        (["Cat", "cat"], "'Cat' and 'cat' differ only in case"),
        (["cat", "cat\u00a0"], r"'cat' and 'cat\\xa0' differ only"),
        (["caf\u00e9", "cafe\u0301"], r"'caf\\xe9' and 'cafe\\u0301' differ only"),
        (["cat", " "], "must be a list of 2 names"),
        (["cat", None], "must be a list of 2 names"),
    ],
)
def test_names_that_people_take_for_one_are_told(tmp_path: Path, key: str, names, sentence: str):
    path = written(tmp_path, {"0": [0], "1": [1]}, **{key: names})
    with pytest.raises(InputError, match=rf"tree\.json.*{sentence}"):
        trees.read(path, FOUR[:2])


def test_letters_are_told_apart_by_case(tmp_path: Path):
    path = written(tmp_path, {"0": [0], "1": [1]}, fine_names=["A", "a"])
    assert trees.read(path, FOUR[:2]).fine_names == ("A", "a")


@pytest.mark.parametrize(
    "tree",
    [
        {"fruit": ["fig", "pear"], "Fruit": ["rose", "plum"]},
        {"fruit ": {"a": ["fig"], "b": ["pear"]}, "fruit": {"c": ["rose"], "d": ["plum"]}},
        {"fig": "fruit", "pear": "fruit", "rose": "Fruit", "plum": "fruit"},
    ],
)
def test_parents_that_people_take_for_one_are_told(tmp_path: Path, tree: dict):
    with pytest.raises(InputError, match=r"tree\.json: the parents '.*' and '.*' differ only in c"):
        trees.read(written(tmp_path, tree), FRUIT)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"a": ["plum", "paer"], "b": ["rose", "fig"]}, "no class 'paer'; did you mean 'pear'"),
        ({"a": ["PLUM", "pear"], "b": ["rose", "fig"]}, "no class 'PLUM'; did you mean 'plum'"),
        ({"a": ["plum", "pear"], "b": ["rose"]}, "class 'fig' is under no parent"),
        ({"a": ["plum", "pear"], "b": ["rose", "fig", "plum"]}, "'plum' is under parents a and b"),
        ({"a": ["plum", "pear", "plum"], "b": ["rose", "fig"]}, "'plum' is under parents a and a"),
        ({"a": ["plum", 1], "b": ["rose", "fig"]}, "class 1 is a number and class 'plum' a name"),
    ],
)
def test_a_class_is_called_as_the_file_calls_it(tmp_path: Path, tree: dict, sentence: str):
    with pytest.raises(InputError, match=rf"tree\.json.*{sentence}"):
        trees.read(written(tmp_path, tree), FRUIT)


def test_parents_have_the_names_that_parent_names_gives(tmp_path: Path):
    path = written(tmp_path, {"a": [0], "c": [1]}, parent_names=["a", "b"])
    with pytest.raises(InputError, match="there is no parent 'c'; did you mean 'b'"):
        trees.read(path, FOUR[:2])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has the columns ; its first line must name"),
        ("class,superclass\n0,1\n", "has the columns class, superclass; its first line must name"),
        ("class,parent,class\n0,0,1\n", "must name one column class and one column parent"),
        ("class,parent\n", "has no rows"),
        ("class,parent\n0,0\n1\n", "line 3: '1' is not a value for each of class, parent"),
        ("class,parent\n0,0\n1,\n", "'1' has no parent and no children"),
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
        trees.read(tmp_path / "tree.csv", FOUR[:2])


def test_a_file_without_a_tree_is_refused(tmp_path: Path):
    (tmp_path / "tree.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"tree\.json has no tree"):
        trees.read(tmp_path / "tree.json", FOUR[:2])


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a"], "ab", {"0": "a", "1": "b"}])
def test_as_many_names_as_there_are_parents(tmp_path: Path, names: object):
    with pytest.raises(InputError, match="parent_names must be a list of 2 names"):
        trees.read(written(tmp_path, TWO_OF_TWO, parent_names=names), FOUR)


def test_as_many_names_as_there_are_classes(tmp_path: Path):
    with pytest.raises(InputError, match="fine_names must be a list of 4 names"):
        trees.read(written(tmp_path, TWO_OF_TWO, fine_names=["a", "b"]), FOUR)


def chosen(setting, dataset: str, classes: int, level=None, ancestors=None) -> Taxonomy | None:
    names = trees.built_in_names(dataset, classes) or tuple(f"class {n}" for n in range(classes))
    return trees.choose(str(setting), level, dataset=dataset, names=names, ancestors=ancestors)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["cifar100", "demo100"])
def test_superclasses_are_twenty_of_five(name: str):
    tree = chosen("superclass", name, 100)
    assert [len(members) for members in tree.classes] == [5] * 20
    assert len(set(tree.parent_names)) == 20
    assert len(set(tree.fine_names)) == 100


def test_a_taxonomy_of_the_users_own_is_taken_from_its_file(tmp_path: Path):
    path = written(tmp_path, TWO_OF_TWO)
    assert chosen(path, "mine", 4, ancestors=[("a",)] * 4) == trees.read(path, FOUR)


@pytest.mark.usefixtures("project")
def test_a_file_without_names_has_those_of_the_data_set(tmp_path: Path):
    cifar100 = chosen("superclass", "cifar100", 100)
    path = written(tmp_path, {"0": list(range(50)), "1": list(range(50, 100))})
    assert chosen(path, "cifar100", 100).fine_names == cifar100.fine_names
    assert chosen(path, "mine", 100).fine_names[99] == "class 99"


@pytest.mark.usefixtures("project")
def test_ten_classes_of_cifar100_are_not_its_first_ten(tmp_path: Path):
    path = written(tmp_path, {"0": list(range(10))})
    assert chosen(path, "cifar100", 10).fine_names[0] == "class 0"


@pytest.mark.usefixtures("project")
def test_superclasses_have_one_level():
    assert chosen("superclass", "cifar100", 100, level=1) == chosen("superclass", "cifar100", 100)
    with pytest.raises(
        InputError, match=r"cifar100\.json can't be cut at level 2; its parents are 20"
    ):
        chosen("superclass", "cifar100", 100, level=2)


@pytest.mark.usefixtures("project")
def test_the_built_in_tree_comes_before_the_datas_own_for_its_own_data_set_alone():
    parents = chosen("superclass", "demo100", 100).parent_of()
    own = [(f"parent {parent:02}",) for parent in parents]
    assert "arcs" in chosen("superclass", "demo100", 100, ancestors=own).parent_names
    assert "parent 07" in chosen("superclass", "mine", 100, ancestors=own).parent_names
    with pytest.raises(InputError, match=r"labels of demo100 put the class .* under odd"):
        chosen("superclass", "demo100", 100, ancestors=[("odd",), ("even",)] * 50)


@pytest.mark.parametrize("ancestors", [None, [()] * 81])
def test_superclass_without_a_tree_is_refused_with_a_number_of_clusters(ancestors):
    with pytest.raises(InputError, match=r"mine has no tree.* file, or to clusters-9\."):
        chosen("superclass", "mine", 81, ancestors=ancestors)


def test_learned_clusters_have_one_level():
    assert chosen("clusters-3", "mine", 9, level=1) is None
    with pytest.raises(InputError, match="taxonomy_level is 2, but clusters-3 has one level"):
        chosen("clusters-3", "mine", 9, level=2)


# The same seven classes in every deep form; avocado is directly under fruit.
SHOP = ("avocado", "fig", "gala", "hammer", "oat", "pink", "rice")
ABOVE = {
    "avocado": ("food", "fruit"),
    "fig": ("food", "fruit"),
    "gala": ("food", "fruit", "apple"),
    "pink": ("food", "fruit", "apple"),
    "oat": ("food", "milk"),
    "rice": ("food", "milk"),
    "hammer": ("tools",),
}
ANCESTORS = tuple(ABOVE[name] for name in SHOP)
LINKS = {
    **{name: groups[-1] for name, groups in ABOVE.items()},
    **{"apple": "fruit", "fruit": "food", "milk": "food"},
}
DEEP = {
    "nested.json": {
        "tools": ["hammer"],
        "food": {
            "fruit": {"apple": ["pink", "gala"], "avocado": {}, "fig": None},
            "milk": {"rice": 1, "oat": 0},
        },
    },
    "lists.json": {
        "tools": ["hammer"],
        "food": [
            {"milk": ["oat", "rice"], "fruit": ["fig", {"apple": ["gala", "pink"]}, "avocado"]}
        ],
    },
    "numbers.json": {
        "tree": {
            "tools": [3],
            "food": {"fruit": {"0": None, "1": {}, "apple": [5, 2]}, "milk": [6, 4]},
        },
        "fine_names": SHOP,
    },
    "links.json": LINKS,
    "roots.json": {"tree": {**LINKS, "food": None, "tools": None}},
    "rows.json": [{"name": name, "parent": parent} for name, parent in LINKS.items()],
    "rows_of_classes.json": [
        {"class": "food", "parent": None},
        *({"class": name, "parent": parent} for name, parent in LINKS.items()),
    ],
    "table.csv": "class,parent\n" + "".join(f"{link[0]},{link[1]}\n" for link in LINKS.items()),
    "roots.tsv": "parent\tclass\n\tfood\n"
    + "".join(f"{parent}\t{name}\n" for name, parent in reversed(LINKS.items())),
}
# The parents at each level; a class above the level is its own.
LEVELS = {
    1: {"food": {0, 1, 2, 4, 5, 6}, "tools": {3}},
    2: {"fruit": {0, 1, 2, 5}, "milk": {4, 6}, "hammer": {3}},
    3: {"apple": {2, 5}, "avocado": {0}, "fig": {1}, "oat": {4}, "rice": {6}, "hammer": {3}},
}
LEVELS[None] = LEVELS[3]


def saved(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def parents(tree: Taxonomy) -> dict[str, set[int]]:
    return dict(zip(tree.parent_names, map(set, tree.classes), strict=True))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", DEEP)
def test_every_deep_form_is_the_same_tree(tmp_path: Path, name: str, level: int | None):
    tree = trees.read(saved(tmp_path, name, DEEP[name]), SHOP, level)
    assert tree == trees.from_ancestors(SHOP, ANCESTORS, level)
    assert parents(tree) == LEVELS[level]


def test_parents_of_a_deep_tree_are_in_the_order_of_their_names():
    assert trees.from_ancestors(SHOP, ANCESTORS).parent_names == (
        *("apple", "avocado", "fig", "hammer", "oat", "rice"),
    )


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=4).map(tuple), min_size=2, max_size=20),
    st.integers(1, 4),
)
def test_classes_have_one_parent_if_the_names_above_them_agree_to_the_level(ancestors, level):
    names = [f"class {fine}" for fine in range(len(ancestors))]
    try:
        parent_of = trees.from_ancestors(names, ancestors, level).parent_of()
    except InputError:
        return
    for one, other in itertools.combinations(range(len(names)), 2):
        deep = min(len(ancestors[one]), len(ancestors[other])) >= level
        alike = deep and ancestors[one][:level] == ancestors[other][:level]
        assert (parent_of[one] == parent_of[other]) == alike


def test_groups_of_one_name_are_different_parents_and_called_by_their_paths():
    above = [("dairy", "milk"), ("vegan", "milk"), ("dairy", "cheese")]
    assert parents(trees.from_ancestors(("cow", "oat", "brie"), above)) == {
        **{"dairy/milk": {0}, "vegan/milk": {1}, "cheese": {2}},
    }


def test_a_class_may_have_the_name_of_its_group(tmp_path: Path):
    """As in the Grocery Store data: the class Avocado is the coarse class Avocado."""
    path = saved(tmp_path, "tree.csv", "class,parent\nfig,fig\npear,tree\nplum,tree\nrose,fig\n")
    assert parents(trees.read(path, FRUIT)) == {"fig": {0, 2}, "tree": {1, 3}}


def test_a_class_with_classes_under_it_stands_beside_them(tmp_path: Path):
    """As in ImageNet-21k: dog is a class, and so is husky."""
    links = {"husky": "dog", "poodle": "dog", "dog": "animal", "cat": "animal", "oak": "plant"}
    names = ("animal", "cat", "dog", "husky", "oak", "poodle")
    path = saved(tmp_path, "tree.json", links)
    assert parents(trees.read(path, names, 1)) == {"animal": {0, 1, 2, 3, 5}, "plant": {4}}
    assert parents(trees.read(path, names, 2)) == {
        **{"animal": {0}, "cat": {1}, "dog": {2, 3, 5}, "oak": {4}},
    }


def test_links_of_numbers_to_names_of_parents(tmp_path: Path):
    path = saved(tmp_path, "tree.json", {"1": "fruit", "0": "tree", "3": "fruit", "2": "fruit"})
    assert trees.read(path, FOUR).classes == ((1, 3, 2), (0,))


def test_a_graph_may_have_more_leaves_than_the_data_have_classes(tmp_path: Path):
    path = saved(tmp_path, "tree.json", {**LINKS, "kiwi": "citrus", "citrus": "fruit"})
    assert trees.read(path, SHOP) == trees.from_ancestors(SHOP, ANCESTORS)


def test_two_parents_are_fine_where_they_lead_to_one(tmp_path: Path):
    path = saved(tmp_path, "tree.csv", DEEP["table.csv"] + "apple,milk\n")
    assert parents(trees.read(path, SHOP, 1)) == LEVELS[1]
    with pytest.raises(
        InputError,
        match="'apple' is under 'fruit' and 'milk', which are different parents at level 2; leave "
        "it under one, or set taxonomy_level to 1",
    ):
        trees.read(path, SHOP, 2)


def test_names_that_are_digits_are_names_if_the_data_have_them(tmp_path: Path):
    """Folders 1, 10 and 2 are the classes 0, 1 and 2."""
    path = saved(tmp_path, "tree.json", {"a": ["1", "2"], "b": [10]})
    assert trees.read(path, ("1", "10", "2")).classes == ((0, 2), (1,))


@pytest.mark.parametrize(
    ("name", "content", "level", "sentence"),
    [
        ("a.json", LINKS, 4, "level 4; its parents are 2 at level 1, 3 at level 2, 6 at level 3"),
        ("a.json", {"food": DEEP["nested.json"]}, 1, "at level 1; its parents are 1 at level 1, 2"),
        ("a.json", {"a": ["fig"], "b": ["avocado", *SHOP[2:]]}, 2, "2 at level 1; set taxon"),
        ("a.json", {**LINKS, "food": "apple"}, None, "has a cycle, .*'apple' over '.*; remove one"),
        ("a.json", {**LINKS, "Oat": "milk", "oat": None}, None, "'oat' has no parent and no chi"),
        ("a.json", {k: v for k, v in LINKS.items() if k != "fig"}, None, "no class 'fig'; add it"),
        (
            "a.json",
            {{"fig": "Fig"}.get(name, name): parent for name, parent in LINKS.items()},
            None,
            "has no class 'fig'; did you mean 'Fig'?",
        ),
        ("a.json", {str(fine): name for fine, name in enumerate(SHOP)}, None, "name and no parent"),
        ("a.json", {name: fine for fine, name in enumerate(SHOP)}, None, "avocado has no children"),
        ("a.json", dict.fromkeys(SHOP), None, "its parents are none"),
        ("a.json", {"tree": DEEP["nested.json"], "parent_names": ["a"]}, None, "of one level; rem"),
        ("a.json", {"tree": LINKS, "fine_names": SHOP[::-1]}, None, "'rice' as class 0, which is"),
        ("a.json", [{"name": "fig"}, {"name": ["oat"]}], None, "has no tree"),
        ("a.json", {**DEEP["nested.json"], "shelf": {}}, None, "parent shelf has no children"),
        ("a.json", {**DEEP["nested.json"], "shelf": {"fig": {}}}, None, "'fig' is under parents f"),
        ("a.csv", DEEP["table.csv"] + "fig,milk\n", None, "'fig' is under 'fruit' and 'milk'"),
        ("a.csv", DEEP["table.csv"] + "kiwi,\n", None, "'kiwi' has no parent and no children"),
    ],
)
def test_a_deep_tree_is_refused_with_its_place(tmp_path: Path, name, content, level, sentence):
    path = saved(tmp_path, name, content)
    with pytest.raises(InputError, match=rf"a\.\w+\b.*{sentence}"):
        trees.read(path, SHOP, level)


def test_a_graph_of_the_size_of_imagenet_is_a_matter_of_a_second(tmp_path: Path):
    """21,841 classes, each the child of an earlier one, as in WordNet with two roots."""
    names = tuple(f"n{fine:08}" for fine in range(21_841))
    links = {name: names[fine // 6] for fine, name in enumerate(names) if fine // 6 != fine}
    path = saved(tmp_path, "tree.json", {**links, names[1]: "other", names[7]: "other"})
    start = time.process_time()
    tree = trees.read(path, names)
    assert time.process_time() - start < 3
    assert sum(map(len, tree.classes)) == 21_841
