"""Features of images from the frozen backbone, through onnxruntime or torch."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from treehead.backbones import sessions, weights
from treehead.backbones.backbone import build
from treehead.console import progress
from treehead.data.dataset import Pixels

Run = Callable[[np.ndarray], np.ndarray]

VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda images: images,
    "flip": lambda images: np.ascontiguousarray(images[..., ::-1]),
}


def state_hash(network: nn.Module) -> str:
    """SHA-256 over all parameters and buffers of a network, with their names."""
    digest = hashlib.sha256()
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Raise a RuntimeError if a parameter or a buffer changes in the body."""
    before = state_hash(network)
    yield
    if state_hash(network) != before:
        raise RuntimeError("the backbone changed although it is frozen")


def with_onnx(path: str | Path, threads: int) -> Run:
    """A function from images (n, 3, h, w) to features (n, dim), on the CPU."""
    session = sessions.opened(Path(path).read_bytes(), threads)
    return lambda images: session.run(["features"], {"images": images})[0]


def with_torch(backbone: nn.Module, device: str) -> Run:
    """The same with torch, in full float32 precision."""
    backbone = backbone.to(device).eval()

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        with torch.backends.cudnn.flags(allow_tf32=False):
            return backbone(torch.from_numpy(images).to(device)).cpu().numpy()

    return run


@contextmanager
def opened(
    onnx: str | Path, tensors: str | Path, settings: dict[str, Any], device: str
) -> Iterator[Run]:
    """Give the frozen backbone as a function: as ONNX on a CPU, through torch on a GPU.

    Through torch on a CPU too if it shall be portable: onnxruntime can't be told which instructions
    to use.

    Args:
        onnx: what `export` wrote.
        tensors: the weights, a canonical file.
        settings: of the `embed` stage: `network`, `threads` and `portable`.
        device: "cpu" or "cuda".
    """
    if device == "cpu" and not settings["portable"]:
        yield with_onnx(onnx, settings["threads"])
        return
    torch.set_num_threads(settings["threads"])
    backbone = build(**settings["network"])
    weights.into(backbone.network, tensors)
    with frozen(backbone):
        yield with_torch(backbone, device)


def embed(
    images: np.ndarray | Pixels, views: list[str], run: Run, batch_size: int, what: str
) -> np.ndarray:
    """Features (views, n, dim) of images uint8 (n, 3, h, w), one pass for each view."""
    batches = [(view, start) for view in views for start in range(0, len(images), batch_size)]
    total = len(views) * len(images)
    features = [
        run(VIEWS[view](images[start : start + batch_size]))
        for view, start in progress(batches, what, total, "images", batch_size)
    ]
    return np.concatenate(features).reshape(len(views), len(images), -1)
