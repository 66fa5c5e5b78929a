"""What a run starts from: files that are checked and kept, and weights of each source."""

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from treehead.artifacts import InputError
from treehead.backbones import initial
from treehead.data import dataset, sources

DATASET = {"source": "mine", "classes": 2, "image_size": 8}
DATASET |= {"train_per_class": None, "test_per_class": None}
WEIGHTS = {"architecture": "resnet9", "settings": {"width": 0.02}, "size": 32}


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """A file of each split: plain images of two classes."""
    files = {split: str(tmp_path / f"{split}-of-mine.parquet") for split in ("train", "test")}
    for split, count in (("train", 3), ("test", 1)):
        rows = [(png(label), label, 0) for label in (0, 1) for _ in range(count)]
        dataset.write(files[split], rows)
    return files


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    return {split: str(tmp_path / f"kept/{split}.parquet") for split in ("train", "test")}


def hashed(path: str | Path) -> str:
    return sha256(Path(path).read_bytes()).hexdigest()


def test_a_folders_files_are_kept_unchanged_with_their_hashes(given: dict, kept: dict):
    origin = sources.take(DATASET, given, kept)
    assert origin == {"source": "mine"} | {split: hashed(given[split]) for split in given}
    assert {split: hashed(kept[split]) for split in kept} == {
        split: origin[split] for split in kept
    }


def test_a_file_with_a_wrong_label_is_not_kept(given: dict, kept: dict):
    dataset.write(given["test"], [(png(0), 2, 0)])
    with pytest.raises(InputError, match=r"test-of-mine\.parquet, row 0: fine_label is 2"):
        sources.take(DATASET, given, kept)
    assert not Path(kept["test"]).exists()


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
    assert origin == WEIGHTS | {"source": "given"} | expected
