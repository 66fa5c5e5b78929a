"""The whole classifier as one ONNX file: pictures of any size in, class probabilities out.

Resizing, normalisation, backbone, head and temperature are in the graph. What else a user of it
needs is in its metadata: names, the picture size, and the hashes of what it was made from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor, nn

from treehead import artifacts
from treehead.artifacts import InputError, replacing
from treehead.backbones import embed
from treehead.backbones.backbone import Backbone
from treehead.config import outputs
from treehead.data.embeddings import Embeddings
from treehead.data.taxonomy import Taxonomy
from treehead.deploy import resizing
from treehead.deploy.modules import HeadModule
from treehead.deploy.packed import Packed
from treehead.heads import fitting, packing

FORMAT = 1
_KEY = "treehead"


@dataclass(frozen=True)
class About:
    """What a classifier is; kept in the metadata of its file.

    Args:
        classes: names of the classes, in the order of the probabilities.
        parents: names of their parents.
        parent_of: the parent of each class.
        image_size: sides in pixels to which pictures are resized.
        resize: how: "crop", "pad" or "stretch".
        head: `name`, `module`, `precision` and `seed` of the head.
        temperature: by which the logits are divided.
        hashes: SHA-256 of the files that it was made from, by name.
    """

    classes: list[str]
    parents: list[str]
    parent_of: list[int]
    image_size: int
    resize: str
    head: dict[str, Any]
    temperature: float
    hashes: dict[str, str]
    format: int = FORMAT


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


def export(classifier: Classifier, path: str | Path) -> None:
    """Write a classifier as ONNX, which onnx's checker has passed."""
    classifier.eval()
    side = torch.export.Dim("height", min=1), torch.export.Dim("width", min=1)
    program = torch.onnx.export(
        classifier,
        (torch.zeros(2, 3, 48, 40, dtype=torch.uint8),),
        dynamo=True,
        verbose=False,
        input_names=["pictures"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("n"), 2: side[0], 3: side[1]},),
    )
    model = embed.without_traces(program.model_proto)
    onnx.helper.set_model_props(model, {_KEY: json.dumps(asdict(classifier.about))})
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


class Model:
    """A classifier file, ready to run on the CPU.

    Args:
        path: the file.
        threads: of onnxruntime.

    Raises:
        InputError: the file is no classifier of ours, is damaged, or has a newer format.
    """

    def __init__(self, path: str | Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist; give a results folder or classifier.onnx.")
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own, which it does not export
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path} is damaged or not an ONNX file ({reason}); make it again."
            ) from error
        self.about = _about(path, self.session.get_modelmeta().custom_metadata_map)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures uint8 (n, 3, h, w) -> probabilities (n, classes)."""
        return self.session.run(["probabilities"], {"pictures": pictures})[0]


def opened(model: str | Path, threads: int) -> Model:
    """The classifier of a results folder, or that of a file."""
    if not Path(model).is_dir():
        return Model(model, threads)
    file = Path(model, "deploy/classifier.onnx")
    if not file.is_file():
        making = outputs.making(model, "deploy/classifier.onnx")
        raise InputError(f"{model} has no deploy/classifier.onnx; make it with {making}.")
    return Model(file, threads)


def _about(path: str | Path, metadata: dict[str, str]) -> About:
    if _KEY not in metadata:
        raise InputError(f"{path} is no classifier of treehead; give a results folder or its file.")
    given = json.loads(metadata[_KEY])
    if given.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {given.get('format')}, and this treehead reads {FORMAT}; "
            "install the treehead that wrote it, or make it again."
        )
    return About(**given)


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
