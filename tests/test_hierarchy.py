"""The tree against a slow one that asks image by image, and class by class."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear as dense
from torch.utils.flop_counter import FlopCounterMode

from treehead import artifacts
from treehead.data import embeddings
from treehead.data.embeddings import Embeddings
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import metrics, trees
from treehead.heads.layers import Linear, Tree
from treehead.hierarchy import children, reduction
from treehead.hierarchy.tree import assemble

DIM = 6


class Parts(NamedTuple):
    """What a tree is put together from."""

    taxonomy: Taxonomy
    parent: Linear
    child: list[Linear]
    reads: str

    @property
    def tree(self) -> Tree:
        return assemble(self.taxonomy, self.parent, self.child, self.reads)

    def evaluate(self, flat: Linear, images: Embeddings, top_k: list[int]) -> tuple:
        splits = {"val": images, "test": images}
        return trees.evaluate(self.tree, flat, **splits, taxonomy=self.taxonomy, top_k=top_k)


def random_parts(sizes: list[int], reads: str, seed: int) -> Parts:
    """Random layers over parents of these sizes, classes in random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(sum(sizes)).tolist()
    members = tuple(tuple(order.pop() for _ in range(size)) for size in sizes)
    taxonomy = Taxonomy(
        members,
        tuple(f"parent {index}" for index in range(len(sizes))),
        tuple(f"class {index}" for index in range(sum(sizes))),
    )

    def layer(outputs: int, inputs: int) -> Linear:
        weight, bias = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
        return Linear(weight.astype(np.float32), bias.astype(np.float32))

    inputs = DIM if reads == "features" else len(sizes)
    parent = layer(len(sizes), DIM)
    return Parts(taxonomy, parent, [layer(size, inputs) for size in sizes], reads)


def random_features(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, n]).normal(size=(n, DIM)).astype(np.float32)


some_parts = st.builds(
    random_parts,
    st.lists(st.integers(1, 5), min_size=1, max_size=7),
    st.sampled_from(["features", "parent_logits"]),
    st.integers(0, 2**32 - 1),
)
some_features = st.builds(random_features, st.integers(1, 8), st.integers(0, 2**32 - 1))


def slow_layer(layer: Linear, x: list[float]) -> list[float]:
    return [
        math.fsum(float(weight) * value for weight, value in zip(row, x, strict=True)) + float(bias)
        for row, bias in zip(layer.weight, layer.bias, strict=True)
    ]


def slow_log_softmax(logits: list[float]) -> list[float]:
    total = math.log(math.fsum(math.exp(logit - max(logits)) for logit in logits)) + max(logits)
    return [logit - total for logit in logits]


class Slow(NamedTuple):
    """One image in a tree: its parents' logits, and log p(parent) + log p(class | parent)."""

    parents: list[float]
    classes: dict[int, float]


def slow(parts: Parts, image: np.ndarray) -> Slow:
    x = [float(value) for value in image]
    logits = slow_layer(parts.parent, x)
    read = x if parts.reads == "features" else [max(logit, 0.0) for logit in logits]
    classes = {}
    for parent, of_parent in enumerate(slow_log_softmax(logits)):
        answers = slow_log_softmax(slow_layer(parts.child[parent], read))
        for fine, answer in zip(parts.taxonomy.classes[parent], answers, strict=True):
            classes[fine] = of_parent + answer
    return Slow(logits, classes)


@settings(deadline=None)
@given(some_parts, some_features, st.integers(1, 8))
def test_images_go_to_their_likeliest_parents_in_order(parts, features, k: int):
    routed = parts.tree.route(features, k)
    assert routed.shape == (len(features), min(k, len(parts.child)))
    for image, parents in zip(features, routed, strict=True):
        logits = slow(parts, image).parents
        assert len(set(parents)) == len(parents)
        best = sorted(logits, reverse=True)[:k]
        assert [logits[parent] for parent in parents] == pytest.approx(best, abs=1e-4)


@settings(deadline=None)
@given(some_parts, some_features, st.integers(1, 8))
def test_the_prediction_is_the_likeliest_class_of_the_routed_parents(parts, features, k: int):
    routed = parts.tree.route(features, k)
    for image, parents, predicted in zip(
        features, routed, parts.tree.predict(features, routed), strict=True
    ):
        scores = slow(parts, image).classes
        asked = {fine for parent in parents for fine in parts.taxonomy.classes[parent]}
        assert predicted in asked, "a child was asked about another parent's classes"
        assert scores[predicted] == pytest.approx(max(scores[fine] for fine in asked), abs=1e-4)


@settings(deadline=None, derandomize=True)
@given(some_parts, some_features)
def test_with_one_parent_the_child_alone_decides(parts, features):
    """The study's evaluation: argmax parent, then argmax of that parent's child."""
    for image, predicted in zip(
        features, parts.tree.predict(features, parts.tree.route(features, 1)), strict=True
    ):
        scores = slow(parts, image)
        parent = int(np.argmax(scores.parents))
        members = parts.taxonomy.classes[parent]
        best = max(scores.classes[fine] for fine in members)
        assert predicted in members
        assert scores.classes[predicted] == pytest.approx(best, abs=1e-4)


@settings(deadline=None)
@given(some_parts, some_features)
def test_with_all_parents_it_is_the_likeliest_class_of_all(parts, features):
    predictions = parts.tree.predict(features, parts.tree.route(features, len(parts.child)))
    for image, predicted in zip(features, predictions, strict=True):
        scores = slow(parts, image).classes
        assert sorted(scores) == list(range(len(parts.taxonomy.fine_names)))
        assert scores[predicted] == pytest.approx(max(scores.values()), abs=1e-4)
        assert math.fsum(map(math.exp, scores.values())) == pytest.approx(1)


@settings(deadline=None)
@given(some_parts, some_features)
def test_class_probabilities_of_each_parent_sum_to_that_of_the_parent(parts, features):
    tree = parts.tree
    scores = tree.scores(features, tree.route(features, len(parts.child)))
    of_parents = torch.from_numpy(parts.parent.logits(features)).softmax(1).numpy()
    for members, share in zip(parts.taxonomy.classes, of_parents.T, strict=True):
        np.testing.assert_allclose(np.exp(scores[:, list(members)]).sum(1), share, rtol=1e-4)


def test_an_only_child_is_right_whenever_its_parent_is():
    parts = random_parts([1, 1, 1], "parent_logits", 0)
    features = random_features(20, 0)
    routed = parts.tree.route(features, 1)
    predicted = parts.tree.predict(features, routed)
    np.testing.assert_array_equal(parts.taxonomy.parent_of()[predicted], routed[:, 0])


def perfect_parts() -> tuple[Parts, Embeddings]:
    """Twenty parents of five, and one image of each class that says its parent and its place.

    Each child reads the place by a permutation of its own, so that no child does another's work.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(100)
    members = tuple(tuple(order[5 * parent : 5 * parent + 5].tolist()) for parent in range(20))
    names = [tuple(f"{noun} {i}" for i in range(n)) for noun, n in (("p", 20), ("c", 100))]
    features = np.zeros((100, 25), np.float32)
    child = []
    for parent, fines in enumerate(members):
        code = np.roll(np.eye(5), 1 + parent % 4, axis=0)[rng.permutation(5)]
        for place, fine in enumerate(fines):
            features[fine, parent] = 1
            features[fine, 20:] = code[place]
        weight = np.hstack([np.zeros((5, 20)), 10 * code]).astype(np.float32)
        child.append(Linear(weight, np.zeros(5, np.float32)))
    parent = Linear(np.eye(20, 25, dtype=np.float32) * 10, np.zeros(20, np.float32))
    parts = Parts(Taxonomy(members, *names), parent, child, "features")
    return parts, Embeddings(features[None], np.arange(100))


def test_every_parent_is_wired_to_its_own_child():
    """The study's parent 10 was wired to child 1: recall of its five classes 10 %."""
    parts, images = perfect_parts()
    predicted = parts.tree.predict(images.features[0], parts.tree.route(images.features[0], 1))
    np.testing.assert_array_equal(predicted, np.arange(100))


def test_a_child_wired_to_another_parent_shows_in_that_parents_row():
    parts, images = perfect_parts()
    wrong = parts._replace(child=[parts.child[1 if p == 10 else p] for p in range(20)])
    report, _ = wrong.evaluate(parts.parent, images, [])
    accuracies = [row["child_accuracy"] for row in report["per_parent"]]
    assert accuracies[10] < 1
    assert accuracies[:10] + accuracies[11:] == [1] * 19
    assert {row["parent"] for row in report["worst_classes"]} == {"p 10"}


@settings(deadline=None, max_examples=50, derandomize=True)
@given(some_parts, st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_the_report_is_what_counting_image_by_image_gives(parts, n: int, seed: int):
    features, rng = random_features(n, seed), np.random.default_rng(seed)
    parent_of, classes = parts.taxonomy.parent_of(), len(parts.taxonomy.fine_names)
    fine = rng.integers(0, classes, n)
    flat = Linear(rng.normal(size=(classes, DIM)), rng.normal(size=classes))
    views = np.stack([features, rng.normal(size=features.shape).astype(np.float32)])
    report, predicted = parts.evaluate(flat, Embeddings(views, fine), [1, 2])

    rows = [(slow(parts, image), int(label)) for image, label in zip(features, fine, strict=True)]
    reached = [int(np.argmax(row.parents)) == parent_of[label] for row, label in rows]

    def best_of(row: Slow, parents: list[int]) -> int:
        asked = [fine for parent in parents for fine in parts.taxonomy.classes[parent]]
        return max(asked, key=row.classes.__getitem__)

    def share(marks: list[bool]) -> float:
        return sum(marks) / len(marks) if marks else 0

    hard = [best_of(row, [int(np.argmax(row.parents))]) for row, _ in rows]
    given_truth = [best_of(row, [parent_of[label]]) == label for row, label in rows]
    right = [guess == label for guess, (_, label) in zip(hard, rows, strict=True)]
    two = [best_of(row, list(np.argsort(row.parents)[::-1][:2])) == label for row, label in rows]
    assert predicted.tolist() == hard
    assert report["accuracy"] == pytest.approx(share(right))
    assert report["parent_accuracy"] == pytest.approx(share(reached))
    assert report["child_given_true_parent"] == pytest.approx(share(given_truth))
    assert report["child_given_predicted_parent"] == pytest.approx(
        share([mark for mark, there in zip(right, reached, strict=True) if there])
    )
    assert report["top_k"]["1"]["accuracy"] == report["accuracy"]
    if len(report["per_parent"]) > 1:
        assert report["top_k"]["2"]["accuracy"] == pytest.approx(share(two))
    assert report["flat"]["accuracy"] == pytest.approx(
        share(
            [int(np.argmax(slow_layer(flat, x))) == y for x, y in zip(features, fine, strict=True)]
        )
    )
    on_flat = flat.logits(features).argmax(1)
    routed = np.array([int(np.argmax(row.parents)) for row, _ in rows])
    for figures, prefix, guesses, truth in (
        (report, "", np.array(hard), fine),
        (report["val"], "", np.array(hard), fine),
        (report["top_k"]["1"], "", np.array(hard), fine),
        (report["flat"], "", on_flat, fine),
        (report, "parent_", routed, parent_of[fine]),
    ):
        expected = metrics.shares(guesses, truth)
        assert expected == {name: pytest.approx(figures[prefix + name]) for name in expected}
    there = np.bincount(fine, minlength=classes)
    assert report["classes_without_images"] == (there == 0).sum()
    assert report["imbalance_ratio"] == there.max() / there[there > 0].min()
    low, high = report["accuracy_ci95"]
    assert low - 1e-9 <= report["accuracy"] <= high + 1e-9
    for parent, row in enumerate(report["per_parent"]):
        here = [index for index, label in enumerate(fine) if parent_of[label] == parent]
        assert (row["parent"], row["count"]) == (parent, len(here))
        assert row["name"] == parts.taxonomy.parent_names[parent]
        if here:
            assert row["recall"] == pytest.approx(share([reached[i] for i in here]))
            assert row["child_accuracy"] == pytest.approx(share([given_truth[i] for i in here]))
        else:
            assert row["recall"] is row["child_accuracy"] is None


def test_the_report_is_json(tmp_path):
    parts, images = perfect_parts()
    report, _ = parts.evaluate(parts.parent, images, [2, 3])
    artifacts.write_json(tmp_path / "metrics.json", report)
    assert artifacts.read_json(tmp_path / "metrics.json")["accuracy"] == 1


def counted_macs(parts: Parts, image: np.ndarray, parents: np.ndarray) -> float:
    """Multiplications of one image by torch's own counter, layer by layer."""
    x = torch.from_numpy(image)[None]
    with FlopCounterMode(display=False) as counter:
        logits = dense(x, *map(torch.from_numpy, parts.parent))
        read = x if parts.reads == "features" else logits.relu()
        for parent in parents:
            dense(read, *map(torch.from_numpy, parts.child[parent]))
    return counter.get_total_flops() / 2


@settings(deadline=None, max_examples=30)
@given(some_parts, some_features, st.integers(1, 3))
def test_macs_of_a_tree_are_those_that_torch_counts(parts, features, k: int):
    routed = parts.tree.route(features, k)
    expected = [counted_macs(parts, *pair) for pair in zip(features, routed, strict=True)]
    cost, parents = parts.tree.cost(routed), len(parts.child)
    assert cost.macs.tolist() == expected
    everything = [counted_macs(parts, features[0], some) for some in subsets(parents, k)]
    assert cost.worst == max(everything)
    fine = np.zeros(len(features), dtype=int)
    report, _ = parts.evaluate(parts.parent, Embeddings(features[None], fine), [k])
    ((asked, row),) = report["top_k"].items()
    assert asked == str(min(k, parents))
    assert row["macs"] == pytest.approx(np.mean(expected))
    assert row["macs_worst"] == max(everything)


def subsets(parents: int, k: int) -> list[list[int]]:
    """All choices of k of the parents, or of all if there are fewer."""
    chosen = [[p for p in range(parents) if mask >> p & 1] for mask in range(2**parents)]
    return [some for some in chosen if len(some) == min(k, parents)]


@pytest.mark.parametrize(
    ("dim", "child_dim", "k", "macs"),
    [
        (1028, 20, 1, 20_660),  # the study's ResNet9 with children on the parent logits
        (344, 20, 1, 6_980),
        (344, 344, 1, 8_600),
        (344, 344, 2, 10_320),
    ],
)
def test_macs_of_twenty_parents_of_five_are_those_of_the_study(dim, child_dim, k, macs):
    parent, child = (Linear(np.zeros(s), np.zeros(s[0])) for s in ((20, dim), (100, child_dim)))
    tree = Tree(parent, child, np.arange(100) % 20, "either")
    cost = tree.cost((np.arange(20)[:, None] + np.arange(k)) % 20)
    assert {*cost.macs, cost.worst} == {macs}


@settings(deadline=None, max_examples=30)
@given(some_parts)
def test_parameters_and_bytes_are_of_all_that_is_stored(parts):
    """Nothing that was learned lies outside: biases count, and float32 has four bytes."""
    layers = [parts.parent, *parts.child]
    numbers = sum(layer.weight.size + layer.bias.size for layer in layers)
    images = Embeddings(random_features(1, 0)[None], np.zeros(1, int))
    report, _ = parts.evaluate(parts.parent, images, [])
    assert report["parameters"] == numbers
    assert report["bytes"] == 4 * numbers


@pytest.mark.parametrize("classes", [[3], [7, 2], [2, 7], [0, 1, 2, 3, 9]])
def test_a_child_sees_only_its_parents_classes(tmp_path: Path, classes: list[int]):
    fine = np.array([3, 7, 2, 9, 3, 0, 2, 5])
    features = np.arange(2 * 8 * 3, dtype=np.float32).reshape(2, 8, 3)
    embeddings.write(tmp_path / "e", Embeddings(features, fine))
    x, labels = embeddings.among(tmp_path / "e", classes)
    mine = [image for image in range(8) if fine[image] in classes]
    assert labels.tolist() == 2 * [classes.index(fine[image]) for image in mine]
    np.testing.assert_array_equal(x, np.concatenate([features[0, mine], features[1, mine]]))


def test_all_views_are_rows_with_their_images_label(tmp_path: Path):
    features = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    embeddings.write(tmp_path / "e", Embeddings(features, np.array([5, 0, 2])))
    train = embeddings.examples(tmp_path / "e", 6)
    assert train.labels.tolist() == [5, 0, 2, 5, 0, 2]
    np.testing.assert_array_equal(train.features[:], np.concatenate([features[0], features[1]]))


def test_embeddings_are_read_as_they_were_written(tmp_path):
    stored = Embeddings(np.ones((2, 3, 4), np.float32), np.array([1, 0, 2]))
    embeddings.write(tmp_path / "e", stored)
    read = embeddings.read(tmp_path / "e")
    np.testing.assert_array_equal(read.features, stored.features)
    np.testing.assert_array_equal(read.fine, stored.fine)


def test_children_read_the_relu_of_the_parent_logits_or_the_features():
    parts, features = random_parts([2, 3], "parent_logits", 0), random_features(7, 0)
    np.testing.assert_array_equal(children.inputs(features, None), features)
    read = children.inputs(features, parts.parent)
    for image, row in zip(features, read, strict=True):
        expected = [max(logit, 0) for logit in slow_layer(parts.parent, image)]
        assert row == pytest.approx(expected, abs=1e-5)
    assert (read == 0).any()


@pytest.mark.parametrize("shape", [(5, 20), (5,), (1, 3), (1,), (), (2, 3, 4), (300, 700)])
def test_torch_loads_what_a_reduction_writes_and_the_other_way_round(tmp_path, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for name in ("7_weight.pt", "again.pt"):
        reduction.save(tmp_path / name, array)
    assert (tmp_path / "7_weight.pt").read_bytes() == (tmp_path / "again.pt").read_bytes()
    torch.save(torch.from_numpy(array), tmp_path / "by_torch.pt")
    for name in ("7_weight.pt", "by_torch.pt"):
        tensor = torch.load(tmp_path / name, weights_only=True)
        assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, shape)
        np.testing.assert_array_equal(tensor.numpy(), array)
        np.testing.assert_array_equal(reduction.load(tmp_path / name), array)


def test_a_reduced_tensor_of_a_view_holds_the_view_alone(tmp_path):
    """torch.save writes the whole storage behind a view."""
    matrix = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    reduction.save(tmp_path / "whole.pt", matrix)
    reduction.save(tmp_path / "view.pt", matrix.T[:2])
    np.testing.assert_array_equal(reduction.load(tmp_path / "view.pt"), matrix.T[:2])
    assert (tmp_path / "view.pt").stat().st_size < (tmp_path / "whole.pt").stat().st_size / 2


@pytest.mark.parametrize("length", [0, 1, 100, -20, -1])
def test_a_truncated_reduced_tensor_is_named(tmp_path, length: int):
    path = tmp_path / "3_bias.pt"
    reduction.save(path, np.ones(5, np.float32))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(
        artifacts.InputError, match=r"3_bias\.pt is not a complete float32 tensor file"
    ):
        reduction.load(path)


def test_a_changed_byte_of_a_reduced_tensor_is_seen_or_changes_nothing(tmp_path):
    path, array = tmp_path / "3_bias.pt", np.ones(5, np.float32)
    reduction.save(path, array)
    whole, seen = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            np.testing.assert_array_equal(reduction.load(path), array)
        except artifacts.InputError:
            seen += 1
    assert seen > len(whole) / 3


@pytest.mark.parametrize("value", [{"weight": torch.ones(2)}, torch.ones(2).double(), 3])
def test_what_is_no_float32_tensor_is_named(tmp_path, value):
    torch.save(value, tmp_path / "3_bias.pt")
    with pytest.raises(artifacts.InputError, match=r"3_bias\.pt .*float32 tensor"):
        reduction.load(tmp_path / "3_bias.pt")


def test_rows_of_a_transposed_tensor_are_not_read_in_the_wrong_order(tmp_path):
    torch.save(torch.arange(6.0).reshape(2, 3).T, tmp_path / "3_weight.pt")
    with pytest.raises(artifacts.InputError, match="its rows are not in order"):
        reduction.load(tmp_path / "3_weight.pt")


def test_nothing_that_a_reduced_tensor_names_is_executed(tmp_path):
    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "executed",)

    torch.save(Payload(), tmp_path / "3_bias.pt")
    with pytest.raises(artifacts.InputError, match="it names "):
        reduction.load(tmp_path / "3_bias.pt")
    assert not (tmp_path / "executed").exists()


def test_a_layer_with_too_few_rows_is_not_put_under_a_parent():
    parts = random_parts([2, 3], "features", 0)
    swapped = parts._replace(child=parts.child[::-1])
    with pytest.raises(artifacts.InputError, match="parent 0 has 3 rows for 2 children"):
        swapped.tree  # noqa: B018
