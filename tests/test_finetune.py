"""Fine-tuning on tiny images: the loss, the seed, the schedule, and the epoch that is kept."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import PARENT_OF, SETTINGS, coloured, copied, fresh

from treehead.artifacts import InputError
from treehead.backbones.backbone import Backbone
from treehead.training import finetune, optimization, trainer
from treehead.training.finetune import Classifier, Images
from treehead.training.objectives import Objective
from treehead.training.trainer import Trainer

OBJECTIVES = ["flat", "bottleneck", "parent", "joint", "multitask"]


def tuned(**changes: object) -> tuple[Backbone, nn.Module, list[finetune.Epoch]]:
    backbone = fresh()
    head, history = finetune.finetune(
        backbone, coloured(20, 1), coloured(15, 2), {**SETTINGS, **changes}
    )
    return backbone, head, history


def equal(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(
        torch.equal(some[name], others[name]) for name in some
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("optimizer", "schedule"), [("adam", "cosine"), ("adamw", "onecycle")])
def test_an_epoch_trains_backbone_and_head(objective: str, optimizer: str, schedule: str):
    before = copied(fresh())
    backbone, head, history = tuned(objective=objective, optimizer=optimizer, schedule=schedule)
    assert [row.epoch for row in history] == [1]
    assert np.isfinite(history[0].loss)
    assert 0 <= history[0].val_accuracy <= 1
    assert 0 < history[0].learning_rate <= SETTINGS["learning_rate"]
    for name, parameter in backbone.named_parameters():
        assert parameter.isfinite().all()
        assert not torch.equal(parameter, before[name]), f"{name} was not trained"
    outputs = 3 if objective == "parent" else 5
    logits = head(torch.zeros(1, backbone.dim))
    assert logits[head.chosen_by].shape == (1, outputs)


@pytest.mark.parametrize(
    ("objective", "least"),
    [("flat", 0.5), ("bottleneck", 0.5), ("parent", 0.7), ("joint", 0.5), ("multitask", 0.5)],
)
def test_what_can_be_learned_is_learned(objective: str, least: float):
    """Of five colours a guess knows 0.2, of their parents 0.4."""
    settings = {**SETTINGS, "objective": objective, "epochs": 12}
    _, history = finetune.finetune(fresh(), coloured(100, 1), coloured(15, 2), settings)
    assert max(row.val_accuracy for row in history) > least
    assert history[-1].loss < history[0].loss


@pytest.mark.parametrize("mix", ["none", "either"])
def test_a_seed_decides_the_weights_to_the_bit(mix: str):
    own = {"augment": {**SETTINGS["augment"], "mix": mix}, "epochs": 2}
    one, one_head, _ = tuned(**own)
    torch.randn(7)
    again, again_head, _ = tuned(**own)
    other, other_head, _ = tuned(**own, seed=1)
    assert equal(one.state_dict(), again.state_dict())
    assert equal(one_head.state_dict(), again_head.state_dict())
    assert not equal(one.state_dict(), other.state_dict())
    assert not equal(one_head.state_dict(), other_head.state_dict())


def test_in_bfloat16_the_weights_stay_float32():
    backbone, _, history = tuned(precision="bfloat16")
    assert np.isfinite(history[0].loss)
    assert {value.dtype for value in backbone.parameters()} == {torch.float32}
    assert not equal(backbone.state_dict(), tuned()[0].state_dict())


@pytest.mark.parametrize(
    ("accuracies", "best"), [([0.2, 0.7, 0.5], 1), ([0.9, 0.1], 0), ([0, 0.3, 0.3], 1), ([0], 0)]
)
def test_the_best_epoch_by_val_is_kept(monkeypatch, accuracies: list[float], best: int):
    states = []

    def scripted(model: nn.Module, images: Images, settings: dict) -> float:
        assert np.array_equal(images.pixels, coloured(15, 2).pixels), "val alone chooses"
        states.append(copied(model))
        return accuracies[len(states) - 1]

    monkeypatch.setattr(trainer, "evaluate", scripted)
    backbone, head, history = tuned(epochs=len(accuracies))
    model = Classifier(backbone, head)
    assert equal(copied(model), states[best])
    assert all(not equal(copied(model), state) for state in states[:best] + states[best + 1 :])
    assert [row.val_accuracy for row in history] == accuracies


@pytest.mark.parametrize("hole", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_the_epoch_and_the_step(monkeypatch, hole: float):
    """Twenty images in batches of eight are three steps; the fifth is the second of epoch 2."""
    losses, loss = [], Objective.loss

    def fifth(self: Objective, features: Tensor, fine: Tensor) -> Tensor:
        losses.append(loss(self, features, fine))
        return losses[-1] * hole if len(losses) == 5 else losses[-1]

    monkeypatch.setattr(Objective, "loss", fifth)
    with pytest.raises(
        InputError, match=f"the loss became {hole} in epoch 2, step 2; lower finetune.learning_rate"
    ):
        tuned(epochs=3)


def test_a_divergence_with_muon_names_the_optimizer_that_suits_any_network():
    with pytest.raises(InputError, match=r"set it to 0\.001 and finetune\.optimizer to adamw"):
        tuned(optimizer="muon", learning_rate=1e30, epochs=3)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def by_hand(logits: Tensor, target: np.ndarray) -> float:
    """Mean cross-entropy of raw logits: one softmax, not two."""
    return -float((target * log_softmax(logits.detach().double().numpy())).sum(1).mean())


@pytest.fixture
def features() -> Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


MIXTURES = np.array(
    [[1, 0, 0, 0, 0], [0.25, 0.75, 0, 0, 0], [0, 0, 0.5, 0, 0.5], [0.1, 0.2, 0.3, 0.2, 0.2]]
)
OF_PARENTS = np.array([[1, 0, 0], [0.25, 0.75, 0], [0.5, 0.5, 0], [0.4, 0.4, 0.2]])


def objective(**changes: object) -> Objective:
    torch.manual_seed(3)
    return Objective(6, torch.tensor(PARENT_OF), {**SETTINGS, **changes})


def test_a_mixtures_parent_has_the_summed_probabilities_of_its_classes(features: Tensor):
    head = objective(objective="parent")
    logits = head(features)
    assert logits.keys() == {"parent"}
    assert logits["parent"].shape == (4, 3)
    loss = head.loss(features, torch.tensor(MIXTURES, dtype=torch.float32))
    assert loss.item() == pytest.approx(by_hand(logits["parent"], OF_PARENTS), rel=1e-5)


@pytest.mark.parametrize("kind", ["flat", "bottleneck"])
def test_the_loss_of_the_classes_is_their_cross_entropy(kind: str, features: Tensor):
    head = objective(objective=kind)
    logits = head(features)
    assert logits.keys() == {"fine"}
    loss = head.loss(features, torch.tensor(MIXTURES, dtype=torch.float32))
    assert loss.item() == pytest.approx(by_hand(logits["fine"], MIXTURES), rel=1e-5)


@pytest.mark.parametrize("weight", [0, 1.5, 4])
def test_the_joint_loss_is_parent_plus_weight_times_fine(weight: float, features: Tensor):
    head = objective(child_weight=weight)
    logits = head(features)
    assert logits.keys() == {"parent", "fine"}
    torch.testing.assert_close(logits["fine"], head.second(logits["parent"].relu()))
    loss = head.loss(features, torch.tensor(MIXTURES, dtype=torch.float32))
    expected = by_hand(logits["parent"], OF_PARENTS) + weight * by_hand(logits["fine"], MIXTURES)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_gives_each_class_its_share(features: Tensor):
    head = objective(objective="flat", label_smoothing=0.2)
    logits = head(features)["fine"]
    loss = head.loss(features, torch.tensor(MIXTURES, dtype=torch.float32))
    assert loss.item() == pytest.approx(by_hand(logits, 0.8 * MIXTURES + 0.2 / 5), rel=1e-5)


def test_a_bottleneck_has_no_dropout_and_no_non_linearity(features: Tensor):
    """Dropout of 0.5 in ten numbers explained most of the study's low-rank losses."""
    head = objective(objective="bottleneck")
    assert [type(module) for module in head.children()] == [nn.Linear, nn.Linear]
    assert head.first.out_features == SETTINGS["bottleneck"]
    torch.testing.assert_close(head(features)["fine"], head.second(head.first(features)))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_all_that_a_head_learns_is_in_its_module_tree(kind: str):
    head = objective(objective=kind)
    assert {name for name, _ in head.named_parameters()} == set(head.state_dict())
    sizes = {"flat": 6 * 5 + 5, "parent": 6 * 3 + 3}
    sizes |= {"bottleneck": 6 * 3 + 3 + 3 * 5 + 5, "joint": 6 * 3 + 3 + 3 * 5 + 5}
    sizes["multitask"] = sizes["flat"] + sizes["joint"]
    assert sum(parameter.numel() for parameter in head.parameters()) == sizes[kind]


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_right_answers_are_counted_on_each_level_that_the_objective_trains(
    kind: str, features: Tensor
):
    head, fine = objective(objective=kind), torch.tensor([0, 1, 4, 2])
    truth = {"fine": fine.tolist(), "parent": [PARENT_OF[label] for label in fine]}
    truth["child"] = truth["fine"]
    expected = {}
    for level, logits in head(features).items():
        answers = zip(logits.argmax(1).tolist(), truth[level], strict=True)
        expected[level] = sum(answer == label for answer, label in answers)
    assert head.right(features, fine) == expected
    assert head.chosen_by == list(expected)[-1], "val's accuracy is that of the last logits"


@pytest.mark.parametrize("batch_size", [1, 4, 15, 100])
def test_evaluation_neither_learns_nor_depends_on_the_batch(batch_size: int):
    """The study's children met BatchNorm in train mode, on batches of one superclass."""
    backbone, head, _ = tuned(epochs=2)
    model = Classifier(backbone, head).train()
    before, val = copied(model), coloured(15, 2)
    accuracy = trainer.evaluate(model, val, {**SETTINGS, "batch_size": batch_size})
    assert equal(copied(model), before)
    pixels = torch.from_numpy(val.pixels)
    with torch.inference_mode():
        right = sum(
            head.right(backbone(pixels[i : i + 1]), val.fine[i : i + 1])["fine"] for i in range(15)
        )
    assert accuracy == right / 15


@pytest.mark.parametrize(("n", "size"), [(20, 8), (17, 8), (16, 8), (5, 8), (9, 2), (3, 2)])
def test_an_epoch_is_a_shuffled_partition_without_a_batch_of_one(n: int, size: int):
    """The study's loader was not shuffled; BatchNorm can't learn from one image."""
    orders = []
    for epoch in (1, 2):
        batches = list(trainer.batches(n, size, (0, epoch)))
        assert all(2 <= len(batch) <= size + 1 for batch in batches)
        orders.append(torch.cat(batches).tolist())
        assert sorted(orders[-1]) == list(range(n))
        again = torch.cat(list(trainer.batches(n, size, (0, epoch))))
        assert again.tolist() == orders[-1]
    if n > 5:
        assert orders[0] != orders[1]
        assert list(range(n)) not in orders


def rates(schedule: str) -> list[float]:
    """The learning rate at the start of each of twelve epochs of three steps."""
    return [row.learning_rate for row in tuned(epochs=12, schedule=schedule)[2]]


def test_onecycle_and_triangle_climb_to_the_rate_and_fall():
    for schedule in ("onecycle", "triangle"):
        found = rates(schedule)
        peak = found.index(max(found))
        assert 0 < peak < 6
        assert found[: peak + 1] == sorted(found[: peak + 1])
        assert found[peak:] == sorted(found[peak:], reverse=True)
        assert max(found) == pytest.approx(SETTINGS["learning_rate"], rel=0.1)
        assert 0 < found[-1] < 0.15 * SETTINGS["learning_rate"]


def test_triangle_is_two_straight_lines():
    """Warm-up is a quarter of 36 steps: a ninth more a step, then a 28th less."""
    found = np.array(rates("triangle")) / SETTINGS["learning_rate"]
    steps = 3 * np.arange(12)
    np.testing.assert_allclose(found, np.minimum((steps + 1) / 9, (36 - steps) / 28))


def test_cosine_starts_at_the_rate_and_only_falls():
    found = rates("cosine")
    assert found == sorted(found, reverse=True)
    assert found[0] == SETTINGS["learning_rate"]
    assert found[-1] < 0.1 * found[0]


def test_step_divides_by_ten_after_each_third():
    expected = [SETTINGS["learning_rate"] / 10 ** (epoch // 4) for epoch in range(12)]
    assert rates("step") == pytest.approx(expected)


def test_averaged_weights_are_what_is_judged_and_kept():
    """With a decay near one they stay near the first step's, wherever the rest goes."""
    plain, near = tuned(epochs=3)[0], tuned(epochs=3, average=0.9999)[0]
    start = dict(fresh().named_parameters())

    def moved(backbone: Backbone) -> float:
        return sum(
            float((value - start[name]).detach().norm())
            for name, value in backbone.named_parameters()
        )

    assert 0 < moved(near) < 0.5 * moved(plain)


def test_gradients_are_clipped_by_value():
    """Of SGD's first step from a rate of one, none is larger than the clip."""
    settings = {"optimizer": "sgd", "momentum": 0, "schedule": "cosine", "learning_rate": 1.0}
    settings |= {"weight_decay": 0, "steps_per_epoch": 1}
    before = dict(fresh().named_parameters())

    def largest(clip: float) -> float:
        after = tuned(**settings, gradient_clip=clip)[0].named_parameters()
        return max(float((value - before[name]).detach().abs().max()) for name, value in after)

    assert largest(0.01) == pytest.approx(0.01, rel=1e-4)
    assert largest(0) > 0.02


@pytest.mark.parametrize(("steps", "seen"), [(1, 8), (2, 16), (3, 20), (9, 20)])
def test_an_epoch_may_be_cut_to_some_steps(monkeypatch, steps: int, seen: int):
    counts, step = [], Trainer.train_step

    def counted(self: object, rows: Tensor) -> None:
        counts.append(len(rows))
        step(self, rows)

    monkeypatch.setattr(Trainer, "train_step", counted)
    _, _, history = tuned(epochs=2, steps_per_epoch=steps)
    assert sum(counts) == 2 * seen
    assert all(0.5 < row.loss < 20 for row in history)


def test_the_first_epochs_train_on_smaller_images(monkeypatch):
    sizes, loss = [], finetune.Classifier.forward

    def noted(self: Classifier, images: Tensor, fine: Tensor) -> Tensor:
        sizes.append(images.shape[-1])
        assert images.is_contiguous(memory_format=torch.channels_last)
        return loss(self, images, fine)

    monkeypatch.setattr(finetune.Classifier, "forward", noted)
    tuned(
        epochs=3, progressive=[{"until": 0.5, "image_size": 12}, {"until": 0.7, "image_size": 14}]
    )
    assert sizes == [12] * 5 + [14] * 2 + [16] * 2


def test_images_that_the_network_can_not_read_are_told_before_the_first_epoch(monkeypatch):
    monkeypatch.setattr(finetune, "_train", lambda *_: pytest.fail("it began"))
    small = [{"until": 0.5, "image_size": 3}]
    with pytest.raises(InputError, match=r"can't read images of 3 pixels .*image_size"):
        tuned(progressive=small)


def test_biases_and_scales_do_not_decay():
    parameters = [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]
    frozen = nn.Parameter(torch.ones(3, 3), requires_grad=False)
    for kind in ("adam", "adamw", "sgd"):
        settings = {**SETTINGS, "optimizer": kind, "weight_decay": 0.1}
        groups = optimization.optimizer([*parameters, frozen], settings).param_groups
        assert [group["weight_decay"] for group in groups] == [0.1, 0]
        assert [len(group["params"]) for group in groups] == [1, 1]


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_heads_macs_are_those_of_its_layers(kind: str):
    sizes = {"flat": 6 * 5, "parent": 6 * 3, "bottleneck": 6 * 3 + 3 * 5, "joint": 6 * 3 + 3 * 5}
    sizes["multitask"] = sizes["flat"] + sizes["joint"]
    assert objective(objective=kind).macs() == sizes[kind]


class Versioned(nn.Conv2d):
    """Loads tensors of its own version alone, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *others):
        assert local_metadata.get("version") == 2
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_a_network_that_loads_by_its_version_trains():
    network = nn.Sequential(Versioned(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = Backbone(network, 4, 16, [0.5] * 3, [0.25] * 3)
    before = copied(backbone)
    finetune.finetune(backbone, coloured(20, 1), coloured(15, 2), SETTINGS)
    assert not torch.equal(network[0].weight, before["network.0.weight"])


def test_multitask_is_flat_and_joint_side_by_side():
    """So the class layer reads the features, and the parent layer what children need."""
    torch.manual_seed(0)
    both = objective(objective="multitask", tree_weight=0.4)
    flat, joint = objective(objective="flat"), objective(objective="joint")
    flat.first, joint.first, joint.second = both.flat, both.first, both.second
    features, fine = torch.randn(7, 6), F.one_hot(torch.arange(7) % 5, 5).float()
    torch.testing.assert_close(
        both.loss(features, fine), flat.loss(features, fine) + 0.4 * joint.loss(features, fine)
    )
    assert both.right(features, fine.argmax(1)) == {
        "parent": joint.right(features, fine.argmax(1))["parent"],
        "child": joint.right(features, fine.argmax(1))["fine"],
        "fine": flat.right(features, fine.argmax(1))["fine"],
    }


def test_self_distillation_teaches_the_parent_path_what_the_class_layer_says():
    torch.manual_seed(0)
    features, fine = torch.randn(7, 6), F.one_hot(torch.arange(7) % 5, 5).float()
    taught = objective(objective="multitask", tree_weight=1, child_weight=1, self_distillation=1)
    logits = taught(features)
    own = logits["fine"].softmax(1).detach()
    parents = torch.stack([own[:, torch.tensor(PARENT_OF) == p].sum(1) for p in range(3)], 1)
    expected = (
        F.cross_entropy(logits["parent"], parents)
        + F.cross_entropy(logits["child"], own)
        + F.cross_entropy(logits["fine"], fine, label_smoothing=SETTINGS["label_smoothing"])
    )
    torch.testing.assert_close(taught.loss(features, fine), expected)
    taught.loss(features, fine).backward()
    alone = objective(objective="flat")
    alone.first.load_state_dict(taught.flat.state_dict())
    alone.loss(features, fine).backward()
    torch.testing.assert_close(taught.flat.weight.grad, alone.first.weight.grad)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_scale_of_the_logits_is_folded_into_the_layers(kind: str):
    scaled = objective(objective=kind, logit_scale=0.14)
    features = torch.randn(7, 6)
    before = scaled(features)
    scaled.fold()
    plain = objective(objective=kind)
    plain.load_state_dict(scaled.state_dict())
    for level, logits in plain(features).items():
        torch.testing.assert_close(logits, before[level])


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (10, 10)])
def test_muons_update_has_the_gradients_directions_and_nearly_equal_lengths(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    along = left.T @ optimization.orthogonal(matrix) @ right.T
    torch.testing.assert_close(along, along.diag().diag(), rtol=0, atol=1e-4)
    strong = values >= matrix.norm() / 20
    assert strong.sum() > 5
    assert along.diag()[strong].min() > 0.68
    assert along.diag().min() > 0
    assert along.diag().max() < 1.21
    torch.testing.assert_close(optimization.orthogonal(matrix), optimization.orthogonal(9 * matrix))


@pytest.mark.parametrize("kind", ["onecycle", "triangle", "cosine", "step"])
def test_each_group_keeps_its_own_rate_and_momentum_through_a_schedule(kind: str):
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(4, 5)]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    settings = {**SETTINGS, "optimizer": "muon", "schedule": kind, "learning_rate": 0.5}
    chosen = optimization.optimizer(parameters, settings)
    scheduled = optimization.schedule(chosen, settings, 12)
    for _ in range(11):
        filters, weights, others = chosen.param_groups
        assert weights["lr"] == others["lr"] == pytest.approx(5 * filters["lr"])
        assert [filters["momentum"], weights["momentum"]] == [0.6, 0.9]
        chosen.step()
        scheduled.step()


def test_muon_moves_filters_and_sgd_all_else():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(4, 5)]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    settings = {**SETTINGS, "optimizer": "muon", "weight_decay": 0.1}
    chosen = optimization.optimizer(parameters, settings)
    assert [group["weight_decay"] for group in chosen.param_groups] == [0, 0.1, 0]
    assert [group["lr"] for group in chosen.param_groups] == [0.1, 0.01, 0.01]
    others = [layers[0].bias, layers[1].weight, layers[1].bias]
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in others]
    alone = torch.optim.SGD(
        [{"params": copies[1:2], "weight_decay": 0.1}, {"params": [copies[0], copies[2]]}],
        lr=0.01,
        momentum=0.9,
        nesterov=True,
    )
    filters = layers[0].weight.detach().clone()
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    gradient = layers[0].weight.grad.clone()
    for copy, parameter in zip(copies, others, strict=True):
        copy.grad = parameter.grad.clone()
    chosen.step()
    alone.step()
    for copy, parameter in zip(copies, others, strict=True):
        torch.testing.assert_close(copy, parameter)
    expected = filters * 2 / filters.norm()
    expected -= 0.1 * optimization.orthogonal(1.6 * gradient.flatten(1)).view_as(filters)
    torch.testing.assert_close(layers[0].weight, expected)
