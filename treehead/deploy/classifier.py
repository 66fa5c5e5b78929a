"""The whole classifier as one ONNX file: pictures of any size in, class probabilities out.

Resizing, normalisation, backbone, head and temperature are in the graph. What else a user of it
needs is in its metadata: names, the picture size, and the hashes of what it was made from.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor, nn

from treehead import artifacts
from treehead.artifacts import InputError, replacing
from treehead.backbones import exporting, qdq
from treehead.backbones.backbone import Backbone
from treehead.data.embeddings import Embeddings
from treehead.data.taxonomy import Taxonomy
from treehead.deploy import resizing
from treehead.deploy.model import KEY, About, sealed
from treehead.deploy.modules import HeadModule
from treehead.deploy.packed import Packed
from treehead.heads import fitting, packing


class Classifier(nn.Module):
    """Pictures uint8 (n, 3, h, w) -> probabilities (n, classes), 0 for classes not looked at."""

    def __init__(self, backbone: Backbone, head: nn.Module, about: About) -> None:
        super().__init__()
        self.backbone, self.head, self.about = backbone, head, about

    def forward(self, pictures: Tensor) -> Tensor:
        images = resizing.resized(pictures, self.about.image_size, self.about.resize)
        return (self.head(self.backbone(images)) / self.about.temperature).softmax(1)


def assembled(
    backbone: Backbone,
    taken: Packed,
    val: Embeddings,
    tree: Taxonomy,
    pictures: dict[str, Any],
    files: dict[str, str],
) -> Classifier:
    """A classifier whose temperature is fitted to val.

    Args:
        backbone: with its weights.
        taken: the head.
        val: its images as they are.
        tree: names of classes and parents.
        pictures: `image_size` and `resize` of the data set.
        files: others that it is made from, by name.
    """
    head = packing.read(taken.file)
    precision, seed = packing.precision_and_seed(taken.file)
    logits = fitting.predict(taken.module, head, val.features[0])
    about = About(
        classes=list(tree.fine_names),
        parents=list(tree.parent_names),
        parent_of=tree.parent_of().tolist(),
        **pictures,
        head={"name": taken.head, "module": taken.module, "precision": precision, "seed": seed},
        temperature=temperature(logits, val.fine),
        hashes={name: artifacts.sha256(file) for name, file in files.items()}
        | {"head": artifacts.sha256(taken.file)},
    )
    return Classifier(backbone, HeadModule(taken.module, head), about)


def export(classifier: Classifier, path: str | Path, whole: bool = False) -> None:
    """Write a classifier as ONNX, which onnx's checker has passed.

    Args:
        classifier: of `assembled`.
        path: the .onnx file to write.
        whole: whether weights of the head that are whole numbers times a scale are stored as int8.
    """
    side = torch.export.Dim("height", min=1), torch.export.Dim("width", min=1)
    example = torch.zeros(2, 3, 48, 40, dtype=torch.uint8)
    free = {0: torch.export.Dim("n"), 2: side[0], 3: side[1]}
    model = exporting.exported(classifier, example, ("pictures", "probabilities"), free)
    if whole:
        model = qdq.whole_matrices(model)
    onnx.helper.set_model_props(model, {KEY: json.dumps(asdict(classifier.about))})
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(sealed(model.SerializeToString(deterministic=True)))


def temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """The temperature by which logits have the least mean cross-entropy (Guo et al., ICML 2017).

    Args:
        logits: (n, classes), -inf where a class was not looked at; images whose own class was not
            have no finite loss and are left out.
        label: (n,).

    Raises:
        InputError: no image is left.
    """
    seen = np.isfinite(logits[np.arange(len(label)), label])
    if not seen.any():
        raise InputError("val has no image whose class the head looks at; enlarge val.")
    logits, label = logits[seen].astype(np.float64), label[seen]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, 1) - scaled[np.arange(len(label)), label]))

    return float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))
