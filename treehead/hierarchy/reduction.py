"""A child head as two bare tensors: `.pt` files that torch loads with `weights_only=True`."""

import io
import pickle
from pathlib import Path

import numpy as np
import torch

from treehead.artifacts import InputError, write_bytes


def save(path: str | Path, array: np.ndarray) -> None:
    """Write one contiguous float32 tensor; the same values give the same bytes."""
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(np.array(array, dtype=np.float32, order="C")), buffer)
    write_bytes(path, buffer.getvalue())


def load(path: str | Path) -> np.ndarray:
    """Read one float32 tensor."""
    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is no whole tensor file; delete it and run again.") from error
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32:
        raise InputError(f"{path} holds no float32 tensor; delete it and run again.")
    return tensor.numpy()
