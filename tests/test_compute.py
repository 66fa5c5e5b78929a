"""The device and the precision are those that the machine is fast with."""

import subprocess
import sys

import pytest
import torch

from treehead.artifacts import InputError
from treehead.training import checkpoint, compute


def test_the_device_is_what_there_is(monkeypatch: pytest.MonkeyPatch):
    def chosen(name: str) -> str:
        return compute.device({"device": name, "portable": False}, "embed")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [chosen(name) for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [chosen(name) for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(InputError, match=r"embed\.device is cuda, but torch sees no GPU"):
        chosen("cuda")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_multiplies_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert compute.precision("auto", "cpu") is expected


def test_a_named_precision_is_taken_as_it_is():
    assert compute.precision("float32", "cpu") is torch.float32
    assert compute.precision("bfloat16", "cpu") is torch.bfloat16


def test_a_saved_state_is_known_by_what_auto_came_to(monkeypatch):
    """One that moves to a machine with another arithmetic is not resumed there."""
    settings = {"epochs": 1, "device": "auto", "precision": "auto", "portable": False, "seed": 0}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    keys = []
    for capabilities in ({}, {"avx512_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        keys.append(checkpoint.key(compute.decided(settings), []))
    assert keys[0] != keys[1]
    named = settings | {"device": "cpu", "precision": "bfloat16"}
    assert checkpoint.key(compute.decided(named), []) == keys[1]


def test_this_machine_tells_its_capabilities():
    """What `auto` asks for: a name that torch no longer tells would silently mean float32."""
    assert {"avx512_bf16", "amx_bf16", "bf16"} & torch.cpu.get_capabilities().keys()


FAULTS = """
import resource
import torch
from treehead.training import compute

{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [torch.ones(millions * 2**20) for millions in (10, 20, 15)]
for _ in range(12):
    step()
before = faults()
for _ in range(4):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries are left as they are")
def test_kept_memory_is_not_mapped_page_by_page_again():
    """Four steps of 180 MB are 180,000 pages of 4 kB."""

    def faults(first: str) -> int:
        code = FAULTS.format(first=first)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return int(done.stdout)

    assert faults("compute.keep_freed_memory()") < 10_000 < 100_000 < faults("")
