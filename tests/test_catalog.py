"""What a data set holds is known before the graph: classes, tree, splits, and what is wrong."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import own
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from own import CLASSES, settings
from test_folder import laid

from treehead.artifacts import InputError, sha256
from treehead.data import catalog
from treehead.data.catalog import Catalog, Listing
from treehead.data.sources.source import Entry, Source


def listed(entries: list[Entry], source: dict | None = None, **changes: Any) -> tuple:
    return catalog.listed(Source(entries, iter, **(source or {})), settings("mine", **changes))


def entries(*told: tuple) -> list[Entry]:
    """An entry for each tuple of label, part, groups above and group, or of the first of these."""
    return [Entry(f"row {row}", *one) for row, one in enumerate(told)]


def looked(source: Path, **changes: Any) -> tuple[Listing, Catalog]:
    chosen = settings(source, **changes)
    return catalog.listed(catalog.opened(chosen), chosen)


def repeated(*labels: str | int, times: int = 5) -> list[Entry]:
    """Entries of no split, some of each label."""
    return entries(*((label,) for label in labels for _ in range(times)))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("b", "a", "C"), ("C", "a", "b")),
        ((0, 1, 2), ("class 0", "class 1", "class 2")),
        ((1, 2, 10), ("class 1", "class 2", "class 10")),
    ],
)
def test_classes_are_numbered_from_0_in_the_order_of_names_or_numbers(labels, names):
    """Whatever the first number is: nobody has to count anew."""
    listing, found = listed(repeated(*labels))
    assert found.names == names
    for entry, label in zip(listing.entries, listing.labels, strict=True):
        assert names[label] in (entry.label, f"class {entry.label}")


def test_classes_are_numbered_in_the_order_of_the_hubs_names():
    """Of names that no picture has, none is a class."""
    listing, found = listed(repeated(0, 3, 1), {"class_names": ("z", "y", "x", "w", "v")})
    assert found.names == ("z", "y", "w")
    assert listing.labels[::5] == [0, 2, 1]


def test_numbers_of_a_known_data_set_have_its_names():
    tree = json.loads((own.ROOT / "resources/taxonomies/cifar100.json").read_text())
    _, found = listed(repeated(*range(100)), name="cifar100")
    assert list(found.names) == tree["fine_names"]


def test_the_tree_is_what_is_above_the_classes_but_for_what_all_share():
    told = [
        ("a", "train", ("top", "x", "y")),
        ("b", "train", ("top", "z")),
        ("c", "test", ("top",)),
    ]
    told += [("c", "train", ("top",))]
    assert listed(entries(*told))[1].above == (("x", "y"), ("z",), ())
    flat = [(label, part, ("top",)) for label in "ab" for part in ("train", "test")]
    assert listed(entries(*flat))[1].above is None
    alike = [
        (label, part, (above,)) for label, above in (("a", "xy"), ("b", "xz")) for part in PARTS
    ]
    assert listed(entries(*alike))[1].above == (("xy",), ("xz",)), "names are no prefixes"


PARTS = ("train", "test")


def test_numbered_parents_have_their_names_or_numbers_in_order():
    told = [(label, part, (9 + label,)) for label in (0, 1) for part in PARTS]
    assert listed(entries(*told))[1].above == (("parent 09",), ("parent 10",))
    names = tuple("abcdefghijkl")
    assert listed(entries(*told), {"parent_names": names})[1].above == (("j",), ("k",))
    with pytest.raises(InputError, match="a parent is 10, but there are names of 10 parents, coun"):
        listed(entries(*told), {"parent_names": names[:10]})


def test_given_splits_are_used_as_they_are():
    told = [("a", "train"), ("b", "val"), ("b", "train"), ("a", "test"), ("a", "train")]
    listing, found = listed(entries(*told))
    assert listing.parts == ["train", "val", "train", "test", "train"]
    assert found.counts == {"train": 3, "val": 1, "test": 1}


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_without_a_test_a_stratified_part_of_train_is_set_aside(fraction: float):
    """Of unbalanced classes too; a single picture stays in train."""
    counts = {"a": 100, "b": 20, "c": 3, "d": 2, "e": 1}
    told = [(label,) for label, count in counts.items() for _ in range(count)]
    listing, found = listed(entries(*told), test_fraction=fraction)
    for label, count in counts.items():
        of_test = sum(
            part == "test" and entry.label == label
            for entry, part in zip(listing.entries, listing.parts, strict=True)
        )
        assert of_test == min(max(1, round(fraction * count)), count - 1)
    assert found.counts["val"] == 0
    aside = f"{found.counts['test']} of 126 pictures of train are set aside as test"
    assert aside in found.remarks


def test_what_is_set_aside_is_decided_by_the_seed_of_the_test():
    """And by no other seed, so that a run with another one is tested on the same pictures."""
    aside = [listed(repeated("a", "b", times=20), test_seed=seed)[0].parts for seed in (0, 0, 1)]
    assert aside[0] == aside[1] != aside[2]


def test_a_given_val_stays_when_a_test_is_set_aside():
    told = [(label, part) for label in "ab" for part in ("train", "val") for _ in range(10)]
    listing, found = listed(entries(*told))
    assert found.counts == {"train": 16, "val": 20, "test": 4}
    for (_, part), now in zip(told, listing.parts, strict=True):
        assert (part == "val") == (now == "val")


plants = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=8, max_size=80)


@bounded(deadline=None)
@given(plants=plants, fraction=st.floats(0.05, 0.5), seed=st.integers(0, 1000))
def test_no_group_is_on_both_sides(plants: list, fraction: float, seed: int):
    """A test is found if there is any group without which train keeps each class."""
    assume(len({label for label, _ in plants}) > 1)
    told = [(label, None, (), f"plant {plant}") for label, plant in plants]
    spread = Counter(label for label, _ in set(plants))
    if not any(
        all(spread[label] > 1 for label, other in plants if other == plant) for _, plant in plants
    ):
        with pytest.raises(InputError, match="none can be set aside"):
            listed(entries(*told), test_fraction=fraction, test_seed=seed)
        return
    listing, _ = listed(entries(*told), test_fraction=fraction, test_seed=seed)
    sides = {(e.group, part) for e, part in zip(listing.entries, listing.parts, strict=True)}
    assert len(sides) == len({group for group, _ in sides})
    assert {part for _, part in sides} == {"train", "test"}
    trained = {
        entry.label
        for entry, part in zip(listing.entries, listing.parts, strict=True)
        if part == "train"
    }
    assert trained == {entry.label for entry in listing.entries}


def test_groups_that_are_given_for_some_count_for_these():
    """A picture without one stands alone."""
    told = [
        (label, None, (), f"{label} {at // 5}" if at < 10 else None)
        for label in "ab"
        for at in range(20)
    ]
    listing, found = listed(entries(*told), test_fraction=0.3)
    sides = {
        (entry.group, part)
        for entry, part in zip(listing.entries, listing.parts, strict=True)
        if entry.group
    }
    assert len(sides) == 4
    assert 10 <= found.counts["test"] <= 14


def test_two_large_groups_are_one_for_train_and_one_for_test():
    """Though that is more than the fraction, as with two cameras."""
    told = [(label, None, (), f"camera {at % 2}") for label in "ab" for at in range(20)]
    assert listed(entries(*told))[1].counts == {"train": 20, "val": 0, "test": 20}


def test_groups_that_the_given_splits_divide_are_told():
    told = [(label, part, (), f"plant {label}") for label in "ab" for part in PARTS]
    assert (
        "2 groups, such as plant a, are in test and in train or val"
        in listed(entries(*told))[1].remarks
    )


def test_classes_that_differ_only_in_case_are_told_but_may_be_letters():
    _, found = listed(repeated("a", "A", "b"))
    assert found.names == ("A", "a", "b")
    assert "the classes A and a differ only in case" in found.remarks


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "cat "),
        ("big cat", "big\u00a0cat"),
        ("big cat", "big  cat"),
        ("Cat", "cat "),
        ("caf\u00e9", "cafe\u0301"),
        ("1", "01"),
        ("1", "+1"),
    ],
)
def test_names_that_people_take_for_one_class_are_told(one: str, other: str):
    """By a code where both would look the same."""
    with pytest.raises(
        InputError, match=r"mine: the classes .* and .* differ only in case"
    ) as error:
        listed(repeated(one, other, "dog"))
    assert any(all(map(str(error.value).count, map(show, (one, other)))) for show in (repr, ascii))


def test_names_that_only_resemble_one_another_are_classes():
    names = ("-1 degree", "1 degree", "10", "100", "a", "aa", "x2", "x\u00b2")
    assert listed(repeated(*names))[1].names == names


def test_groups_that_people_take_for_one_are_told():
    told = [("a", "train", ("fruit",)), ("b", "train", ("Fruit",)), ("a", "test", ("fruit",))]
    with pytest.raises(InputError, match="the groups 'Fruit' and 'fruit' differ only in case, spa"):
        listed(entries(*told))


@pytest.mark.parametrize("labels", [(-1, 0, 1), (-1, 1), (-3, 0)])
def test_a_negative_number_is_no_class(labels: tuple):
    """Of two classes -1 and 1 neither is left out: the user says what they are."""
    sentence = f"row 0: the label is {labels[0]}, and classes are numbered from 0; remove pictures"
    with pytest.raises(InputError, match=sentence):
        listed(repeated(*labels))


def test_what_a_source_has_left_out_is_told():
    _, found = listed(repeated("a", "b"), {"skipped": {".mp4": 2, ".txt": 1}})
    assert "left out: 2 .mp4, 1 .txt" in found.remarks


BOTH = [("a", "train"), ("b", "train")]


@pytest.mark.parametrize(
    ("told", "changes", "sentence"),
    [
        ([], {}, "mine lists no picture; give a source with pictures"),
        (
            [("a",), ("a",)],
            {},
            "mine has one class only, 'a'; a classifier needs two. If the classe",
        ),
        (
            [*BOTH, ("c", "test")],
            {},
            "the class 'c' has pictures in test and none in train; add som",
        ),
        ([*BOTH, ("c", "val")], {}, "the class 'c' has pictures in val and none in train"),
        (
            [*BOTH, (3, "test")],
            {},
            "the label of row 2 is the number 3, and that of row 0 the name 'a'",
        ),
        (
            [*BOTH, ("a", None)],
            {},
            "mine: row 2 is in no split, and others are; give each its split",
        ),
        (
            [("a", "val"), ("b", "test")],
            {},
            r"pictures of test and val and none of train; name the sp",
        ),
        (
            BOTH,
            {"splits": {"train": "fit", "test": "old"}},
            r"no picture in the split old, which dat",
        ),
        (
            [("a",), ("b",)],
            {},
            "has no test, and none can be set aside, since each class is a single",
        ),
        (
            [("a", "train", ("x",)), ("b", "train", ("x",)), ("a", "test", ("y",))],
            {},
            "row 2: the class 'a' has the parent y, and x before; a class has one parent, so corr",
        ),
        ([("a", "train", ("x",)), ("a", "train", ())], {}, "one class only"),
        (
            [("a", "train", ("x",)), ("b", "train", ()), ("a", "train", ())],
            {},
            "row 2: the class 'a' has the parent none, and x before",
        ),
        (
            [(f"picture {at}",) for at in range(100_000)],
            {},
            "has 100,000 classes, and 100,000 of them have one picture; check that each class, not",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_with_its_remedy(told: list, changes: dict, sentence: str):
    with pytest.raises(InputError, match=sentence):
        listed(entries(*told), **changes)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_number_without_a_name_is_told(label: int):
    told = [(0, "train"), (1, "train"), (label, "train")]
    sentence = rf"row 2: the label is {label}, but there are names of 3 classes, counted from 0"
    with pytest.raises(InputError, match=sentence):
        listed(entries(*told), {"class_names": ("a", "b", "c")})


def test_two_classes_with_one_name_are_told():
    with pytest.raises(InputError, match="two classes are called 'b'; rename one"):
        listed(repeated(0, 1, 2), {"class_names": ("a", "b", "b")})


def test_a_hundred_classes_of_few_pictures_are_no_mistake():
    """If most have two."""
    listing, found = listed(repeated(*map(str, range(120)), times=2))
    assert len(found.names) == 120
    assert Counter(listing.parts) == {"train": 120, "test": 120}


def test_each_picture_in_its_own_folder_is_told(tmp_path: Path):
    source = laid(tmp_path, *(f"picture {at}/{at}.png" for at in range(120)))
    with pytest.raises(InputError, match="has 120 classes, and 120 of them have one picture"):
        looked(Path(source))


@pytest.mark.parametrize("layout", own.LAYOUTS, ids=lambda layout: layout.__name__)
def test_each_layout_is_recognised(tmp_path: Path, layout):
    _, found = looked(layout(tmp_path / "given"))
    assert found.names == CLASSES
    assert found.counts == {"train": 12, "val": 3, "test": 4}


@pytest.mark.parametrize("layout", own.LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_source_is_found_from_the_projects_root(tmp_path: Path, monkeypatch, layout):
    """A relative path, which may lead out of the project."""
    source = layout(tmp_path / "their data")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    relative = Path("..") / source.relative_to(tmp_path)
    listing, found = looked(relative)
    assert found.names == CLASSES
    for content in catalog.opened(settings(relative)).read([0, len(listing.entries) - 1]):
        assert (content if isinstance(content, bytes) else content.read_bytes())[:4] == b"\x89PNG"


def parquet(folder: Path, *names: str) -> Path:
    """A folder with the same five pictures of each class in each of these files."""
    pictures = [p._replace(part="") for p in own.SET]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(own.table(pictures), folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["train.parquet", "test.parquet"], (19, 0, 19)),
        (["strains-train.parquet", "latest-test.parquet"], (19, 0, 19)),
        (
            ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test.parquet"],
            (38, 0, 19),
        ),
        (["data/train.parquet", "data/validation.parquet", "data/test.parquet"], (19, 19, 19)),
        (["train/0000.parquet", "train/0001.parquet", "test/0000.parquet"], (38, 0, 19)),
        (["Train_1.parquet", "VAL.parquet", "my test.parquet", "notes.txt"], (19, 19, 19)),
        (["all.parquet"], (15, 0, 4)),
        (["data-00000-of-00002.parquet", "data-00001-of-00002.parquet"], (30, 0, 8)),
        (["train.parquet", "test.parquet", ".train.parquet", "train/cache-1.parquet"], (19, 0, 19)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_part_of_a_table_is_told_by_a_word_of_its_name(tmp_path: Path, names, counts):
    """All shards of a split count: none is dropped, and none counts twice."""
    _, found = looked(parquet(tmp_path, *names))
    assert tuple(found.counts.values()) == counts
    shown = [name for name in names if not name.startswith(".") and "cache-" not in name]
    assert len(found.files) == len([name for name in shown if name.endswith("parquet")])


def test_tables_of_splits_are_found_by_the_setting(tmp_path: Path):
    folder = parquet(tmp_path, "fit-1.parquet", "fit-2.parquet", "holdout.parquet", "train.parquet")
    _, found = looked(folder, splits={"train": "fit", "test": "holdout"})
    assert found.counts == {"train": 38, "val": 0, "test": 19}
    assert any("train.parquet is of no split of dataset.splits" in each for each in found.remarks)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["train.parquet", "rest.parquet"],
            r"The name of .*rest\.parquet does not tell whether it is train, val or test, and that "
            r"of .*train\.parquet does; rename it, or move it to another folder",
        ),
        (["train.parquet", "train-test.parquet"], r"name of .*train-test\.parquet does not tell"),
        (["val.parquet", "test.parquet"], "pictures of test and val and none of train"),
        (
            ["train-00000-of-00002.parquet", "test.parquet"],
            r"train-00000-of-00002\.parquet is one of 2 tables, but train-00001-of-00002\.parquet "
            "is not beside it; put all of them in one folder, and give the folder",
        ),
    ],
)
def test_tables_that_do_not_make_a_whole_are_told(tmp_path: Path, names: list, sentence: str):
    with pytest.raises(InputError, match=sentence):
        looked(parquet(tmp_path, *names))


def test_one_table_of_several_is_not_taken_for_all(tmp_path: Path):
    names = [f"train-0000{at}-of-00002.parquet" for at in (0, 1)]
    with pytest.raises(InputError, match=r"one of 2 tables, but train-00001-of-00002\.parquet is"):
        looked(parquet(tmp_path, *names) / names[0])


@pytest.mark.parametrize(
    "source", ["absent", "absent/", "../absent", "a/b/c", "README.md", "no such", "x.csv"]
)
def test_a_source_that_is_not_there_or_is_none_is_told(tmp_path: Path, monkeypatch, source: str):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("README.md").write_text("no data")
    sentence = (
        rf"dataset\.source is {source}, which is neither a folder, a list or table \(\.csv, .*"
    )
    with pytest.raises(InputError, match=sentence):
        catalog.opened(settings("x") | {"source": source})


@pytest.mark.parametrize(
    ("source", "hub"),
    [
        ("uoft-cs/cifar100", True),
        ("ylecun/mnist", True),
        ("a.b-c_d/e.f-g_h", True),
        ("here/data", False),
        ("cifar100", False),
        ("../owner/name", False),
        ("/owner/name", False),
        ("owner/name/more", False),
        ("owner/", False),
    ],
)
def test_owner_and_name_are_the_hubs_unless_there_is_such_a_folder(
    tmp_path: Path, monkeypatch, source: str, hub: bool
):
    (tmp_path / "here/data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert catalog.is_hub(source) is hub


def test_columns_of_a_folder_of_pictures_are_told(tmp_path: Path):
    source = own.folders(tmp_path / "given")
    with pytest.raises(
        InputError, match=r"dataset\.columns\.label names a column, but .* is a fol"
    ):
        looked(source, columns={"label": "species"})
    assert looked(source, columns={"split": None})[1].names == CLASSES


def test_the_hash_of_a_split_is_that_of_its_table(tmp_path: Path):
    folder = parquet(tmp_path / "given", "fit.parquet", "holdout-1.parquet", "holdout-2.parquet")
    splits, right = {"train": "fit", "test": "holdout"}, sha256(folder / "fit.parquet")
    pins = {"fit": right, "holdout": None}
    assert looked(folder, splits=splits, sha256=pins)[1] == looked(folder, splits=splits)[1]
    sentence = rf"fit\.parquet has the SHA-256 {right}, and dataset\.sha256\.fit is {'0' * 64}; put"
    with pytest.raises(InputError, match=sentence):
        looked(folder, splits=splits, sha256={"fit": "0" * 64})
    for split, count in (("holdout", 2), ("trian", "no")):
        with pytest.raises(InputError, match=rf"sha256\.{split} is the hash .* has {count} lists"):
            looked(folder, splits=splits, sha256={split: right})


def test_pins_of_the_hub_are_told_beside_local_data(tmp_path: Path):
    """As of a layer of local files over one of the hub's."""
    source = own.shards(tmp_path / "given")
    remark = (
        "dataset.configuration and dataset.revision and the dataset.sha256 beside it are of the "
        "hub and are not compared with these files"
    )
    pins = {"revision": "0" * 40, "configuration": "full", "sha256": {"train": "0" * 64}}
    assert remark in looked(source, **pins)[1].remarks
    assert not any("hub" in each for each in looked(source)[1].remarks)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "made/source.json"


def test_a_catalog_is_kept_and_read_without_its_source(tmp_path: Path, kept: Path):
    chosen = settings(own.folders(tmp_path / "given"))
    found = catalog.known(chosen, kept, look=True)
    shutil.rmtree(tmp_path / "given")
    assert catalog.known(chosen, kept, look=False) == found
    assert found.names == CLASSES
    assert found.above == tuple(own.TREE[label] for label in CLASSES)
    assert found.version


def test_a_catalog_that_is_the_same_is_not_written_again(tmp_path: Path, kept: Path):
    """A new date would make the graph's inputs look new."""
    chosen = settings(own.folders(tmp_path / "given"))
    catalog.known(chosen, kept, look=True)
    before = kept.stat()
    catalog.known(chosen, kept, look=True)
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_catalog_is_made_anew_if_its_source_or_a_setting_changes(tmp_path: Path, kept: Path):
    source = own.folders(tmp_path / "given")
    first = catalog.known(settings(source), kept, look=True)
    (source / "train/fruit/pear/new.png").write_bytes(own.SET[0].png())
    assert catalog.known(settings(source), kept, look=False) == first
    second = catalog.known(settings(source), kept, look=True)
    assert second.counts["train"] == first.counts["train"] + 1
    assert second.version != first.version
    splits = {"train": "train", "test": "val"}
    (source / "val/root/beet").mkdir()
    third = catalog.known(settings(source, splits=splits), kept, look=False)
    assert third.counts == {"train": 13, "val": 0, "test": 3}


@pytest.mark.parametrize(
    ("change", "recorded"),
    [
        ("apple", True),
        *((change, own) for change in ("names", "counts", "{") for own in (True, False)),
    ],
)
@pytest.mark.fault("what is known of the data set is damaged", "it is looked up again")
def test_a_damaged_catalog_is_made_anew(tmp_path: Path, kept: Path, change: str, recorded: bool):
    chosen = settings(own.folders(tmp_path / "given"))
    found = catalog.known(chosen, kept, look=True)
    text = kept.read_text()
    assert change in text
    kept.write_text(text.replace(change, "?"))
    if not recorded:
        shutil.rmtree(kept.parent / ".made")
    assert catalog.known(chosen, kept, look=False) == found
    assert kept.read_text() == text


def test_settings_of_later_stages_leave_a_catalog_as_it_is(tmp_path: Path, kept: Path):
    source = own.folders(tmp_path / "given")
    catalog.known(settings(source), kept, look=True)
    shutil.rmtree(source)
    later = {"image_size": 16, "resize": "pad", "mean": [0.5] * 3, "val_fraction": 0.3}
    assert catalog.known(settings(source, **later), kept, look=False).names == CLASSES


def test_what_is_drawn_and_the_known_sets_of_the_hub_need_no_look(kept: Path):
    drawn = own.DEFAULTS | {"classes": 100}
    assert len(catalog.known(drawn, kept, look=True).names) == 100
    pinned = settings("uoft-cs/cifar100", name="cifar100", classes=100)
    found = catalog.known(pinned, kept, look=True)
    assert np.unique(found.names).size == 100
    assert not kept.exists()
