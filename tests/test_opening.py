"""Weights files as people have them: every tensor is read, and nothing in the file is run."""

import argparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from treehead.backbones.checkpoints import opening


@pytest.mark.parametrize("zipped", [True, False])
def test_all_tensors_are_found_by_the_keys_that_lead_to_them(tmp_path, zipped: bool):
    state = nn.Linear(2, 3).state_dict()
    content = {"epoch": 1, "args": argparse.Namespace(lr=0.1), "state_dict": {"module": state}}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    found = opening.tensors(tmp_path / "w.pt")
    assert list(found) == ["state_dict.module.weight", "state_dict.module.bias"]
    assert torch.equal(found["state_dict.module.bias"], state["bias"])


def test_safetensors_are_read_whatever_the_files_name(tmp_path):
    save_file(nn.Linear(2, 3).state_dict(), tmp_path / "w.bin")
    assert sorted(opening.tensors(tmp_path / "w.bin")) == ["bias", "weight"]
