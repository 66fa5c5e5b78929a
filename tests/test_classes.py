"""The table of classes against counting image by image, and names that are hard to write."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treehead.data.taxonomy import Taxonomy, from_parents
from treehead.evaluation import classes

TREE = from_parents([0, 1, 0, 1], ["fruit", "milk"], ["apple", "oat", "pear", "soy"])
COLUMNS = [
    *("class", "label", "parent", "support", "precision", "recall", "f1"),
    *("most_confused_with", "confused"),
]


def table() -> pd.DataFrame:
    """Apples are taken for pears twice and once for soy; there is no oat, and soy is right."""
    label = np.array([0, 0, 0, 0, 2, 2, 3])
    predicted = np.array([2, 3, 2, 0, 2, 1, 3])
    return classes.table(predicted, label, TREE)


def test_a_row_for_each_class_in_the_order_of_the_labels():
    found = table()
    assert list(found) == COLUMNS
    assert found["class"].tolist() == ["apple", "oat", "pear", "soy"]
    assert found["label"].tolist() == [0, 1, 2, 3]
    assert found["parent"].tolist() == ["fruit", "milk", "fruit", "milk"]
    assert found["support"].tolist() == [4, 0, 2, 1]
    np.testing.assert_allclose(found["precision"], [1, 0, 1 / 3, 1 / 2])
    np.testing.assert_allclose(found["recall"], [1 / 4, np.nan, 1 / 2, 1])
    np.testing.assert_allclose(found["f1"], [2 / 5, 0, 2 / 5, 2 / 3])
    assert found["most_confused_with"].tolist() == ["pear", "", "oat", ""]
    assert found["confused"].tolist() == [2, 0, 1, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_class_is_confused_most_with_what_most_of_its_images_are_taken_for(answers):
    label, predicted = np.array(answers).T
    for row in classes.table(predicted, label, TREE).to_dict("records"):
        wrong = [p for y, p in answers if y == row["label"] != p]
        assert row["confused"] == max(map(wrong.count, wrong), default=0)
        if wrong:
            other = TREE.fine_names.index(row["most_confused_with"])
            assert wrong.count(other) == row["confused"]
        else:
            assert row["most_confused_with"] == ""


def test_the_worst_classes_have_the_lowest_recall_and_most_images():
    found = classes.worst(table(), 5)
    assert [(row["class"], row["recall"]) for row in found] == [("apple", 0.25), ("pear", 0.5)]
    assert found[0] == {
        **{"class": "apple", "label": 0, "parent": "fruit", "support": 4, "recall": 0.25},
        **{"most_confused_with": "pear", "confused": 2},
    }
    label, predicted = np.array([0, 1, 1, 2, 2, 3]), np.array([1, 0, 0, 0, 0, 3])
    equal = classes.worst(classes.table(predicted, label, TREE), 2)
    assert [row["class"] for row in equal] == ["oat", "pear"]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=4, max_size=4)
)
def test_names_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, names):
    path = tmp_path_factory.getbasetemp() / "per_class.csv"
    tree = Taxonomy(((0, 2), (1, 3)), tuple(names[:2]), tuple(names))
    written = classes.table(np.array([1, 2, 3, 3]), np.array([0, 0, 2, 3]), tree)
    classes.write(path, written)
    names = {"class": str, "parent": str, "most_confused_with": str}
    found = pd.read_csv(
        io.StringIO(path.read_bytes().decode(), newline=""),
        keep_default_na=False,
        na_values={name: [""] for name in COLUMNS if name not in names},
        dtype=names,
        engine="python",
    )
    pd.testing.assert_frame_equal(found, written.round(6), check_dtype=False)


def test_the_file_is_for_people_and_for_spreadsheets(tmp_path):
    awkward = TREE._replace(fine_names=('a "b", c', "NA", "two\nlines", "soy"))
    classes.write(
        tmp_path / "per_class.csv",
        classes.table(np.array([2, 0, 0]), np.array([0, 0, 0]), awkward),
    )
    assert (tmp_path / "per_class.csv").read_text() == (
        '"class","label","parent","support","precision","recall","f1",'
        '"most_confused_with","confused"\n'
        '"a ""b"", c",0,"fruit",3,1.0,0.666667,0.8,"two\nlines",1\n'
        '"NA",1,"milk",0,"","","","",0\n'
        '"two\nlines",2,"fruit",0,0.0,"",0.0,"",0\n'
        '"soy",3,"milk",0,"","","","",0\n'
    )
