"""A file of whole numbers gives the same on processors whose fast sums overflow."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_classifier import ABOUT
from test_compact_heads import CLASSES, LOOP, fit_one
from torch import Tensor, nn

from treehead.backbones import exporting, quantized, sessions
from treehead.backbones.backbone import Backbone
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.deploy import classifier
from treehead.deploy.model import Model
from treehead.deploy.modules import HeadModule
from treehead.heads import packing

EMULATOR = shutil.which("qemu-x86_64")
DIM = 12

# What onnxruntime gives by itself, as the model card says, and through the library.
EMULATED = """
import sys
import numpy as np, onnxruntime
from treehead.backbones import sessions
from treehead.deploy.model import Model
folder = sys.argv[1]
images = np.load(f"{folder}/images.npy")
backbone = f"{folder}/backbone.onnx"
exact = onnxruntime.SessionOptions()
exact.add_session_config_entry("session.x64quantprecision", "1")
run = lambda session: session.run(None, {"images": images})[0]
np.savez(
    f"{folder}/emulated.npz",
    fast=run(onnxruntime.InferenceSession(backbone)),
    exact=run(onnxruntime.InferenceSession(backbone, exact)),
    features=run(sessions.opened(backbone, 1)),
    probabilities=Model(f"{folder}/classifier.onnx", 1)(images),
)
"""


class Layers(nn.Module):
    """Convolutions, of which one is there twice, and linear layers, some with one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, padding=1)
        self.narrow = nn.Sequential(nn.Conv2d(16, 1, 1), nn.Conv2d(1, 16, 1))
        self.tokens, self.last = nn.Linear(16, 16), nn.Linear(16, DIM)
        for part in self.parameters():
            nn.init.uniform_(part, -0.25, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.first(x).relu()).relu()).relu()
        x = self.tokens((x + self.narrow(x)).flatten(2).transpose(1, 2)).relu()
        return self.last(x.amax(1)).relu()


IMAGES = np.random.default_rng(0).integers(0, 256, (16, 3, 8, 8), np.uint8)


def written(path: Path, bits: int) -> Backbone:
    """A backbone that rounds, and its file."""
    torch.manual_seed(0)
    network, statistics = Layers(), {"mean": [0.5] * 3, "std": [0.25] * 3}
    backbone = Backbone(network, DIM, IMAGES.shape[-1], **statistics)
    made = quantized.prepared(network, backbone.size, None, bits)
    with torch.no_grad():
        made.train()(backbone.preprocess(torch.from_numpy(IMAGES)))
    quantized.set_phase(made, 1, rounds=True)
    backbone.network = quantized.settled(made)
    exporting.write(backbone, path, IMAGES, 1, rounds=True)
    return backbone


def test_what_is_tried_is_a_product_of_whole_numbers():
    model = onnx.load_from_string(sessions.PRODUCT)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert node.op_type == "MatMulInteger"
    types = [one.type.tensor_type.elem_type for one in (*model.graph.input, *model.graph.output)]
    assert types == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_file_can_be_read_for_exact_sums_of_each_kind_of_layer(bits: int, tmp_path: Path):
    written(tmp_path / "backbone.onnx", bits)
    path = str(tmp_path / "backbone.onnx")
    fast, exact = (
        sessions.session(path, 1, exact).run(None, {"images": IMAGES}) for exact in (False, True)
    )
    if not sessions._overflows():
        np.testing.assert_array_equal(exact, fast)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not EMULATOR, reason="needs x86-64, and Debian's qemu-user"
)
@pytest.mark.fault(
    "a processor on which onnxruntime's sums of 8 bits overflow", "the right features and classes"
)
def test_a_processor_whose_fast_sums_overflow_gives_the_same(tmp_path: Path):
    backbone, file = written(tmp_path / "backbone.onnx", 8), tmp_path / "classifier.onnx"
    (features,) = sessions.opened(str(tmp_path / "backbone.onnx"), 1).run(None, {"images": IMAGES})
    train = Examples(Rows(features), np.arange(len(IMAGES)) % CLASSES, CLASSES)
    head = packing.unpack(packing.pack(fit_one("linear", train, {"training": LOOP}), 8))
    whole = classifier.Classifier(backbone, HeadModule("linear", head), ABOUT)
    classifier.export(whole, file, whole=True)
    np.save(tmp_path / "images.npy", IMAGES)
    subprocess.run(
        [EMULATOR, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", EMULATED, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    found, largest = np.load(tmp_path / "emulated.npz"), features.max()
    assert np.abs(found["fast"] - features).max() > 0.1 * largest
    for name in ("exact", "features"):
        np.testing.assert_allclose(found[name], features, atol=1e-5 * largest, err_msg=name)
    np.testing.assert_allclose(found["probabilities"], Model(file, 1)(IMAGES), atol=1e-5)
