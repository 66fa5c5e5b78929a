"""Fitted heads as torch modules, which export to ONNX: in batches, with masks in place of branches.

Each is the `predict` of the head's module in `treehead/heads/`, which stays the reference.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from treehead.artifacts import InputError
from treehead.heads import lowbit, nested, nonnegative, shift, sparse, tree, twobit
from treehead.heads.head import Head
from treehead.heads.layers import Tree


class HeadModule(nn.Module):
    """Features (n, dim) -> logits (n, classes), -inf for classes that the head did not look at.

    Args:
        name: module of the head.
        head: as packed or fitted.

    Raises:
        InputError: the head has no such module.
    """

    def __init__(self, name: str, head: Head) -> None:
        super().__init__()
        if name not in _MODULES:
            raise InputError(f"A {name} head can't be exported; take one of {', '.join(_MODULES)}.")
        scale = np.ldexp(np.float32(1), -head["exponent"].astype(np.int32))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.logits = _MODULES[name](head)

    def forward(self, features: Tensor) -> Tensor:
        return self.logits(features * self.scale)


class _Layer(nn.Module):
    """x (n, inputs) -> x weight^T + bias, (n, outputs)."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(np.ascontiguousarray(weight)))
        self.register_buffer("bias", torch.from_numpy(np.ascontiguousarray(bias)))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Tree(nn.Module):
    """The children of the k most likely parents compete, or of those within a margin."""

    def __init__(self, tree: Tree, k: int | None, margin: float = 0.0) -> None:
        super().__init__()
        self.parent, self.child = _Layer(*tree.parent), _Layer(*tree.child)
        self.register_buffer("parent_of", torch.from_numpy(tree.parent_of))
        self.from_logits = tree.reads == "parent_logits"
        self.k, self.margin = k and min(k, len(tree.parent.bias)), margin

    def forward(self, x: Tensor) -> Tensor:
        parents = self.parent(x)
        if self.k is None:
            near = parents >= parents.amax(1, keepdim=True) - self.margin
            asked = near[:, self.parent_of]
        else:
            routed = parents.topk(self.k).indices
            asked = (routed[:, :, None] == self.parent_of).any(1)
        scores = self.child(parents.relu() if self.from_logits else x)
        return scores.where(asked, -torch.inf)


class _Nested(nn.Module):
    """Screens, each of the classes within a margin of the best of the one before."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        first, *further = nested.layers(head)
        self.first = _Layer(*first)
        self.further = nn.ModuleList(_Layer(*layer) for layer in further)
        self.margins = head.settings["margins"]

    def forward(self, x: Tensor) -> Tensor:
        logits = self.first(x)
        for layer, margin in zip(self.further, self.margins, strict=True):
            passed = logits >= logits.amax(1, keepdim=True) - margin
            logits = logits.where(passed, -torch.inf)
            goes_on = passed.sum(1, keepdim=True) > 1
            logits = torch.where(goes_on & passed, layer(x), logits)
        return logits


class _Shortlist(nn.Module):
    """The full head's logits of the classes that a preview lists."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        preview = [head["preview_down"], head["preview_up"]]
        self.preview = nn.Sequential(*_chain(preview, head["preview_bias"]))
        self.exact = _Layer(head["weight"], head["bias"])
        self.k, self.margin = (head.settings.get(name) for name in ("k", "margin"))

    def forward(self, x: Tensor) -> Tensor:
        previews = self.preview(x)
        if self.k is not None:
            least = previews.topk(self.k).values[:, -1:]
        else:
            least = previews.amax(1, keepdim=True) - self.margin
        return self.exact(x).where(previews >= least, -torch.inf)


class _Standardized(nn.Module):
    """(x - mean) / std."""

    def __init__(self, mean: np.ndarray, inverse_std: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("inverse_std", torch.from_numpy(inverse_std))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.inverse_std


class _Kept(nn.Module):
    """Some of the features."""

    def __init__(self, places: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("places", torch.from_numpy(places.astype(np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.places]


def _chain(weights: list[np.ndarray], bias: np.ndarray) -> Iterator[nn.Module]:
    """Layers one after the other, of which the last one has a bias."""
    *first, last = weights
    yield from (_Layer(weight, np.zeros(len(weight), np.float32)) for weight in first)
    yield _Layer(last, bias)


def _lowrank(head: Head) -> nn.Module:
    before = [nn.ReLU()] if head.settings["relu"] else []
    return nn.Sequential(*before, *_chain([head["down"], head["up"]], head["bias"]))


def _mlp(head: Head) -> nn.Module:
    hidden = _Layer(head["hidden_weight"], head["hidden_bias"])
    return nn.Sequential(hidden, nn.ReLU(), _Layer(head["weight"], head["bias"]))


def _shift(head: Head) -> nn.Module:
    standardized = _Standardized(head["mean"], head["inverse_std"])
    return nn.Sequential(standardized, _Tree(shift.as_tree(head), 1))


_MODULES: dict[str, Callable[[Head], nn.Module]] = {
    "lasso": lambda head: nn.Sequential(_Kept(head["kept"]), _Layer(head["weight"], head["bias"])),
    "linear": lambda head: _Layer(head["weight"], head["bias"]),
    "lowbit": lambda head: _Layer(lowbit.dense(head), head["bias"]),
    "lowrank": _lowrank,
    "mlp": _mlp,
    "nested": _Nested,
    "nonnegative": lambda head: nn.Sequential(
        nn.ReLU(), *_chain(nonnegative.chain(head), head["bias"])
    ),
    "shift": _shift,
    "shortlist": _Shortlist,
    "sparse": lambda head: _Layer(sparse.dense(head["values"], head["mask"]), head["bias"]),
    "tree": lambda head: _Tree(tree.assembled(head), head.settings["k"]),
    "twobit": lambda head: _Tree(twobit.assembled(head), None, head.settings["margin"]),
}
