"""What people look at: names are text, no label hides another, the same figure is the same file."""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from treehead.data.taxonomy import Taxonomy, from_parents
from treehead.evaluation import comparison
from treehead.report import figures, pareto, summary

NAMES = ("$$", "$1-$5", "a_b^c", r"\frac", "50%", "{x}", "<i>&amp;", "--", "_")
TITLE = "$x$: all of {it}"


def drawn(figure: Figure, folder: Path) -> list[str]:
    """All texts of a figure as their glyphs in an SVG spell them."""
    figures.save(figure, folder / "figure.svg")
    spelled = {}
    for weight, suffix in (("normal", ""), ("bold", "-Bold")):
        path = font_manager.findfont(
            font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        )
        for code, glyph in FT2Font(path).get_charmap().items():
            spelled.setdefault(f"DejaVuSans{suffix}-{glyph:x}", chr(code))
    svg = (folder / "figure.svg").read_text()
    texts = re.split(r"<!-- .*? -->", svg, flags=re.DOTALL)[1:]
    uses = [re.findall(r'<use xlink:href="#(DejaVuSans[^"]*)"', text) for text in texts]
    return ["".join(spelled[glyph] for glyph in each) for each in uses]


def awkward_taxonomy() -> Taxonomy:
    """Three parents of three classes, all with names that are markup somewhere."""
    parents = ("parent $", "parent $_$", r"parent \$")
    return from_parents([0, 1, 2] * 3, list(parents), list(NAMES))


def contact_sheet(tree: Taxonomy) -> Figure:
    images = np.zeros((9, 3, 4, 4), np.uint8)
    return figures.contact_sheet(images, np.arange(9), tree, TITLE)


def confusion(tree: Taxonomy) -> Figure:
    return figures.confusion(np.arange(9), np.arange(9)[::-1], tree, TITLE)


def confusion_of_many(tree: Taxonomy) -> Figure:
    """Of more classes than can be named one by one, five of each parent with one of each name."""
    many = [f"{fine} {each}" for each in range(5) for fine in tree.fine_names]
    parent_of = np.tile(tree.parent_of(), 5).tolist()
    tree = from_parents(parent_of, list(tree.parent_names), many)
    return figures.confusion(np.arange(45), np.arange(45)[::-1], tree, TITLE)


def group_confusion(tree: Taxonomy) -> Figure:
    return figures.group_confusion(np.arange(3), np.array([0, 0, 2]), tree, TITLE)


def dendrogram(tree: Taxonomy) -> Figure:
    alike = np.random.default_rng(0).random((9, 9))
    return figures.dendrogram(alike + alike.T, tree, TITLE)


def of_classes(tree: Taxonomy) -> set[str]:
    return set(tree.fine_names)


def of_parents(tree: Taxonomy) -> set[str]:
    return set(tree.parent_names)


def of_both(tree: Taxonomy) -> set[str]:
    return of_classes(tree) | of_parents(tree)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (contact_sheet, of_both),
        (confusion, of_classes),
        (confusion_of_many, of_parents),
        (group_confusion, lambda tree: {f"{n}  {i}" for i, n in enumerate(tree.parent_names)}),
        (dendrogram, lambda tree: {f" {i % 3}  {n}" for i, n in enumerate(tree.fine_names)}),
    ],
)
def test_names_are_drawn_as_they_are_written(tmp_path: Path, draw, expected):
    """`$1-$5` was drawn as the formula 1-, and `$$` ended in a traceback."""
    tree = awkward_taxonomy()
    texts = drawn(draw(tree), tmp_path)
    assert expected(tree) | {TITLE} <= set(texts)


def test_a_name_is_drawn_on_one_line_and_cut_where_it_is_too_long():
    assert figures.name("two\nlines,\ta tab") == "two lines, a tab"
    assert figures.name("maple_tree") == "maple_tree"
    assert figures.name("x" * 48) == "x" * 48
    assert figures.name("x" * 49) == "x" * 47 + "…"


def test_long_names_leave_room_for_the_figure():
    tree = from_parents([0, 1, 2] * 3, ["name" * 100] * 3, ["a\nname" * 100] * 9)
    for draw in (contact_sheet, confusion, group_confusion, dendrogram):
        figure = draw(tree)
        figure.draw_without_rendering()
        width, height = figure.axes[0].bbox.size / figure.bbox.size
        assert width * len(tree.classes) > 0.2
        assert height > 0.1


@pytest.mark.parametrize("sizes", [[5] * 20, [1] * 42 + [13] * 3, [1] * 200, [40], [1]])
def test_no_name_of_a_confusion_hides_its_neighbour(sizes: list[int]):
    parent_of = np.repeat(np.arange(len(sizes)), sizes).tolist()
    names = [f"name {fine}" for fine in range(len(parent_of))]
    tree = from_parents(parent_of, names[: len(sizes)], names)
    figure = figures.confusion(np.array(parent_of), np.array(parent_of), tree, TITLE)
    figure.draw_without_rendering()
    assert max(figure.get_size_inches()) < 20
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert len(boxes) == (len(sizes) if len(names) > 40 else len(names))
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def report(**changes: object) -> dict:
    """A metrics file of a tree of two parents."""
    asked = {"accuracy": 0.5, "macs": 1234.0, "macs_worst": 2000}
    return {
        "dataset": {"name": "a<b", "note": "images & more"},
        "n_test": 2000,
        **asked,
        "accuracy_ci95": (0.4, 0.6),
        "top_k": {"2": {**asked, "accuracy": 0.75}},
        "flat": {"accuracy": 0.8, "macs": 34400},
        "parent_accuracy": 0.9,
        "child_given_true_parent": 0.85,
        "per_parent": [
            {"name": "<script>", "parent": 0, "recall": 0.25, "child_accuracy": 1.0, "count": 7},
            {"name": "y" * 80, "parent": 1, "recall": None, "child_accuracy": None, "count": 0},
        ],
    } | changes


def test_the_summary_names_its_figures():
    table = summary.table(report())
    assert table.to_dict("split")["data"] == [
        ["tree, one parent", "50.00 % (40.00 to 60.00)", "1,234"],
        ["tree, 2 parents", "75.00 %", "1,234"],
        ["full linear head", "80.00 %", "34,400"],
        ["parent", "90.00 %", ""],
        ["child given the true parent", "85.00 %", ""],
    ]


def test_the_summary_has_the_figures_of_classes_alike_if_they_are_of_unequal_size():
    alike = {"balanced_accuracy": 0.3, "macro_f1": 0.2}
    of_parents = {"parent_balanced_accuracy": 0.6, "parent_macro_f1": 0.55}
    unequal = report(imbalance_ratio=9.5, **alike, **of_parents)
    for row in (unequal["flat"], *unequal["top_k"].values()):
        row.update(alike)
    table = summary.table(unequal).set_index("on test")
    assert list(table) == ["accuracy", "balanced accuracy", "macro-F1", "head MACs"]
    assert table.loc["parent"].tolist() == ["90.00 %", "60.00 %", "55.00 %", ""]
    assert table.loc["child given the true parent"].tolist() == ["85.00 %", "", "", ""]
    assert set(table["macro-F1"][:3]) == {"20.00 %"}
    assert summary.table(report(imbalance_ratio=1.2, **alike)).equals(summary.table(report()))


def test_a_tree_of_one_parent_has_one_row():
    alone = report(top_k={"1": {"accuracy": 0.5, "macs": 1234.0, "macs_worst": 2000}})
    rows = summary.table(alone)["on test"].tolist()
    assert [row for row in rows if row.startswith("tree")] == ["tree, one parent"]


def test_names_on_the_page_are_text_and_whole():
    page = summary.page(report())
    assert "<script>" not in page
    assert "<td>&lt;script&gt;</td>" in page
    assert f"<td>{'y' * 80}</td>" in page
    assert "<title>a&lt;b: the tree on 2,000 test images</title>" in page
    assert "images &amp; more" in page
    assert re.findall(r"<td>(25.0 %|100.0 %|7|0|)</td>", page)[-6:] == [
        *("25.0 %", "100.0 %", "7"),
        *("", "", "0"),
    ]


def heads() -> pd.DataFrame:
    """Forty heads of which most are as good as the full one, and some are far worse or better."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(40):
        loss = rng.normal(0.001, 0.001) if index < 30 else rng.uniform(0.01, 0.7)
        macs = 10 ** rng.uniform(3, 5)
        name = "linear" if index == 20 else f"{'$nested_' if index % 2 else 'low$'}-{index}-3.5-2"
        loss, macs = (0, 34_400) if name == "linear" else (loss, macs)
        for precision, bits in (("float32", 32), ("int8", 8), ("int4", 4)):
            rows.append(
                {
                    "head": name,
                    "module": f"module{index % 9}",
                    "precision": precision,
                    "accuracy_mean": 0.75 - loss - rng.uniform(0, 0.001) * (bits < 32),
                    "accuracy_sd": rng.uniform(0, 0.002),
                    "macs_mean": macs,
                    "bytes": macs * bits / 8,
                    "p_value": 0.01 if loss > 0.003 else 0.5,
                }
            )
    return pd.DataFrame(rows)


STUDY = pd.DataFrame({"accuracy": [73.8, 60.0, None, 2.2], "macs": [34400, 7932, 100, 4440]})


@pytest.fixture(scope="module")
def figure() -> Figure:
    figure = pareto.pareto(heads(), STUDY, 51_308_304, TITLE)
    figure.draw_without_rendering()
    return figure


def labels(axis: Axes) -> list[Text]:
    """The names beside marks; accuracies beside the ticks have no ground of their own."""
    return [text for text in axis.texts if text.get_bbox_patch()]


def test_the_best_heads_are_named(figure: Figure):
    table = heads()
    for axis, rows, cost in (
        (figure.axes[0], table[table["precision"] == "float32"], "macs_mean"),
        (figure.axes[1], table, "bytes"),
    ):
        named = [text.get_text() for text in labels(axis)]
        best = comparison.frontier(rows, cost)["head"]
        full, cheapest = "linear", comparison.smallest_without_loss(rows, cost)["head"]
        for head in {full, cheapest, *best[-8:]}:
            assert any(re.split(r",|\n|: ", name)[0] == head for name in named), head
        assert sum(name.endswith("no significant loss") for name in named) == 1
        assert len(named) > 11


def test_no_label_hides_another_or_leaves_its_panel(figure: Figure):
    for axis in figure.axes:
        boxes = [Text.get_window_extent(text) for text in labels(axis)]
        for index, box in enumerate(boxes):
            assert axis.bbox.x0 <= box.x0 < box.x1 <= axis.bbox.x1
            assert axis.bbox.y0 <= box.y0 < box.y1 <= axis.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:index])


def test_no_label_hides_a_mark(figure: Figure):
    for axis in figure.axes:
        marks = [line.get_xydata() for line in axis.lines if line.get_marker() != "None"]
        pixels = axis.transData.transform(np.concatenate(marks))
        for text in labels(axis):
            box = Text.get_window_extent(text)
            assert not ((box.min < pixels) & (pixels < box.max)).all(1).any(), text.get_text()


def test_a_label_is_at_its_mark_or_a_line_leads_there(figure: Figure):
    table, axis = heads().set_index(["head", "precision"]), figure.axes[1]
    full = table.loc["linear", "float32"]["accuracy_mean"]
    leaders = [line.get_xydata() for line in axis.lines if len(line.get_xdata()) == 2]
    for text in labels(axis)[:10]:
        head, precision = re.split(r",\s|\n|: ", text.get_text())[:2]
        row = table.loc[head, precision]
        mark = np.array([row["bytes"], 100 * (row["accuracy_mean"] - full)])
        box, pixels = Text.get_window_extent(text), axis.transData.transform(mark)
        gap = np.linalg.norm(pixels - np.clip(pixels, box.min, box.max))
        ends = [end for leader in leaders for end in leader]
        assert gap < 12 or any(np.allclose(end, mark) for end in ends), head


def test_every_head_is_in_sight_those_better_than_the_full_head_too(figure: Figure):
    table = heads()
    full = table[(table["head"] == "linear") & (table["precision"] == "float32")]
    points = 100 * (table["accuracy_mean"] - full["accuracy_mean"].item())
    low, high = figure.axes[0].get_ylim()
    assert points.max() > 0 > points.min()
    assert low < points.min() - table["accuracy_sd"].max()
    assert high > points.max() + 100 * table["accuracy_sd"].max()
    assert low < 2.2 - 75


def test_ticks_say_the_loss_and_the_accuracy(figure: Figure):
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert {"0", "\N{MINUS SIGN}0.25", "\N{MINUS SIGN}50"} <= set(ticks)
    accuracies = [text.get_text() for text in figure.axes[1].texts if "%" in text.get_text()]
    assert "75.00 %" in accuracies
    assert "74.50 %" in accuracies
    assert "51,308,304" in figure.axes[0].get_xlabel()


def test_the_studys_heads_are_drawn_beside_its_own_images_only(figure: Figure):
    def diamonds(drawn: Figure) -> list[int]:
        return [len(line.get_xdata()) for line in drawn.axes[0].lines if line.get_marker() == "d"]

    assert diamonds(figure) == [3]
    assert diamonds(pareto.pareto(heads(), None, 1, TITLE)) == []


def test_a_table_with_instructions_has_a_panel_of_the_heads_that_have_c():
    """At float32 no head has C, so the full head is that of int8 there."""
    table = heads()
    whole = table["precision"] != "float32"
    table["instructions_mean"] = (5 * table["macs_mean"]).where(whole)
    drawn = pareto.pareto(table, STUDY, 51_308_304, TITLE)
    assert len(drawn.axes) == 3
    named = [text.get_text() for text in labels(drawn.axes[2])]
    assert "linear, int8: the full head" in named
    cheapest = comparison.smallest_without_loss(table[whole], "instructions_mean")
    (best,) = [name for name in named if name.endswith("instructions,\nno significant loss")]
    assert best.startswith(f"{cheapest['head']}, {cheapest['precision']}\n")
    assert not any("float32" in name for name in named)


def test_the_full_head_alone_has_a_figure():
    table = heads().query("head == 'linear' and precision == 'float32'")
    drawn = pareto.pareto(table, None, 1, TITLE)
    assert [text.get_text() for text in labels(drawn.axes[0])] == ["linear: the full head"]


def test_the_same_figure_is_the_same_file(figure: Figure, tmp_path: Path):
    again = pareto.pareto(heads(), STUDY, 51_308_304, TITLE)
    for kind in ("svg", "png"):
        figures.save(figure, tmp_path / f"one.{kind}")
        figures.save(again, tmp_path / f"other.{kind}")
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"other.{kind}").read_bytes()


def test_names_of_heads_are_drawn_as_they_are_written(figure: Figure, tmp_path: Path):
    texts = drawn(figure, tmp_path)
    assert f"40 heads on the same features ({TITLE})" in texts
    names = set(heads()["head"])
    assert len(names & set(texts)) > 10


def test_leaks_and_broken_pictures_are_told_beside_the_number_of_images():
    of_data = {"broken": 3, "leaks": {"identical": 2, "near": 0, "dropped": 2}}
    told = summary.images({"n_test": 2000, "dataset": of_data})
    assert told == (
        "2,000 test images; broken pictures left out: 3; pairs of a test image and the same one in "
        "train: 2; left out of train for that: 2"
    )
    assert summary.images({"n_test": 5}) == "5 test images"
