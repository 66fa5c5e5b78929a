"""The children's convex fit against scikit-learn, and what the gradient-trained heads learn."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from torch.utils.flop_counter import FlopCounterMode

from treehead.artifacts import InputError
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import linear, loop
from treehead.heads.layers import Linear
from treehead.hierarchy import children, parent

SCHEDULE = {
    "epochs": 12,
    "batch_size": 32,
    "learning_rate": 0.03,
    "weight_decay": 0.0,
    "temperature": 1.0,
}
PARENT_OF = np.array([0, 1, 0, 1, 2, 2])


def blobs(classes: int, n: int, dim: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, dim) around a centre for each class, on scales from 0.01 to 100; labels (n,)."""
    rng = np.random.default_rng([seed, classes, n])
    labels = rng.permutation(np.arange(n) % classes)
    scales, centres = np.logspace(-2, 2, dim), 2 * rng.normal(size=(classes, dim))
    features = scales * (centres[labels] + rng.normal(size=(n, dim)) + 3)
    return features.astype(np.float32), labels.astype(np.int64)


def log_probabilities(x: np.ndarray, head: dict[str, np.ndarray]) -> np.ndarray:
    logits = x.astype(np.float64) @ head["weight"].T.astype(np.float64) + head["bias"]
    logits -= logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def objective(x, labels, head, l2: float) -> float:
    """Mean cross-entropy + l2 / 2 * |W|^2, W being the weight on standardised inputs."""
    cross_entropy = -log_probabilities(x, head)[np.arange(len(x)), labels].mean()
    return cross_entropy + l2 / 2 * np.sum((head["weight"] * x.std(0)) ** 2)


def scikit(x: np.ndarray, labels: np.ndarray, c: float) -> dict[str, np.ndarray]:
    """scikit-learn's softmax regression on standardised inputs, as a head on raw inputs."""
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000).fit((x - mean) / std, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes it keeps the second's logit alone
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return {"weight": weight / std, "bias": bias - (weight / std) @ mean}


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_a_child_is_scikit_learns_softmax_regression(classes: int, l2: float):
    x, labels = blobs(classes, 240)
    c = (2 if classes == 2 else 1) / (l2 * len(x))
    head, expected = children.fit(x, labels, classes, l2), scikit(x, labels, c)
    loss, least = objective(x, labels, head, l2), objective(x, labels, expected, l2)
    assert loss == pytest.approx(least, rel=2e-3, abs=1e-5)
    ours, theirs = (np.exp(log_probabilities(x, some)) for some in (head, expected))
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_a_stronger_penalty_gives_smaller_weights_and_spares_the_bias():
    x, labels = blobs(3, 300)
    keep = (labels != 1) | (np.arange(300) % 5 == 0)
    x, labels = x[keep], labels[keep]
    sizes = [np.abs(children.fit(x, labels, 3, l2)["weight"] * x.std(0)).max() for l2 in (0.01, 1)]
    assert sizes[1] < sizes[0] / 2
    shares = np.exp(log_probabilities(x, children.fit(x, labels, 3, 1e4)))
    np.testing.assert_allclose(shares[0], np.bincount(labels) / len(labels), atol=0.01)


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 12),
    dim=st.integers(1, 5),
    classes=st.integers(2, 5),
    l2=st.floats(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_gradient_of_the_childrens_objective_is_its_slope(n, dim, classes, l2, seed):
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(n, dim)), np.eye(classes)[rng.integers(0, classes, n)]
    at = rng.normal(size=(dim + 1) * classes)

    def loss(flat: np.ndarray) -> float:
        return children._objective(flat, x, target, l2)[0]

    def slope(flat: np.ndarray) -> np.ndarray:
        return children._objective(flat, x, target, l2)[1]

    assert check_grad(loss, slope, at) < 1e-4


def test_a_childs_answer_does_not_depend_on_the_scale_of_its_inputs():
    x, labels = blobs(4, 200)
    scale = np.logspace(-1, 1, 8, dtype=np.float32)
    head, scaled = children.fit(x, labels, 4, 0.01), children.fit(x * scale, labels, 4, 0.01)
    ours, theirs = log_probabilities(x, head), log_probabilities(x * scale, scaled)
    np.testing.assert_allclose(np.exp(ours), np.exp(theirs), atol=0.02)


def test_a_single_child_needs_no_choice():
    head = children.fit(np.ones((4, 7), np.float32), np.zeros(4, np.int64), 1, 0.1)
    assert (head["weight"].shape, head["bias"].shape) == ((1, 7), (1,))
    assert not head["weight"].any()
    assert not head["bias"].any()


@pytest.mark.fault("a feature is the same in all images of a parent, and not 0", "it weighs 0")
@pytest.mark.parametrize("value", [0.0, 0.1, 3.7, 113.3])
@pytest.mark.parametrize("steps", [0, 1], ids=["constant", "rounded"])
def test_a_feature_that_never_varied_has_no_say_in_a_child(value: float, steps: int):
    """A dead channel may well be alive on a test image."""
    x, labels = blobs(3, 900)
    x[:, 4] = value
    x[::2, 4] += steps * np.spacing(np.float32(value))
    head = children.fit(x, labels, 3, 0.01)
    assert not head["weight"][:, 4].any()
    without = children.fit(np.delete(x, 4, 1), labels, 3, 0.01)
    np.testing.assert_allclose(np.delete(head["weight"], 4, 1), without["weight"], atol=1e-3)
    np.testing.assert_allclose(head["bias"], without["bias"], atol=1e-3)


@pytest.mark.parametrize("steps", [0, 1], ids=["constant", "rounded"])
def test_a_feature_that_never_varied_has_no_say_in_the_parent(steps: int):
    x, labels = blobs(3, 900)
    x /= x.std(0)
    x[:, 4] = 1000.3
    x[::2, 4] += steps * np.spacing(np.float32(1000.3))
    assert not full(x, labels, 3, 0).weight[:, 4].any()


def test_inputs_that_are_all_dead_leave_the_shares_of_the_classes():
    labels = np.array([0, 0, 0, 1])
    head = children.fit(np.zeros((4, 5), np.float32), labels, 2, 0.01)
    shares = np.exp(log_probabilities(np.zeros((1, 5)), head))
    np.testing.assert_allclose(shares, [[0.75, 0.25]], atol=0.01)


def test_a_child_fit_twice_is_the_same_to_the_bit():
    x, labels = blobs(5, 200)
    one, two = children.fit(x, labels, 5, 0.01), children.fit(x.copy(), labels, 5, 0.01)
    assert one["weight"].dtype == one["bias"].dtype == np.float32
    assert one["weight"].tobytes() == two["weight"].tobytes()
    assert one["bias"].tobytes() == two["bias"].tobytes()


def test_inputs_with_nan_end_in_an_error_and_no_head():
    x, labels = blobs(3, 30)
    x[4, 2] = np.nan
    with pytest.raises(InputError, match="loss nan"):
        children.fit(x, labels, 3, 0.01)


def full(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Linear:
    """The full head, fitted to labels."""
    examples = Examples(Rows(features), labels, classes)
    return Linear(**linear.fit(examples, training=SCHEDULE, seed=seed).arrays)


def right(head: Linear, features: np.ndarray, labels: np.ndarray) -> float:
    return float((head.logits(features).argmax(1) == labels).mean())


def test_the_linear_head_learns_what_softmax_regression_learns():
    features, labels = blobs(6, 1200)
    train, test = slice(0, 600), slice(600, None)
    head = full(features[train], labels[train], 6, 0)
    expected = scikit(features[train], labels[train], 1e3)
    reference = right(Linear(**expected), features[test], labels[test])
    assert reference > 0.8
    assert right(head, features[test], labels[test]) > reference - 0.03


def test_logits_of_a_head_are_those_of_a_dense_layer_on_raw_features():
    rng = np.random.default_rng(0)
    head = Linear(rng.normal(size=(4, 8)), rng.normal(size=4))
    features = rng.normal(size=(5, 8))
    for row, logits in zip(features, head.logits(features), strict=True):
        expected = [sum(head.weight[c] * row) + head.bias[c] for c in range(4)]
        assert logits == pytest.approx(expected)


def test_macs_of_a_linear_head_are_those_that_torch_counts():
    head = Linear(np.zeros((100, 344), np.float32), np.zeros(100, np.float32))
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.linear(torch.zeros(1, 344), *map(torch.from_numpy, head))
    assert head.macs() == counter.get_total_flops() / 2 == 34_400


def test_folding_makes_a_layer_on_standardised_features_one_on_raw_features():
    features, _ = blobs(3, 50)
    rows, mean, std = loop.standardized(Rows(features))
    inputs = torch.from_numpy(rows[:])
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(inputs.std(0), 1, atol=1e-3)
    layer = torch.nn.Linear(8, 4)
    raw = Linear(*loop.folded(layer.weight, layer.bias, mean, std)).logits(features)
    np.testing.assert_allclose(raw, layer(inputs).detach(), atol=1e-3)


@pytest.mark.parametrize("objective", ["parent", "joint"])
def test_a_feature_that_never_varied_has_no_say_in_a_trained_head(objective: str):
    """A dead channel may well be alive on a test image."""
    features, fine = blobs(6, 120)
    features[:, 3] = 0.5
    train = Examples(Rows(features), fine, 6)
    head = parent.fit(train, parent_of=PARENT_OF, training=SCHEDULE, seed=0, objective=objective)
    awake = features.copy()
    awake[:, 3] = 1.5
    np.testing.assert_allclose(head.logits(awake), head.logits(features), atol=0.1)


def fitted(kind: str, seed: int) -> Linear:
    features, fine = blobs(6, 90)
    if kind == "linear":
        return full(features, fine, 6, seed)
    own = {"training": SCHEDULE | {"epochs": 2}, "objective": kind, "child_weight": 1.5}
    return parent.fit(Examples(Rows(features), fine, 6), parent_of=PARENT_OF, seed=seed, **own)


@pytest.mark.parametrize("kind", ["linear", "parent", "joint"])
def test_a_seed_decides_a_head_to_the_bit(kind: str):
    one = fitted(kind, 3)
    torch.manual_seed(99)
    again, other = fitted(kind, 3), fitted(kind, 4)
    assert one.weight.dtype == one.bias.dtype == np.float32
    assert [array.tobytes() for array in one] == [array.tobytes() for array in again]
    assert one.weight.tobytes() != other.weight.tobytes()


@pytest.mark.parametrize("objective", ["parent", "joint"])
def test_the_parent_layer_tells_the_parents_apart(objective: str):
    features, fine = blobs(6, 600)
    train = Examples(Rows(features), fine, 6)
    head = parent.fit(train, parent_of=PARENT_OF, training=SCHEDULE, seed=0, objective=objective)
    assert head.weight.shape == (3, 8)
    assert right(head, features, PARENT_OF[fine]) > 0.75


def test_a_parent_trained_jointly_keeps_what_its_children_need():
    """Two parents of two: a logit of the parents alone needn't tell their children apart."""
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 4, 2000)
    directions = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    features = (2 * directions[fine] + rng.normal(size=(2000, 2))).astype(np.float32)
    parent_of = np.array([0, 0, 1, 1])
    shares = {}
    for kind in ("parent", "joint"):
        own = {"training": SCHEDULE, "seed": 0, "objective": kind, "child_weight": 5.0}
        head = parent.fit(Examples(Rows(features), fine, 4), parent_of=parent_of, **own)
        x = children.inputs(features, head)[fine < 2]
        child = Linear(**children.fit(x, fine[fine < 2], 2, 1e-4))
        shares[kind] = right(child, x, fine[fine < 2])
    assert shares["joint"] > shares["parent"] + 0.15


def test_the_joint_loss_is_parent_plus_weight_times_fine(monkeypatch: pytest.MonkeyPatch):
    """Softmax once: the cross-entropies are those of the raw logits."""
    seen = {}
    monkeypatch.setattr(loop, "train", lambda model, loss, **_: seen.update(model=model, loss=loss))
    features, fine = blobs(6, 40)
    own = {"training": SCHEDULE, "seed": 0, "objective": "joint", "child_weight": 2.5}
    parent.fit(Examples(Rows(features), fine, 6), parent_of=PARENT_OF, **own)
    upper, lower = (
        {"weight": layer.weight.detach().numpy(), "bias": layer.bias.detach().numpy()}
        for layer in seen["model"]
    )
    x, rows = loop.standardized(Rows(features))[0][:], np.arange(40)
    of_parents = -log_probabilities(x, upper)[rows, PARENT_OF[fine]].mean()
    relu = np.maximum(x @ upper["weight"].T + upper["bias"], 0)
    of_classes = -log_probabilities(relu, lower)[rows, fine].mean()
    loss = seen["loss"](torch.from_numpy(x), torch.from_numpy(rows)).item()
    assert loss == pytest.approx(of_parents + 2.5 * of_classes, rel=1e-4)
    trained = sum(parameter.numel() for parameter in seen["model"].parameters())
    assert trained == 8 * 3 + 3 + 3 * 6 + 6, "and all that is learned is in the module tree"


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own():
    seen: list[list[int]] = []

    def loss(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        assert x[:, 0].tolist() == rows.tolist()
        seen.append(rows.tolist())
        return layer(torch.ones(len(rows), 1)).mean()

    layer = torch.nn.Linear(1, 1)
    own = {**SCHEDULE, "epochs": 3, "learning_rate": 1e-3}
    inputs = Rows(np.arange(70, dtype=np.float32)[:, None])
    loop.train(layer, loss, inputs=inputs, training=own, seed=0, what="head")
    assert [len(batch) for batch in seen] == [32, 32, 6] * 3
    orders = [list(chain(*seen[3 * epoch : 3 * epoch + 3])) for epoch in range(3)]
    assert all(sorted(order) == list(range(70)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(70)]}) == 4


def test_a_loss_of_nan_names_the_epoch_and_the_step():
    layer, calls = torch.nn.Linear(1, 1), []

    def loss(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        calls.append(len(rows))
        value = layer(torch.ones(len(rows), 1)).mean()
        return value * (float("nan") if len(calls) == 5 else 1)

    inputs = Rows(np.zeros((70, 1), np.float32))
    with pytest.raises(InputError, match="of the parent layer became nan in epoch 2, step 2"):
        loop.train(layer, loss, inputs=inputs, training=SCHEDULE, seed=0, what="parent layer")


def test_a_loss_is_the_cross_entropy_of_logits():
    """Softmax is taken once, and a sure teacher is as good as labels."""
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 6, 20), torch.from_numpy(rng.normal(size=(20, 6)))
    rows = torch.arange(20)
    expected = -torch.log_softmax(logits, 1)[rows, torch.from_numpy(labels)].mean()
    assert loop.toward(labels, None, {})(logits, rows).item() == pytest.approx(expected.item())
    sure = Rows((100 * np.eye(6)[labels]).astype(np.float32))
    taught = loop.toward(labels, sure, {"temperature": 1})(logits, rows).item()
    assert taught == pytest.approx(expected.item(), rel=1e-4)


def test_a_teacher_is_matched_when_its_logits_are():
    teacher = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    loss = loop.toward(np.zeros(20, np.int64), Rows(teacher), {"temperature": 2})
    assert loss(torch.from_numpy(teacher), torch.arange(20)).item() == pytest.approx(0, abs=1e-6)
    assert loss(torch.from_numpy(-teacher), torch.arange(20)).item() > 0.1
