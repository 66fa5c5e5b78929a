"""A taxonomy is a partition of the classes into parents."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treehead.data import taxonomy, trees
from treehead.data.demo100 import classes
from treehead.data.taxonomy import Taxonomy

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "resources" / "taxonomies"
REAL = ROOT.parent / "shared" / "data" / "cifar100"


@st.composite
def partitions(draw):
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


@given(partitions())
def test_a_taxonomy_is_read_as_it_was_written(tmp_path_factory, tree: Taxonomy):
    """Parents in the order of their numbers: parent 10 comes after 9, not after 1."""
    path = tmp_path_factory.mktemp("taxonomy") / "tree.json"
    tree.write(path)
    assert taxonomy.read(path) == tree
    assert trees.read(path, tree.fine_names) == tree


@given(partitions())
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


def test_the_written_table_is_parent_to_fine_label_to_child_label(tmp_path: Path):
    path = tmp_path / "tree.json"
    Taxonomy(((3, 1), (2, 0)), ("a", "b"), ("w", "x", "y", "z")).write(path)
    content = json.loads(path.read_text())
    assert content["tree"] == {"0": {"3": 0, "1": 1}, "1": {"2": 0, "0": 1}}
    assert (content["parent_names"], content["fine_names"]) == (["a", "b"], ["w", "x", "y", "z"])


def test_learned_clusters_are_named_after_their_first_classes():
    tree = taxonomy.from_clusters(np.array([0, 0, 0, 0, 1, 1, 1, 2]), list("abcdefgh"))
    assert tree.parent_names == ("a, b, c, ...", "e, f, g", "h")


def test_the_table_of_cifar100_has_the_names_of_the_original():
    tree = taxonomy.read(TABLES / "cifar100.json")
    assert list(tree.fine_names) == sorted(tree.fine_names), "fine labels are alphabetical"
    people = tree.classes[tree.parent_names.index("people")]
    assert {tree.fine_names[fine] for fine in people} == {"baby", "boy", "girl", "man", "woman"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real CIFAR-100 is not in ../shared/data")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_table_of_cifar100_agrees_with_the_labels_of_the_real_images(split: str):
    (path,) = REAL.glob(f"{split}-*.parquet")
    labels = pq.read_table(path, columns=["fine_label", "coarse_label"]).to_pydict()
    tree = taxonomy.read(TABLES / "cifar100.json")
    pairs = set(zip(labels["fine_label"], labels["coarse_label"], strict=True))
    assert pairs == set(enumerate(tree.parent_of().tolist()))


def test_the_table_of_demo100_says_what_is_drawn():
    tree = taxonomy.read(TABLES / "demo100.json")
    assert tree == taxonomy.from_parents(
        list(classes.SUPERCLASS_OF), list(classes.SUPERCLASS_NAMES), list(classes.FINE_NAMES)
    )


def test_the_studys_clusters_are_ten_of_ten():
    tree = taxonomy.read(TABLES / "study_clusters.json")
    assert [len(members) for members in tree.classes] == [10] * 10
    assert tree.classes[0] == (4, 30, 55, 72, 95, 1, 32, 67, 73, 91)
    assert tree.classes[9] == (2, 11, 35, 46, 98, 27, 29, 44, 78, 93)
