"""Class weights: a rare class counts as if its images were there more often."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from test_compact_heads import HEADS, LOOP
from test_heads import log_probabilities, objective
from torch import Tensor
from training import PARENT_OF, SETTINGS, fresh

from treehead.artifacts import InputError
from treehead.config import stages, sweeps
from treehead.config.sweeps import Head
from treehead.data import balance
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import fitting, linear, loop
from treehead.hierarchy import children, parent
from treehead.training import finetune
from treehead.training.finetune import Images
from treehead.training.objectives import Objective

COUNTS = (20, 80, 40, 160)
OF_PARENTS = np.array([0, 0, 1, 1])
# The whole set in each step, until a convex loss is at its least.
CONVERGED = {"epochs": 600, "batch_size": 10_000, "learning_rate": 0.05, "weight_decay": 0.0}

some_labels = st.lists(st.integers(0, 6), min_size=1, max_size=200).map(np.array)


def overlapping(counts: tuple[int, ...], seed: int = 0, dim: int = 4) -> Examples:
    """So many images of each class, so near one another that no layer separates the classes."""
    rng = np.random.default_rng([seed, *counts])
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = np.random.default_rng(dim).normal(size=(len(counts), dim))
    features = centres[labels] + 1.5 * rng.normal(size=(len(labels), dim))
    return Examples(Rows(features.astype(np.float32)), labels, len(counts))


def repeated(train: Examples) -> Examples:
    """The same with the images of each class so often that all classes have as many rows."""
    counts = np.bincount(train.labels)
    rows = np.repeat(np.arange(len(train.labels)), (counts.max() // counts)[train.labels])
    return train._replace(features=Rows(train.features[rows]), labels=train.labels[rows])


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    right = logits.argmax(1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


@given(some_labels)
def test_balanced_weights_are_scikit_learns(labels: np.ndarray):
    present = np.unique(labels)
    expected = compute_class_weight("balanced", classes=present, y=labels)
    weights = balance.class_weights(labels, 9, "balanced")
    np.testing.assert_allclose(weights[present], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["balanced", "sqrt"])
@given(labels=some_labels)
def test_the_mean_weight_of_the_images_is_one_and_a_class_without_images_has_none(
    kind: str, labels: np.ndarray
):
    weights = balance.class_weights(labels, 9, kind)
    assert weights[labels].mean() == pytest.approx(1, rel=1e-5)
    assert (weights > 0).tolist() == [label in labels for label in range(9)]


def test_square_root_weights_lie_between_balanced_ones_and_none():
    labels = np.repeat([0, 1], [10, 90])
    balanced, sqrt = (balance.class_weights(labels, 2, kind) for kind in ("balanced", "sqrt"))
    assert balanced[0] / balanced[1] == pytest.approx(9)
    assert sqrt[0] / sqrt[1] == pytest.approx(3)


def test_without_weights_there_are_none():
    assert balance.class_weights(np.array([0, 0, 1]), 2, "none") is None
    assert balance.sample_weight(np.array([0, 0, 1]), 2, "none") is None


@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_a_weighted_child_is_scikit_learns_with_balanced_classes(l2: float):
    features, labels, classes = overlapping(COUNTS)
    x = features[:]
    mean, std = x.mean(0), x.std(0)
    model = LogisticRegression(C=1 / (l2 * len(x)), class_weight="balanced", tol=1e-8)
    model.fit((x - mean) / std, labels)
    expected = {"weight": model.coef_ / std}
    expected["bias"] = model.intercept_ - expected["weight"] @ mean
    head = children.fit(x, labels, classes, l2, "balanced")
    ours, theirs = (np.exp(log_probabilities(x, some)) for some in (head, expected))
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    plain = children.fit(x, labels, classes, l2)
    assert objective(x, labels, plain, l2) < objective(x, labels, head, l2)


def test_a_weighted_child_is_the_child_of_repeated_images():
    train = overlapping(COUNTS)
    more = repeated(train)
    head = children.fit(train.features[:], train.labels, 4, 0, "balanced")
    expected = children.fit(more.features[:], more.labels, 4, 0)
    ours, theirs = (np.exp(log_probabilities(train.features[:], some)) for some in (head, expected))
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_a_weighted_head_is_the_head_of_repeated_images():
    train = overlapping(COUNTS)
    weights = balance.sample_weight(train.labels, 4, "balanced")
    head = linear.fit(train, training=CONVERGED, seed=0, sample_weight=weights)
    expected = linear.fit(repeated(train), training=CONVERGED, seed=0)
    ours, theirs = (
        np.exp(log_probabilities(train.features[:], some.arrays)) for some in (head, expected)
    )
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_an_image_weighs_in_the_parent_layer_by_its_class_not_by_its_parent():
    train = overlapping(COUNTS)
    own = {"parent_of": OF_PARENTS, "training": CONVERGED, "seed": 0, "objective": "parent"}
    ours, theirs, plain = (
        np.exp(log_probabilities(train.features[:], layer._asdict()))
        for layer in (
            parent.fit(train, **own, class_weights="balanced"),
            parent.fit(repeated(train), **own),
            parent.fit(train, **own),
        )
    )
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert np.abs(plain - theirs).max() > 0.1


@pytest.mark.parametrize("name", HEADS)
def test_no_head_ignores_class_weights(name: str):
    """Each one is right about rare classes more often."""
    module, own = HEADS[name]
    counts = (600, 20, 300, 20, 20, 200)
    train, test = overlapping(counts, dim=8), overlapping((100,) * 6, seed=1, dim=8)
    found = {}
    for kind in ("none", "balanced"):
        given = {"settings": own | {"training": LOOP}, "seeds": [0], "what": name}
        (head,) = fitting.fit(module, train, **given, class_weights=kind).values()
        found[kind] = balanced_accuracy(
            fitting.predict(module, head, test.features[:]), test.labels
        )
    assert found["balanced"] > found["none"] + 0.04


@pytest.mark.parametrize("teacher", [None, Rows(np.random.default_rng(0).normal(size=(30, 4)))])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_an_image_of_weight_two_counts_in_a_loss_as_two_images(
    teacher: Rows | None, smoothing: float
):
    rng = np.random.default_rng(1)
    labels, logits = rng.integers(0, 4, 30), torch.from_numpy(rng.normal(size=(30, 4)))
    twice = rng.integers(0, 2, 30)
    given = labels, teacher, {"temperature": 2}
    weighted = loop.toward(*given, (1 + twice).astype(np.float32), smoothing)
    plain = loop.toward(*given, None, smoothing)
    rows = torch.arange(30)
    again = torch.cat([rows, torch.from_numpy(twice).nonzero()[:, 0]])
    expected = plain(logits[again], again) * len(again) / 30
    assert weighted(logits, rows).item() == pytest.approx(expected.item(), rel=1e-6)


def test_without_weights_a_loss_is_torchs_to_the_bit():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 500)
    logits = torch.from_numpy(rng.normal(size=(500, 9)).astype(np.float32)).requires_grad_()
    gradients = []
    for loss in (
        loop.toward(labels, None, {})(logits, torch.arange(500)),
        F.cross_entropy(logits, torch.from_numpy(labels)),
    ):
        gradients.append(torch.autograd.grad(loss, logits)[0])
    assert torch.equal(*gradients)


WEIGHTS = torch.tensor([0.5, 4, 1, 0.25, 2])
MIXTURES = torch.tensor([[1, 0, 0, 0, 0], [0.25, 0.75, 0, 0, 0], [0, 0, 0.5, 0, 0.5]])


@pytest.mark.parametrize("kind", ["flat", "bottleneck", "parent", "joint"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_each_part_of_a_mixed_image_has_the_weight_of_its_class(kind: str, smoothing: float):
    """A mixture costs what its parts cost: the loss is linear in the shares."""
    settings = SETTINGS | {"objective": kind, "label_smoothing": smoothing}
    torch.manual_seed(0)
    weighted = Objective(6, torch.tensor(PARENT_OF), settings, WEIGHTS)
    plain = Objective(6, torch.tensor(PARENT_OF), settings)
    plain.load_state_dict(weighted.state_dict())
    features = torch.randn(3, 6)

    def cost(image: int, fine: int) -> Tensor:
        """The loss of one image as if it were wholly of a class."""
        return plain.loss(features[image : image + 1], F.one_hot(torch.tensor([fine]), 5).float())

    expected = sum(
        MIXTURES[image, fine] * WEIGHTS[fine] * cost(image, fine)
        for image in range(3)
        for fine in range(5)
    )
    found = weighted.loss(features, MIXTURES).item()
    assert found == pytest.approx(expected.item() / 3, rel=1e-5)


def unbalanced(counts: tuple[int, ...], seed: int) -> Images:
    """Grey images (n, 3, 16, 16), those of a later class brighter; the classes overlap."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    grey = 100 + 30 * fine + 25 * torch.randn(len(fine), generator=generator)
    pixels = grey.clamp(0, 255).to(torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    return Images(pixels.numpy(), fine)


def tuned(train: Images, val: Images, **changes: object) -> list[finetune.Epoch]:
    settings = {**SETTINGS, "objective": "flat", **changes}
    return finetune.finetune(fresh(), train, val, settings)[1]


def test_class_weights_train_a_backbone_for_rare_classes():
    """Three of the five classes have no image."""
    train, val = unbalanced((200, 20), 1), unbalanced((60, 60), 2)
    plain, weighted = (
        tuned(train, val, class_weights=kind, epochs=6)[-1].val_accuracy
        for kind in ("none", "balanced")
    )
    assert weighted > plain + 0.1


def test_a_batch_with_a_rare_class_is_not_taken_for_a_divergence():
    """Its image weighs 196 times as much as those of the first batch."""
    train = unbalanced((196, 1, 1, 1, 1), 1)
    tuned(train, train, class_weights="balanced", learning_rate=1e-6, seed=1)


def test_a_head_that_takes_no_weights_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "centroid.py").write_text("def fit(train, *, seed): ...")
    monkeypatch.setattr(sweeps, "_HEADS", tmp_path)
    heads = {"centroid": Head("centroid", {}, ())}
    sweeps.check_class_weights(heads, {"class_weights": "none"})
    with pytest.raises(InputError, match=r"heads\.centroid can't have class_weights sqrt, .*none"):
        sweeps.check_class_weights(heads, {"class_weights": "sqrt"})


def test_every_shipped_head_takes_weights():
    assert all("sample_weight" in sweeps.arguments(module) for module in sweeps.modules())


def test_an_entry_may_have_class_weights_of_its_own():
    entries = {"linear": {}, "plain": {"head": "linear", "training": {"class_weights": "none"}}}
    heads = sweeps.expand(entries)
    config = {"training": {"class_weights": "sqrt"}, "dataset": {"classes": 2}}
    config |= {"seeds": [0], "threads": {"heads": 1}}
    found = Counter(stages.head(config, None, heads, name)["class_weights"] for name in heads)
    assert found == {"sqrt": 1, "none": 1}
