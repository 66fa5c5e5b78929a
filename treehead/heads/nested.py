"""Nested sparse screens: all classes are looked at with few weights, the likeliest with more.

Screen after screen the classes that stay within a margin of the best one are looked at with more of
the same weights, which cost only what they add; the classes that pass the last screen are decided
by a separate sparse layer. Screens and decision learn one teacher's logits together.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt, doc
from torch import Tensor, nn
from torch.nn.functional import linear

from treehead.artifacts import InputError
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.heads import loop, pruning, sparse
from treehead.heads.costs import Cost
from treehead.heads.head import Head


def check(*, screens: str, margins: str, **_: object) -> str | None:
    """What is wrong with a combination of valid settings."""
    sizes = [int(kept) for kept in screens.split("-")]
    if sizes != sorted(set(sizes)):
        return f"screens {screens} must grow"
    if len(sizes) != len(margins.split("-")):
        return f"screens {screens} and margins {margins} must be as many"
    return None


def fit(
    train: Examples,
    *,
    training: dict[str, Any],
    seed: int,
    screens: Annotated[
        str,
        re.compile(r"[1-9]\d*(-[1-9]\d*)*"),
        doc("whole numbers with dashes between them, such as 12-30-80"),
    ],
    margins: Annotated[
        str,
        re.compile(r"\d+(\.\d+)?(-\d+(\.\d+)?)*"),
        doc("numbers with dashes between them, such as 3-2-1.5"),
    ],
    decision: Annotated[int, Ge(1)],
    structured: bool = False,
    pruned: Annotated[float, Gt(0), Lt(1)] = 0.8,
    teacher: Rows | None = None,
    sample_weight: np.ndarray | None = None,
) -> Head:
    """Fit screens and decision.

    Args:
        screens: weights of a class in each screen, growing, such as "12-30-80".
        margins: how far below the best logit a class may be to pass each screen, such as "3-2-1.5".
        decision: weights of a class in the last layer.
        structured: keep one weight of each group of features, as in `sparse.fit`.
        pruned: share of the steps after which pruning ends.
    """
    inputs, mean, std = loop.standardized(train.features)
    dim, classes = inputs.shape[1], train.classes
    sizes = [pruning.final_count(dim, int(kept), structured) for kept in screens.split("-")]
    last = pruning.final_count(dim, decision, structured)
    passing = [float(margin) for margin in margins.split("-")]
    if mistake := check(screens=screens, margins=margins):
        raise InputError(f"A nested head: {mistake}.")
    torch.manual_seed(seed)
    shared, own = (nn.Parameter(torch.zeros(classes, dim)) for _ in range(2))
    biases = nn.Parameter(torch.zeros(len(sizes) + 1, classes))
    prune = pruning.Pruning(shared, sizes, structured, pruned)
    prune_own = pruning.Pruning(own, [last], structured, pruned)
    toward = loop.toward(train.labels, teacher, training, sample_weight)

    def weights() -> list[Tensor]:
        return [*(shared * mask for mask in prune.masks), own * prune_own.masks[0]]

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        logits = linear(x, torch.cat(weights()), biases.flatten())
        levels = logits.view(len(rows), -1, classes).unbind(1)
        return torch.stack([toward(level, rows) for level in levels]).sum()

    def before_step(done: float) -> None:
        prune(done)
        prune_own(done)

    model = nn.ParameterList([shared, own, biases])
    loop.train(
        model,
        loss,
        inputs=inputs,
        training=training,
        seed=seed,
        what="nested",
        before_step=before_step,
    )
    screen = sparse.folded(shared, prune.masks[-1], biases[0], mean, std)
    decided = sparse.folded(own, prune_own.masks[0], biases[-1], mean, std)
    level = len(sizes) - torch.stack(prune.masks).sum(0)
    offsets = [
        loop.folded(weight, bias, mean, std)[1]
        for weight, bias in zip(weights(), biases, strict=True)
    ]
    arrays = {
        "screen_values": screen["values"],
        "screen_mask": screen["mask"],
        "screen_level": pruning.gathered(level, prune.masks[-1]).numpy().astype(np.uint16),
        "values": decided["values"],
        "mask": decided["mask"],
        "bias": np.concatenate(offsets),
    }
    return Head(arrays, {"margins": passing})


def layers(head: Head) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weight (classes, dim) and bias (classes,) of each screen and of the decision."""
    biases = head["bias"].reshape(len(head.settings["margins"]) + 1, -1)
    for screen, bias in enumerate(biases[:-1]):
        kept = np.where(head["screen_level"] <= screen, head["screen_values"], 0)
        yield sparse.dense(kept, head["screen_mask"]), bias
    yield sparse.dense(head["values"], head["mask"]), biases[-1]


def _screened(head: Head, features: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits (n, classes) of the classes that passed, else -inf; and how many did each screen.

    An image of which one class is left needs no further layer: none is asked then.
    """
    (weight, bias), *further = layers(head)
    margins = np.array(head.settings["margins"], np.float32)
    logits = features @ weight.T + bias
    asked = []
    for (weight, bias), margin in zip(further, margins, strict=True):
        logits = np.where(logits >= logits.max(1, keepdims=True) - margin, logits, -np.inf)
        passed = np.isfinite(logits)
        goes_on = passed.sum(1) > 1
        asked.append(np.where(goes_on, passed.sum(1), 0))
        refined = np.where(passed, features @ weight.T + bias, -np.inf)
        logits = np.where(goes_on[:, None], refined, logits)
    return logits, asked


def predict(head: Head, features: np.ndarray) -> np.ndarray:
    """Features (n, dim) -> logits (n, classes), -inf for classes that did not pass all screens."""
    return _screened(head, features)[0]


def cost(head: Head, features: np.ndarray) -> Cost:
    """The weights that each layer adds for a class; comparisons are other operations."""
    _, asked = _screened(head, features)
    classes = len(head["mask"])
    sizes = [int((head["screen_level"][0] <= screen).sum()) for screen in range(len(asked))]
    added = [sizes[0], *np.diff(sizes).tolist(), head["values"].shape[1]]
    seen = [np.full(len(features), classes), *asked]
    macs = sum(count * more for count, more in zip(seen, added, strict=True))
    compared = sum(3 * count for count in seen)
    return Cost(macs, classes * sum(added), macs + compared)
