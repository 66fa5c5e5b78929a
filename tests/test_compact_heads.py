"""Every head of the comparison: it learns, costs what it multiplies, and survives its files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_heads import blobs
from torch.nn.functional import linear as dense
from torch.utils.flop_counter import FlopCounterMode

from treehead.artifacts import InputError, write_tensors
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.deploy.c import agreement, build, integer
from treehead.heads import (
    fitting,
    lasso,
    lowrank,
    nested,
    packing,
    pruning,
    shift,
    sparse,
    tree,
)
from treehead.heads.head import Head
from treehead.heads.layers import Linear

DIM, CLASSES = 16, 6
PARENT_OF = [0, 1, 0, 1, 2, 2]
LOOP = {
    "epochs": 15,
    "batch_size": 64,
    "learning_rate": 0.03,
    "weight_decay": 0.0,
    "temperature": 1.0,
}
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "mlp": ("mlp", {"width": 32, "dropout": 0.1, "input_dropout": 0.0, "label_smoothing": 0.1}),
    "lowrank": ("lowrank", {"rank": 5}),
    "lowrank-relu": ("lowrank", {"rank": 6, "relu": True}),
    "pca": ("lowrank", {"rank": 8, "basis": "pca"}),
    "nonnegative": ("nonnegative", {}),
    "nonnegative-8": ("nonnegative", {"width": 8}),
    "lasso": ("lasso", {"alpha": 0.02}),
    "tree": ("tree", {"parent_of": PARENT_OF, "k": 2}),
    "tree-logits": ("tree", {"parent_of": PARENT_OF, "reads": "parent_logits", "k": 2}),
    "tree-clusters": ("tree", {"parent_of": PARENT_OF, "tree": "clusters", "groups": 3}),
    "tree-random": ("tree", {"parent_of": PARENT_OF, "tree": "random", "groups": 3, "k": 2}),
    "shift": ("shift", {"parent_of": PARENT_OF, "groups": 3}),
    "sparse": ("sparse", {"kept": 8}),
    "sparse-structured": ("sparse", {"kept": 8, "structured": True}),
    "shortlist": ("shortlist", {"rank": 3, "k": 3}),
    "shortlist-margin": ("shortlist", {"rank": 3, "margin": 2.0}),
    "nested": ("nested", {"screens": "4-8", "margins": "3-2", "decision": 12}),
    "lowbit": ("lowbit", {"ternary": 0.5}),
    "twobit": ("twobit", {"margin": 2.0, "kept": 12, "groups": 3}),
}
# What a head gets at least of what the full head gets; low rank on parent logits is the hardest.
SHARE = {"tree-logits": 0.6, "nonnegative-8": 0.6, "lowrank-relu": 0.5, "nonnegative": 0.5}


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of the same six classes, (n, DIM) and (n,)."""
    features, labels = blobs(CLASSES, 1500, DIM)
    return features[-n:], labels[-n:]


def examples(n: int) -> Examples:
    """The same to fit a head to."""
    features, labels = data(n)
    return Examples(Rows(features), labels, CLASSES)


def seen() -> Examples:
    """Images that no test predicts."""
    features, labels = data(1500)
    return Examples(Rows(features[:900]), labels[:900], CLASSES)


def fit_one(module: str, train: Examples, own: dict[str, Any], seed: int = 0) -> Head:
    """A head of one seed."""
    return fitting.fit(module, train, settings=own, seeds=[seed], what=module)[seed]


@pytest.fixture(scope="module")
def fitted() -> dict[str, Head]:
    """Each head, fitted to images that no test looks at."""
    train = seen()
    return {
        name: fit_one(module, train, own | {"training": LOOP}, seed=3)
        for name, (module, own) in HEADS.items()
    }


def right(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


@pytest.mark.parametrize("name", HEADS)
def test_a_head_learns(fitted, name: str):
    features, labels = data(600)
    best = right(fitting.predict("linear", fitted["linear"], features), labels)
    assert best > 0.85
    accuracy = right(fitting.predict(HEADS[name][0], fitted[name], features), labels)
    assert accuracy > SHARE.get(name, 0.85) * best


@pytest.mark.parametrize("name", HEADS)
def test_a_head_predicts_the_same_from_its_files(fitted, name: str):
    """All that was learned is in the file; nothing of it lies in a module that is gone."""
    features, _ = data(100)
    module = HEADS[name][0]
    again = packing.unpack(packing.pack(fitted[name], packing.PRECISIONS["float32"]))
    np.testing.assert_array_equal(
        fitting.predict(module, again, features), fitting.predict(module, fitted[name], features)
    )


@pytest.mark.parametrize("name", HEADS)
def test_a_head_of_few_bits_is_nearly_as_good(fitted, name: str):
    features, labels = data(600)
    module = HEADS[name][0]
    accuracy = right(fitting.predict(module, fitted[name], features), labels)
    rounded = packing.unpack(packing.pack(fitted[name], packing.PRECISIONS["int8"]))
    assert right(fitting.predict(module, rounded, features), labels) > accuracy - 0.03


@pytest.mark.parametrize("name", HEADS)
def test_probabilities_of_a_head_sum_to_one(fitted, name: str):
    features, _ = data(50)
    logits = fitting.predict(HEADS[name][0], fitted[name], features)
    assert logits.shape == (50, CLASSES)
    assert not np.isnan(logits).any()
    shares = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose((shares / shares.sum(1, keepdims=True)).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_no_image_costs_more_than_the_worst(fitted, name: str):
    features, _ = data(200)
    cost = fitting.cost(HEADS[name][0], fitted[name], features)
    assert cost.macs.shape == cost.other.shape == (200,)
    assert 0 < cost.macs.min() <= cost.macs.max() <= cost.worst
    assert cost.other.min() > 0


@pytest.mark.parametrize("name", HEADS)
def test_a_seed_decides_a_head_to_the_bit(name: str):
    features, labels = data(300)
    train = Examples(Rows(features), labels, CLASSES)
    module, own = HEADS[name]
    own = own | {"training": LOOP | {"epochs": 2}}
    both = fitting.fit(module, train, settings=own, seeds=[3, 4], what=name)
    torch.manual_seed(99)
    again = fit_one(module, train, own, seed=3)
    one, other = both[3], both[4]
    assert all(one[key].tobytes() == array.tobytes() for key, array in again.arrays.items())
    assert one.settings == again.settings
    assert any(one[key].tobytes() != other[key].tobytes() for key in one.arrays)


def counted(*layers: tuple[np.ndarray, int]) -> float:
    """Multiplications of dense layers (weight, inputs) by torch's own counter."""
    with FlopCounterMode(display=False) as counter:
        for weight, inputs in layers:
            dense(torch.zeros(1, inputs), torch.from_numpy(np.asarray(weight)))
    return counter.get_total_flops() / 2


def test_macs_of_a_head_are_those_that_torch_counts(fitted):
    features, _ = data(5)
    layers = {
        "linear": lambda head: [head["weight"]],
        "mlp": lambda head: [head["hidden_weight"], head["weight"]],
        "lowrank": lambda head: [head["down"], head["up"]],
        "pca": lambda head: [head["down"], head["up"]],
        "nonnegative-8": lambda head: [head["weight_0"], head["weight_1"]],
        "lasso": lambda head: [head["weight"]],
    }
    for name, weights in layers.items():
        expected = counted(*((weight, weight.shape[1]) for weight in weights(fitted[name])))
        assert set(fitting.cost(HEADS[name][0], fitted[name], features).macs) == {expected}, name


@pytest.mark.parametrize(("rank", "macs"), [(10, 4_440), (77, 34_188), (90, 39_960)])
def test_low_rank_costs_rank_times_444(rank: int, macs: int):
    """So that it is cheaper than the full head's 34,400 up to rank 77 only."""
    arrays = {
        "down": np.zeros((rank, 344)),
        "up": np.zeros((100, rank)),
        "bias": np.zeros(100),
    }
    head = Head(arrays, {"relu": False})
    assert lowrank.cost(head, np.zeros((1, 344))).macs.tolist() == [macs]


def test_low_rank_is_no_worse_than_its_best_linear_map(fitted):
    """At full rank it is the full head; the study's dropout in the bottleneck lost 1.5 points."""
    features, labels = data(600)
    head = fit_one("lowrank", seen(), {"training": LOOP, "rank": CLASSES})
    full = right(fitting.predict("linear", fitted["linear"], features), labels)
    assert right(fitting.predict("lowrank", head, features), labels) > full - 0.02


def test_principal_components_are_not_trained():
    features, labels = data(900)
    train = Examples(Rows(features), labels, CLASSES)
    one, other = (
        lowrank.fit(train, training=LOOP | {"epochs": epochs}, seed=0, rank=4, basis="pca")
        for epochs in (1, 3)
    )
    np.testing.assert_array_equal(one["down"], other["down"])
    projected = (features - features.mean(0)) @ one["down"].T
    covariance = np.cov(projected.T)
    np.testing.assert_allclose(covariance, np.eye(4), atol=0.02)


@pytest.mark.parametrize("name", ["nonnegative", "nonnegative-8"])
def test_nonnegative_weights_are_alive(fitted, name: str):
    """Half of the study's were zero from the start and never moved."""
    for key, weight in fitted[name].arrays.items():
        if key.startswith("weight"):
            assert weight.min() >= 0
            assert (weight > 0).mean() > 0.99


def test_a_stronger_lasso_keeps_fewer_features():
    """The study's scales were outside the module tree, and never changed."""
    features, labels = data(900)
    train = Examples(Rows(features), labels, CLASSES)
    kept = [
        len(lasso.fit(train, training=LOOP | {"epochs": 1}, seed=0, alpha=alpha)["kept"])
        for alpha in (1e-5, 0.1, 0.2)
    ]
    assert kept[0] == DIM
    assert kept[0] > kept[1] > kept[2] > 0
    with pytest.raises(InputError, match="lower it in heads"):
        lasso.fit(train, training=LOOP, seed=0, alpha=10)


def test_features_without_a_say_are_the_first_that_the_lasso_drops():
    features, labels = data(900)
    noise = np.random.default_rng(1).normal(size=(900, 8)).astype(np.float32)
    train = Examples(Rows(np.hstack([features, noise])), labels, CLASSES)
    kept = lasso.fit(train, training=LOOP | {"epochs": 1}, seed=0, alpha=0.05)["kept"]
    assert len(kept) > 0
    assert kept.max() < DIM


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(2, 20), st.integers(1, 20), st.integers(0, 2**16))
def test_the_strongest_weights_are_kept(classes: int, dim: int, kept: int, seed: int):
    weight = torch.randn(classes, dim, generator=torch.Generator().manual_seed(seed))
    kept = min(kept, dim)
    for row, mask in zip(weight.abs(), pruning.strongest(weight, kept).bool(), strict=True):
        assert mask.sum() == kept
        assert kept == dim or row[mask].min() >= row[~mask].max()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(2, 30), st.integers(1, 30), st.integers(0, 2**16))
def test_a_structured_mask_has_one_weight_in_each_group(classes, dim, kept, seed):
    weight = torch.randn(classes, dim, generator=torch.Generator().manual_seed(seed))
    count = pruning.final_count(dim, kept, structured=True)
    group = pruning.group_size(dim, min(kept, dim))
    mask = pruning.strongest(weight, count, group)
    for start in range(0, dim, group):
        assert mask[:, start : start + group].sum(1).tolist() == [1] * classes
        best = weight[:, start : start + group].abs().argmax(1)
        assert mask[torch.arange(classes), start + best].tolist() == [1] * classes


def test_pruning_ends_at_its_sizes_and_each_holds_the_smaller_ones():
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    prune = pruning.Pruning(weight, [4, 10, 25], structured=False, until=0.5)
    counts = []
    for done in np.linspace(0, 1, 41):
        prune(float(done))
        counts.append([int(mask[0].sum()) for mask in prune.masks])
        small, middle, large = prune.masks
        assert (small <= middle).all()
        assert (middle <= large).all()
    assert counts[0] == [40, 40, 40]
    assert counts == sorted(counts, reverse=True)
    assert counts[20] == counts[-1] == [4, 10, 25]
    assert torch.equal(weight, weight * prune.masks[-1])


@pytest.mark.parametrize(("name", "kept"), [("sparse", 8), ("sparse-structured", 8)])
def test_each_class_keeps_its_number_of_weights(fitted, name: str, kept: int):
    head = fitted[name]
    assert head["mask"].sum(1).tolist() == [kept] * CLASSES
    assert fitting.cost("sparse", head, data(1)[0]).macs.tolist() == [kept * CLASSES]


@pytest.mark.parametrize(
    ("module", "own", "stored"),
    [
        ("sparse", {"kept": 4}, {"values": (CLASSES, 4)}),
        (
            "nested",
            {"screens": "2-4", "margins": "3-2", "decision": 6},
            {"screen_values": (CLASSES, 4), "values": (CLASSES, 6)},
        ),
    ],
)
def test_a_training_of_one_step_is_pruned_to_the_end_too(module: str, own: dict, stored: dict):
    train = examples(60)
    head = fit_one(module, train, own | {"training": LOOP | {"epochs": 1}})
    assert {name: head[name].shape for name in stored} == stored


def test_a_training_of_one_step_is_rounded_too():
    train = examples(60)
    own = {"ternary": 0.5, "training": LOOP | {"epochs": 1}}
    head = fit_one("lowbit", train, own)
    assert head["three"].sum() == DIM // 2
    assert (head["scale_three"] < 1).all()


def one_by_one(head: Head, image: np.ndarray) -> tuple[int, int]:
    """What a nested head says of an image, and its MACs, class by class and weight by weight."""
    margins, classes = head.settings["margins"], len(head["mask"])
    screens = len(margins)
    bias = head["bias"].reshape(screens + 1, classes)
    places = [np.flatnonzero(row) for row in head["screen_mask"]]
    alive, macs, scores = list(range(classes)), 0, dict.fromkeys(range(classes), 0.0)
    for screen in range(screens):
        for c in alive:
            for place, value, level in zip(
                places[c], head["screen_values"][c], head["screen_level"][c], strict=True
            ):
                if level == screen:
                    scores[c] += float(value) * float(image[place])
                    macs += 1
        full = {c: scores[c] + float(bias[screen, c]) for c in alive}
        best = max(full.values())
        alive = [c for c in alive if full[c] >= best - margins[screen]]
        if len(alive) == 1:
            return alive[0], macs
    decided = {}
    for c in alive:
        own = np.flatnonzero(head["mask"][c])
        macs += len(own)
        decided[c] = float(head["values"][c] @ image[own]) + float(bias[-1, c])
    return max(decided, key=decided.__getitem__), macs


def test_a_nested_head_does_what_it_counts(fitted):
    features, _ = data(200)
    head, read = fitting.as_fitted(fitted["nested"], features)
    expected = [one_by_one(head, image) for image in read.astype(np.float64)]
    assert nested.predict(head, read).argmax(1).tolist() == [label for label, _ in expected]
    assert nested.cost(head, read).macs.tolist() == [macs for _, macs in expected]
    assert len({macs for _, macs in expected}) > 2


def test_margins_say_how_much_of_a_nested_head_is_used(fitted):
    features, _ = data(200)
    head, read = fitting.as_fitted(fitted["nested"], features)
    wide = Head(head.arrays, {"margins": [np.inf, np.inf]})
    last = {"values": head["values"], "mask": head["mask"], "bias": head["bias"][-CLASSES:]}
    decision = sparse.predict(Head(last), read)
    np.testing.assert_array_equal(nested.predict(wide, read), decision)
    assert set(nested.cost(wide, read).macs) == {CLASSES * (8 + 12)}
    narrow = Head(head.arrays, {"margins": [0.0, 0.0]})
    assert set(nested.cost(narrow, read).macs) == {CLASSES * 4}


def test_screens_and_margins_must_be_as_many():
    train = examples(60)
    for screens, margins in (("4-8", "3"), ("8-4", "3-2")):
        with pytest.raises(InputError, match=f"screens {screens} .*must"):
            nested.fit(train, training=LOOP, seed=0, screens=screens, margins=margins, decision=8)


@pytest.mark.parametrize("name", ["shortlist", "shortlist-margin"])
def test_a_shortlist_is_the_full_head_on_its_candidates(fitted, name: str):
    features, _ = data(200)
    head, read = fitting.as_fitted(fitted[name], features)
    logits = fitting.predict("shortlist", fitted[name], features)
    exact = Linear(head["weight"], head["bias"]).logits(read)
    preview = read @ head["preview_down"].T @ head["preview_up"].T + head["preview_bias"]
    macs = []
    for row, full, seen in zip(logits, exact, preview, strict=True):
        if name == "shortlist":
            listed = sorted(np.argsort(-seen)[:3].tolist())
        else:
            listed = [c for c in range(CLASSES) if seen[c] >= seen.max() - head.settings["margin"]]
        assert np.flatnonzero(np.isfinite(row)).tolist() == listed
        np.testing.assert_array_equal(row[listed], full[listed])
        macs.append(3 * (DIM + CLASSES) + (len(listed) * DIM if len(listed) > 1 else 0))
    assert fitting.cost("shortlist", fitted[name], features).macs.tolist() == macs


@pytest.mark.parametrize("name", ["tree", "tree-logits", "tree-clusters", "tree-random", "shift"])
def test_a_child_is_never_asked_about_another_parents_classes(fitted, name: str):
    features, _ = data(200)
    module = HEADS[name][0]
    head, read = fitting.as_fitted(fitted[name], features)
    built = tree.assembled(head) if module == "tree" else shift.as_tree(head)
    routing = read if module == "tree" else shift._standardized(head, read)
    routed = built.route(routing, head.settings.get("k", 1))
    logits = fitting.predict(module, fitted[name], features)
    for row, parents in zip(logits, routed, strict=True):
        asked = [c for c in range(CLASSES) if built.parent_of[c] in parents]
        assert np.flatnonzero(np.isfinite(row)).tolist() == asked


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 99))
def test_a_tree_of_any_sizes_costs_its_parent_and_the_children_it_asks(sizes, k, seed):
    """Parents of one child included."""
    rng = np.random.default_rng(seed)
    parent_of = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    parent, child = (
        Linear(
            rng.normal(size=(rows, DIM)).astype(np.float32),
            rng.normal(size=rows).astype(np.float32),
        )
        for rows in (len(sizes), len(parent_of))
    )
    arrays = {
        "parent_weight": parent.weight,
        "parent_bias": parent.bias,
        "child_weight": child.weight,
        "child_bias": child.bias,
        "parent_of": parent_of.astype(np.uint16),
    }
    head = Head(arrays, {"k": k, "reads": "features"})
    features = rng.normal(size=(7, DIM)).astype(np.float32)
    logits, cost = tree.predict(head, features), tree.cost(head, features)
    for image, row, macs in zip(features, logits, cost.macs, strict=True):
        best = np.argsort(-(parent.weight @ image + parent.bias))[:k]
        asked = [c for c in range(len(parent_of)) if parent_of[c] in best]
        assert np.flatnonzero(np.isfinite(row)).tolist() == asked
        np.testing.assert_allclose(
            row[asked], (child.weight @ image + child.bias)[asked], rtol=1e-4, atol=1e-4
        )
        assert macs == counted((parent.weight, DIM), (child.weight[asked], DIM))
        assert macs <= cost.worst
        shares = np.exp(row - row.max())
        assert (shares / shares.sum()).sum() == pytest.approx(1)


def test_a_random_tree_is_worse_than_a_learned_one():
    """Classes in pairs that are alike: the learned tree finds the pairs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 3000)
    far = 6 * np.array([[1, 0], [-0.5, 0.87], [-0.5, -0.87]])
    near = 1.5 * np.array([[0, 1], [0, -1]])
    features = far[labels // 2] + near[labels % 2] + rng.normal(size=(3000, 2))
    features = features.astype(np.float32)
    train = Examples(Rows(features[:2000]), labels[:2000].astype(np.int64), 6)
    own = {"parent_of": np.zeros(6, np.int64), "groups": 3, "training": LOOP, "seed": 0}
    heads = {kind: tree.fit(train, tree=kind, **own) for kind in ("clusters", "random")}
    found = heads["clusters"]["parent_of"]
    assert [found[2 * pair] == found[2 * pair + 1] for pair in range(3)] == [True] * 3
    scores = {
        kind: right(tree.predict(head, features[2000:]), labels[2000:])
        for kind, head in heads.items()
    }
    assert scores["clusters"] > scores["random"] + 0.02


def test_a_shift_multiplies_the_features_and_uses_one_layer_twice(fitted):
    """By hand: the layer on the features, and on the features times the parent's vector."""
    features, _ = data(50)
    head, read = fitting.as_fitted(fitted["shift"], features)
    members = [np.flatnonzero(head["parent_of"] == parent) for parent in range(3)]
    predicted = fitting.predict("shift", fitted["shift"], features).argmax(1)
    for image, label in zip(read, predicted, strict=True):
        x = (image - head["mean"]) * head["inverse_std"]
        parent = int((head["weight"][:3] @ x + head["bias"][:3]).argmax())
        rows = len(members[parent])
        scores = head["weight"][:rows] @ (x * head["vectors"][parent]) + head["bias"][:rows]
        assert label == members[parent][int(scores.argmax())]


def test_weights_of_few_bits_have_two_or_three_values(fitted):
    head = fitted["lowbit"]
    assert head["three"].sum() == DIM // 2
    assert set(np.unique(head["positive"])) == {0, 1}
    assert set(np.unique(head["code"])) == {-1, 0, 1}
    scales_and_biases = 3 * CLASSES
    assert packing.parameters(head) - DIM == CLASSES * DIM + scales_and_biases


def test_a_two_bit_tree_asks_the_children_of_the_parents_within_its_margin(fitted):
    features, _ = data(50)
    head, read = fitting.as_fitted(fitted["twobit"], features)
    assert head["read"].sum() == 12
    assert set(np.unique(head["code"])) == {-2, -1, 0, 1}
    members = [np.flatnonzero(head["parent_of"] == parent) for parent in range(3)]
    scale = head["scale"][[0] * 3 + [1] * CLASSES]
    logits = fitting.predict("twobit", fitted["twobit"], features)
    costs = fitting.cost("twobit", fitted["twobit"], features).macs
    for image, found, macs in zip(read[:, head["read"]], logits, costs, strict=True):
        scores = scale * ((head["code"] + 0.5) @ image) + head["bias"]
        near = np.flatnonzero(scores[:3] >= scores[:3].max() - 2)
        asked = np.sort(np.concatenate([members[parent] for parent in near]))
        assert np.flatnonzero(np.isfinite(found)).tolist() == asked.tolist()
        np.testing.assert_allclose(found[asked], scores[3 + asked], rtol=1e-4, atol=1e-4)
        assert macs == 12 * (3 + len(asked))


def test_a_shift_by_a_power_of_two_changes_no_prediction(fitted):
    """All heads read features near deviation 1, so a backbone's scale does not matter."""
    features, labels = data(900)
    own = {"training": LOOP | {"epochs": 2}}
    heads = [
        fit_one("linear", Examples(Rows(x), labels, CLASSES), own) for x in (features, 8 * features)
    ]
    one, other = (
        fitting.predict("linear", h, x)
        for h, x in zip(heads, (features, 8 * features), strict=True)
    )
    np.testing.assert_array_equal(one, other)
    raw = fitting.linear(heads[0])
    np.testing.assert_allclose(raw.logits(features), one, rtol=1e-4, atol=1e-4)


@pytest.mark.fault(
    "a feature is the same in all images, and not 0", "no head and no C of one heeds it"
)
@pytest.mark.parametrize("value", [0.5, 113.3])
@pytest.mark.parametrize("steps", [0, 1], ids=["constant", "rounded"])
def test_a_feature_that_never_varied_has_no_say_in_any_head(
    value: float, steps: int, tmp_path: Path
):
    """A dead channel may well be alive on a test image; in numpy's float32 113.3 deviates."""
    features, labels = data(600)
    features = features.copy()
    features[:, 5] = value
    features[::2, 5] += steps * np.spacing(np.float32(value))
    awake = features.copy()
    awake[:, 5] += 1
    train = Examples(Rows(features), labels, CLASSES)
    for name, (module, own) in HEADS.items():
        short = own | {"training": LOOP | {"epochs": 3}}
        head = fit_one(module, train, short)
        assert head["exponent"][5] == 15
        path = tmp_path / f"{name}/int8-0.bin"
        packing.write(path, head, 8)
        before = fitting.predict(module, packing.read(path), features)
        after = fitting.predict(module, head, awake)
        assert (before.argmax(1) == after.argmax(1)).mean() > 0.97, name
        if module in build.KINDS:
            how = integer.calibrated(features, 16)
            whole = build.build(module, path, how, features)
            agreement.check(module, path, whole, features, remedy="look here")


def test_a_student_is_drawn_to_its_teacher():
    """The teacher has the labels wrong on purpose; so has its student, by seed."""
    features, labels = data(900)
    wrong = (labels + 1) % CLASSES
    own = {"training": LOOP}
    seeds = [0, 1]
    teacher = fitting.fit(
        "linear",
        Examples(Rows(features), wrong, CLASSES),
        settings=own,
        seeds=seeds,
        what="teacher",
    )
    student = fitting.fit(
        "sparse",
        Examples(Rows(features), labels, CLASSES),
        settings=own | {"kept": DIM},
        seeds=seeds,
        what="student",
        teacher=("linear", teacher),
    )
    for seed in seeds:
        logits = fitting.predict("sparse", student[seed], features)
        assert right(logits, wrong) > 0.85


def test_a_tree_that_reads_parent_logits_has_as_many_parents_as_features():
    """Shapes alone can't tell such a tree from one whose children read the features."""
    features, labels = blobs(8, 900, dim=4)
    parent_of = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    train = Examples(Rows(features), labels, 8)
    own = {"parent_of": parent_of, "training": LOOP, "seed": 0, "k": 4}
    for reads in ("features", "parent_logits"):
        head = tree.fit(train, reads=reads, **own)
        parent = Linear(head["parent_weight"], head["parent_bias"]).logits(features)
        read = features if reads == "features" else np.maximum(parent, 0)
        expected = read @ head["child_weight"].T + head["child_bias"]
        for known in (head, packing.unpack(packing.pack(head, 32))):
            np.testing.assert_allclose(tree.predict(known, features), expected, rtol=1e-4)


@pytest.mark.parametrize("basis", ["trained", "pca"])
def test_features_that_hardly_vary_have_components_and_discriminants(basis: str):
    """LAPACK's float32 eigendecomposition of such a covariance does not converge."""
    rng = np.random.default_rng(0)
    features = np.zeros((1000, 512), np.float32)
    alive = rng.choice(512, 51, replace=False)
    labels = rng.integers(0, CLASSES, 1000)
    features[:, alive] = np.maximum(rng.normal(size=(1000, 51)) + 0.5 * labels[:, None], 0)
    train = Examples(Rows(features), labels, CLASSES)
    own = {"training": LOOP | {"epochs": 3}, "rank": 60, "basis": basis}
    logits = fitting.predict("lowrank", fit_one("lowrank", train, own), features)
    assert np.isfinite(logits).all()
    assert right(logits, labels) > 0.3


def test_settings_are_stored_beside_the_arrays_and_are_no_parameters(fitted, tmp_path):
    kinds = {"tree-logits": {"k": 2, "reads": "parent_logits"}, "nested": {"margins": [3.0, 2.0]}}
    kinds |= {"lowrank-relu": {"relu": True}, "shortlist": {"k": 3}, "linear": {}}
    kinds |= {"shortlist-margin": {"margin": 2.0}}
    for name, expected in kinds.items():
        fitting.save(tmp_path / name, {3: fitted[name], 4: fitted[name]})
        loaded = fitting.load(tmp_path / name)
        assert list(loaded) == [3, 4]
        assert loaded[4].settings == fitted[name].settings == expected
        for key, array in fitted[name].arrays.items():
            np.testing.assert_array_equal(loaded[4][key], array)
        numbers = sum(a.size for a in fitted[name].arrays.values() if a.dtype.kind in "fi")
        assert packing.parameters(fitted[name]) == numbers


def test_a_head_of_an_older_version_is_named(tmp_path, fitted):
    arrays = {f"0/{name}": array for name, array in fitted["linear"].arrays.items()}
    write_tensors(tmp_path / "head.safetensors", arrays)
    with pytest.raises(InputError, match=r"head\.safetensors was written by an older version"):
        fitting.load(tmp_path / "head.safetensors")
