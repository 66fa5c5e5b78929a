"""The tensors of a checkpoint are found under whatever names a trainer gave them."""

import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.backbones.checkpoints.matching import Fitted, fit

DIM, CLASSES = 12, 7


class Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Named parts and a numbered stage, as most networks have."""

    def __init__(self, depth: int = 2, width: int = DIM) -> None:
        super().__init__()
        self.stem = Block(3, width)
        self.layers = nn.ModuleList([Block(width, width) for _ in range(depth)])


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with weights that are nobody's initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        else:
            value.fill_(7)
    return network


NETWORK = trained(Residual())
# A Sequential around the network adds "0." to all of its names, as our pooling around PhiNet does.
POOLED = nn.Sequential(NETWORK, nn.Flatten())
OWN = dict(NETWORK.state_dict())
AVERAGE = {name: 2 * value for name, value in OWN.items()}
HEAD = {"weight": torch.randn(CLASSES, DIM), "bias": torch.randn(CLASSES)}
LOSS = {"loss.weight": torch.ones(CLASSES)}
OPTIMIZER = {f"optimizer.state.{place}.exp_avg": torch.ones(3) for place in range(4)}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def fitted(loaded: dict[str, Tensor], network: nn.Module = NETWORK, **key: str) -> Fitted:
    return fit(loaded, network, DIM, "w.pt", **key)


def same(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(
        some[name].dtype == others[name].dtype and torch.equal(some[name], others[name])
        for name in some
    )


LAYOUTS = {
    "a bare state dict": OWN,
    "micromind's recipe": under("classifier", OWN),
    "micromind's trainer": under("feature_extractor", OWN) | under("classifier.2", HEAD),
    "model_state_dict": under("model_state_dict", OWN) | OPTIMIZER,
    "timm": under("state_dict", OWN | under("fc", HEAD)) | under("state_dict_ema", AVERAGE),
    "Lightning": under("state_dict", under("net", OWN | under("head.fc", HEAD)) | LOSS),
    "a wrapper inside": under("model.module", OWN) | under("model.linear", HEAD),
    "a wrapper further inside": {
        name.replace("stem", "stem._orig_mod"): value for name, value in OWN.items()
    },
    "a Sequential": under("0", OWN) | under("1", HEAD),
    "a Sequential within a module": under("network.0", OWN) | under("network.2", HEAD),
}


@pytest.mark.parametrize("network", [NETWORK, POOLED], ids=["plain", "pooled"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_of_trainers_fit(layout: str, network: nn.Module):
    loaded = LAYOUTS[layout]
    found = fitted(loaded, network)
    assert same(found.tensors, network.state_dict())
    assert found.head == {} or same(found.head, HEAD)
    assert bool(found.head) == any(value is HEAD["weight"] for value in loaded.values())


WORDS = ["model", "net", "module", "backbone", "encoder", "_orig_mod", "state", "student", "x1"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_layouts_made_at_random_fit(seed: int):
    """Any nesting, any wrapper at any depth, any head, and any other tensors beside the network."""
    dice = random.Random(seed)
    outer = dice.sample(WORDS, dice.randrange(4))
    wrapped = dice.choice([None, "module", "_fsdp_wrapped_module"])
    named = {
        name.replace("layers.", f"layers.{wrapped}.") if wrapped else name: value
        for name, value in OWN.items()
    }
    head = dice.choice(["fc", "linear", "last_linear", "head.fc", "output", "classifier.2"])
    named |= under(head, HEAD) if dice.random() < 0.7 else {}
    loaded = {".".join([*outer, name]): value for name, value in named.items()}
    loaded |= OPTIMIZER if dice.random() < 0.5 else {}
    loaded |= under("ema", AVERAGE) if dice.random() < 0.5 else {}
    loaded |= LOSS if dice.random() < 0.5 else {}
    order = list(loaded)
    dice.shuffle(order)
    found = fitted({name: loaded[name] for name in order}, dice.choice([NETWORK, POOLED]))
    pairs = zip(found.tensors.values(), OWN.values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert bool(found.head) == any(value is HEAD["weight"] for value in loaded.values())


def test_what_is_not_of_the_network_is_told():
    (remark,) = fitted(under("state_dict", OWN) | LOSS | OPTIMIZER).remarks
    assert remark == f"Not of the network: loss.weight ({CLASSES},), optimizer (4 tensors)."


def test_a_file_without_batchnorms_counters_fits_and_they_are_0():
    """As files from before torch 0.4.1 are."""
    loaded = {name: value for name, value in OWN.items() if "num_batches" not in name}
    found = fitted(loaded)
    assert found.remarks == ["The file has no num_batches_tracked; 3 counters are 0."]
    for name, value in found.tensors.items():
        expected = torch.zeros((), dtype=torch.int64) if "num_batches" in name else OWN[name]
        assert torch.equal(value, expected)


@pytest.mark.parametrize("name", ["state_dict_ema", "ema", "model_ema", "swa_model", "average"])
def test_plain_weights_are_taken_and_an_average_if_it_is_asked_for(name: str):
    loaded = under("state_dict", OWN) | under(name, AVERAGE)
    plain = fitted(loaded)
    assert same(plain.tensors, OWN)
    assert f"backbone.weights_key: {name} takes the average" in plain.remarks[0]
    assert same(fitted(loaded, key=name).tensors, AVERAGE)


def test_an_average_alone_is_taken():
    assert same(fitted(under("model_ema", AVERAGE) | under("model", {})).tensors, AVERAGE)


def test_two_networks_that_fit_are_a_question():
    loaded = under("student", OWN) | under("teacher", AVERAGE)
    with pytest.raises(InputError, match=r"under student, teacher; set backbone\.weights_key"):
        fitted(loaded)
    assert same(fitted(loaded, key="teacher").tensors, AVERAGE)
    with pytest.raises(InputError, match=r"nothing under teachr, .* it has student, teacher\."):
        fitted(loaded, key="teachr")


def test_two_equal_copies_are_no_question():
    assert same(fitted(under("model", OWN) | under("best", OWN)).tensors, OWN)


HEADS = {
    "one linear layer": ({"fc.weight": (CLASSES, DIM), "fc.bias": (CLASSES,)}, "fc"),
    "without a bias": ({"fc.weight": (CLASSES, DIM)}, "fc"),
    "in a Sequential": ({"classifier.1.weight": (CLASSES, DIM)}, "classifier.1"),
    "two layers": ({"head.0.weight": (30, DIM), "head.2.weight": (CLASSES, 30)}, None),
    "two layers apart": ({"fc1.weight": (30, DIM), "fc2.weight": (CLASSES, 30)}, None),
    "a norm before it": ({"head.0.weight": (DIM,), "head.1.weight": (CLASSES, DIM)}, None),
    "two heads": ({"head.weight": (CLASSES, DIM), "dist.weight": (CLASSES, DIM)}, None),
    "of other features": ({"fc.weight": (CLASSES, DIM + 1)}, None),
    # SqueezeNet's has a ReLU behind it, before the mean over the pixels.
    "a convolution of one pixel": ({"classifier.1.weight": (CLASSES, DIM, 1, 1)}, None),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_is_kept_if_it_is_one_linear_layer_on_the_features(kind: str):
    shapes, layer = HEADS[kind]
    others = {name: torch.randn(shape) for name, shape in shapes.items()}
    found = fitted(OWN | others).head
    if layer is None:
        assert found == {}
    else:
        assert torch.equal(found["weight"], others[f"{layer}.weight"])
        assert torch.equal(found["bias"], others.get(f"{layer}.bias", torch.zeros(CLASSES)))


def test_several_heads_are_told():
    others = {"head.weight": torch.ones(CLASSES, DIM), "dist.weight": torch.ones(CLASSES, DIM)}
    assert fitted(OWN | others).remarks[0] == (
        "Several layers read the features, head and dist; none is kept as the head."
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(kind: torch.dtype):
    halves = {k: v.to(kind) if v.is_floating_point() else v for k, v in OWN.items()}
    found = fitted(halves | under("fc", {name: value.to(kind) for name, value in HEAD.items()}))
    assert same(found.tensors, {name: halves[name].to(OWN[name].dtype) for name in OWN})
    assert same(found.head, {name: value.to(kind).float() for name, value in HEAD.items()})


def refusal(loaded: dict[str, Tensor], network: nn.Module = NETWORK) -> str:
    with pytest.raises(InputError) as error:
        fitted(loaded, network)
    return re.sub(r"\s+", " ", str(error.value))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["stem.0.weight", "layers.1.1.running_var", "fc.bias"])
def test_nan_is_named(name: str, value: float):
    loaded = {key: tensor.clone() for key, tensor in (OWN | under("fc", HEAD)).items()}
    loaded[name].view(-1)[0] = value
    assert refusal(loaded) == f"w.pt: the tensor {name} holds NaN or infinity; use another file."


def test_a_number_that_float32_does_not_hold_is_named():
    assert "stem.0.weight holds NaN or inf" in refusal(
        OWN | {"stem.0.weight": torch.full((DIM, 3, 3, 3), 1e300, dtype=torch.float64)}
    )


def test_quantised_weights_are_not_taken_for_numbers():
    loaded = OWN | {"stem.0.weight": torch.ones(DIM, 3, 3, 3, dtype=torch.int8)}
    assert "stem.0.weight holds whole numbers (torch.int8)" in refusal(loaded)


def test_a_missing_tensor_is_told_with_its_shape_and_the_nearest():
    loaded = {name: value for name, value in OWN.items() if name != "layers.1.0.weight"}
    loaded["layers.1.conv.weight"] = torch.ones(DIM, DIM, 3, 3)
    assert (
        "the file lacks 1 of the 15 tensors, first layers.1.0.weight (12, 12, 3, 3); nearest in "
        "the file: layers.1.conv.weight (12, 12, 3, 3); `treehead inspect w.pt` says"
    ) in refusal(loaded)


def test_a_shallower_network_lacks_tensors():
    assert "the file lacks 5 of the 15 tensors" in refusal(Residual(1).state_dict())


@pytest.mark.parametrize("network", [NETWORK, POOLED], ids=["plain", "pooled"])
@pytest.mark.parametrize("prefix", ["", "model.", "state_dict.module."])
def test_a_deeper_network_is_refused_although_it_has_every_tensor(prefix: str, network: nn.Module):
    deeper = {f"{prefix}{name}": value for name, value in Residual(3).state_dict().items()}
    assert f"its network has more, {prefix}layers.2.0.weight (12, 12, 3, 3)" in refusal(
        deeper, network
    )


def test_a_longer_sequential_is_refused_but_for_its_head():
    stages = [Block(3, DIM), Block(DIM, DIM)]
    network, longer = nn.Sequential(*stages), nn.Sequential(*stages, Block(DIM, DIM))
    assert "its network has more, 2.0.weight" in refusal(longer.state_dict(), network)
    headed = nn.Sequential(*stages, nn.Flatten(), nn.Linear(DIM, CLASSES))
    assert same(fitted(headed.state_dict(), network).tensors, network.state_dict())
    assert fitted(headed.state_dict(), network).head["weight"].shape == (CLASSES, DIM)


def test_a_bias_that_the_network_lacks_is_refused():
    assert "its network has more, stem.0.bias (12,)" in refusal(
        OWN | {"stem.0.bias": torch.ones(DIM)}
    )


def test_another_width_is_told_with_both_shapes():
    sentence = refusal(under("model", Residual(width=20).state_dict()))
    assert (
        "15 of 15 tensors have another shape, first model.stem.0.weight (20, 3, 3, 3), where the "
        "network has (12, 3, 3, 3)"
    ) in sentence


def test_names_of_another_network_are_told():
    assert (
        "none of its 2 tensors, such as fc.weight, fc.bias, has a name of the network, such as "
        "stem.0.weight, stem.1.weight; `treehead inspect w.pt` says what it fits"
    ) in refusal(under("fc", HEAD))
