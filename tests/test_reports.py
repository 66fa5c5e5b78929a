"""What single layers and a backbone's own head are measured by, against counts by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from treehead.artifacts import InputError
from treehead.data.embeddings import Embeddings
from treehead.data.taxonomy import Taxonomy
from treehead.evaluation import backbone, metrics, parents, predictions
from treehead.heads.layers import Linear
from treehead.training.objectives import Objective

PARENT_OF = [0, 1, 0, 2, 1]
TREE = Taxonomy(((0, 2), (1, 4), (3,)), ("a", "b", "c"), ("v", "w", "x", "y", "z"))
PREFIX = {"parent": "parent_", "fine": ""}


def part(n: int, seed: int) -> Embeddings:
    """Two views of random features (2, n, 6), and labels."""
    rng = np.random.default_rng(seed)
    return Embeddings(rng.normal(size=(2, n, 6)).astype(np.float32), rng.integers(0, 5, n))


VAL, TEST = part(30, 1), part(41, 2)
COUNTS = np.bincount(TEST.fine)


def interval(right: int, n: int) -> tuple[float, float]:
    found = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return found.low, found.high


@pytest.fixture
def layer() -> Linear:
    rng = np.random.default_rng(0)
    return Linear(rng.normal(size=(3, 6)), rng.normal(size=3))


def test_a_parent_layer_is_right_where_it_names_the_parent_of_the_class(layer: Linear):
    report, columns = parents.evaluate(layer, TREE, TEST)
    truth = [PARENT_OF[label] for label in TEST.fine]
    answers = [int((layer.weight @ image + layer.bias).argmax()) for image in TEST.features[0]]
    right = sum(answer == parent for answer, parent in zip(answers, truth, strict=True))
    assert 0 < right < 41
    assert columns["parent"].tolist() == truth
    assert columns["predicted"].tolist() == answers
    expected = metrics.shares(np.array(answers), np.array(truth))
    assert expected["accuracy"] == right / 41
    expected |= {"accuracy_ci95": pytest.approx(interval(right, 41)), "parents_without_images": 0}
    assert report == expected | {"parents": 3, "macs": 18, "n_test": 41}


def test_a_parent_without_images_is_stated(layer: Linear):
    """Only class 3 has parent 2."""
    report, _ = parents.evaluate(layer, TREE, TEST._replace(fine=TEST.fine % 3))
    assert report["parents_without_images"] == 1


def test_the_checkpoints_head_is_measured_on_its_own_features_alone(layer: Linear):
    report, _ = parents.evaluate(layer, TREE, TEST)
    found = parents.of_checkpoint(layer, TREE, TEST, epochs=0)
    assert found == {key: report[key] for key in ("accuracy", "macs", "n_test")}
    with pytest.raises(InputError, match=r"own features alone; set finetune\.epochs to 0\."):
        parents.of_checkpoint(layer, TREE, TEST, epochs=1)


def test_another_number_of_clusters_is_no_checkpoint_of_the_study(layer: Linear):
    wider = Linear(np.vstack([layer.weight] * 2), np.tile(layer.bias, 2))
    with pytest.raises(InputError, match=r"in backbone\.weights has 6 classes, not the 3 clusters"):
        parents.of_checkpoint(wider, TREE, TEST, epochs=0)


def own_head(kind: str) -> tuple[Objective, dict]:
    """A head of random weights, and the settings of its measurement."""
    torch.manual_seed(0)
    settings = {"objective": kind, "child_weight": 1.5, "bottleneck": 2, "label_smoothing": 0.0}
    head = Objective(6, torch.tensor(PARENT_OF), settings)
    return head, {"variant": kind, "objective": settings, "parent_of": PARENT_OF, "epochs": 1}


@pytest.mark.parametrize(
    ("kind", "levels"),
    [
        ("flat", ["fine"]),
        ("bottleneck", ["fine"]),
        ("parent", ["parent"]),
        ("joint", ["parent", "fine"]),
    ],
)
def test_a_backbones_own_head_is_measured_on_test_with_val_beside_it(kind: str, levels: list[str]):
    head, settings = own_head(kind)
    tensors = {name: value.numpy() for name, value in head.state_dict().items()}
    report = backbone.evaluate(tensors, settings, VAL, TEST)
    prefixes = [PREFIX[level] for level in levels]
    figures = ["accuracy", "balanced_accuracy", "macro_f1"]
    beside = [key for p in prefixes for key in (f"{p}accuracy_ci95", f"val_{p}accuracy")]
    names = [prefix + name for prefix in prefixes for name in figures]
    balance = ["imbalance_ratio", "classes_without_images"]
    assert list(report) == ["network", *names, *beside, "macs", "n_test", *balance]
    for level, prefix in zip(levels, prefixes, strict=True):
        answers = {n: by_hand(head, data, level) for n, data in ((41, TEST), (30, VAL))}
        right = {n: int((predicted == truth).sum()) for n, (predicted, truth) in answers.items()}
        assert report[f"{prefix}accuracy"] == right[41] / 41
        assert report[f"val_{prefix}accuracy"] == right[30] / 30
        assert report[f"{prefix}accuracy_ci95"] == pytest.approx(interval(right[41], 41))
        for name, share in metrics.shares(*answers[41]).items():
            assert report[prefix + name] == share
    assert report["classes_without_images"] == 0
    assert report["imbalance_ratio"] == max(COUNTS) / min(COUNTS) > 1
    assert report["network"] == kind
    assert report["macs"] == sum(array.size for array in tensors.values() if array.ndim == 2)


def by_hand(head: Objective, data: Embeddings, level: str) -> tuple[np.ndarray, np.ndarray]:
    """What is predicted for the images as they are, one by one, and the truth."""
    images = torch.from_numpy(data.features[0])
    predicted = [int(head(image[None])[level].argmax()) for image in images]
    truth = [PARENT_OF[label] if level == "parent" else label for label in data.fine]
    return np.array(predicted), np.array(truth)


def test_a_backbone_that_was_not_trained_has_no_head_to_measure():
    _, settings = own_head("flat")
    with pytest.raises(InputError, match=r"was not trained here.*; set finetune\.epochs\."):
        backbone.evaluate({}, settings | {"epochs": 0}, VAL, TEST)


def test_predictions_are_read_as_they_were_written(tmp_path: Path):
    path = tmp_path / "folder" / "predictions.parquet"
    columns = {"fine": np.array([3, 1], np.int64), "float32-0": np.array([3, 2], np.int32)}
    predictions.write(path, columns, {})
    table = pd.read_parquet(path)
    assert list(table) == list(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(table[name].to_numpy(), column, strict=True)
    assert [file.name for file in path.parent.iterdir()] == ["predictions.parquet"]


def test_predictions_have_names_beside_numbers(tmp_path: Path):
    """Two classes may have one name, and a name may be anything."""
    names = ("a, b", "NA", "two\nlines", "a, b")
    columns = {"fine": np.array([3, 1, 0]), "predicted": np.array([2, 1, 0], np.int32)}
    named = {"class": ("fine", names), "predicted_class": ("predicted", names)}
    predictions.write(tmp_path / "predictions.parquet", columns, named)
    table = pd.read_parquet(tmp_path / "predictions.parquet")
    assert table["class"].tolist() == ["a, b", "NA", "a, b"]
    assert table["predicted_class"].tolist() == ["two\nlines", "NA", "a, b"]
    assert list(table) == ["fine", "predicted", "class", "predicted_class"]


def test_names_cost_little_room(tmp_path: Path):
    """A name is stored once, and each image refers to it."""
    fine = np.random.default_rng(0).integers(0, 100, 10_000)
    names = [f"a name of class {label} that goes on and on" for label in range(100)]
    sizes = []
    for named in ({}, {"class": ("fine", names)}):
        predictions.write(tmp_path / "predictions.parquet", {"fine": fine}, named)
        sizes.append((tmp_path / "predictions.parquet").stat().st_size)
    assert sizes[1] - sizes[0] < 10_000 * 7 / 8 + 10_000
