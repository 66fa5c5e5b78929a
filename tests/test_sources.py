"""The weights that a run starts from, of each source: drawn by a seed, or a file."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from treehead.backbones import initial

WEIGHTS = {"architecture": "resnet9", "settings": {"width": 0.02}, "size": 32}


def hashed(path: str | Path) -> str:
    return sha256(Path(path).read_bytes()).hexdigest()


def drawn(path: Path, seed: int) -> dict:
    return initial.write(path, WEIGHTS | {"source": "scratch", "seed": seed}, None)


def test_weights_from_scratch_are_those_of_the_seed(tmp_path: Path):
    origins = [
        drawn(tmp_path / f"{place}.safetensors", seed) for place, seed in enumerate((0, 0, 1))
    ]
    assert origins[0] == origins[1]
    assert origins[0]["sha256"] == hashed(tmp_path / "0.safetensors") != origins[2]["sha256"]
    torch.manual_seed(0)
    first = torch.nn.Conv2d(3, 1, 3, bias=False).weight.detach().numpy()
    np.testing.assert_array_equal(
        load_file(tmp_path / "0.safetensors")["backbone.0.0.weight"], first
    )


def test_weights_of_a_file_are_kept_with_both_hashes(tmp_path: Path):
    drawn(tmp_path / "drawn.safetensors", 3)
    tensors = load_file(tmp_path / "drawn.safetensors")
    bare = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    given = tmp_path / "given.safetensors"
    save_file(bare, given)
    origin = initial.write(tmp_path / "w.safetensors", WEIGHTS | {"source": "given"}, str(given))
    assert load_file(tmp_path / "w.safetensors").keys() == tensors.keys()
    assert hashed(tmp_path / "w.safetensors") == hashed(tmp_path / "drawn.safetensors")
    expected = {"source_sha256": hashed(given), "sha256": hashed(tmp_path / "w.safetensors")}
    expected["input"] = {"size": 32}
    assert origin == WEIGHTS | {"source": "given"} | expected
