"""compute.portable: each library is capped, and what can't be portable is refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training import SETTINGS

from treehead.artifacts import InputError
from treehead.config import portable
from treehead.training import compute

CAPPED = portable.environment({"compute": {"portable": True}})
EMULATOR = shutil.which("qemu-x86_64")
X86 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")

# What each library computes, and which instructions it says that it uses.
COMPUTED = """
import sys
import numpy as np, torch
from scipy import linalg
torch.set_num_threads(2)
torch.manual_seed(0)
x, w = torch.randn(64, 48, 9, 9), torch.randn(40, 48, 3, 3, requires_grad=True)
y = torch.nn.functional.conv2d(x, w).tanh()
y.square().sum().backward()
a = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
layers = [torch.nn.Conv2d(3, 32, 3), torch.nn.BatchNorm2d(32), torch.nn.SiLU()]
layers += [torch.nn.MaxPool2d(2), torch.nn.Conv2d(32, 64, 3)]
layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
network = torch.nn.Sequential(*layers, torch.nn.Linear(64, 100))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
for _ in range(2):
    logits = network(torch.randn(32, 3, 16, 16))
    torch.nn.functional.cross_entropy(logits, torch.randint(100, (32,))).backward()
    optimizer.step()
np.savez(
    sys.argv[1],
    training=torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy(),
    onednn=w.grad.numpy(),
    onemkl=(torch.from_numpy(a) @ torch.from_numpy(a)).numpy(),
    aten=torch.from_numpy(a).exp().numpy(),
    numpy=np.exp(a),
    openblas=linalg.blas.sgemm(1, a, a),
)
from numpy._core._multiarray_umath import __cpu_features__ as features
print(torch.backends.cpu.get_cpu_capability(), features["X86_V4"])
"""


def computed(
    folder: Path, variables: dict[str, str], *emulator: str
) -> tuple[dict[str, np.ndarray], str]:
    """What each library computes in a process with these variables, and all that it prints."""
    environment = {key: value for key, value in os.environ.items() if key not in CAPPED}
    path = folder / f"{len(variables)}{len(emulator)}.npz"
    found = {"PYTHONPATH": os.pathsep.join(sys.path), "ONEDNN_VERBOSE": "1"}
    done = subprocess.run(
        [*emulator, os.path.realpath(sys.executable), "-c", COMPUTED, str(path)],
        env=environment | found | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(np.load(path)), done.stdout


def test_without_it_a_job_has_no_variables():
    assert portable.environment({"compute": {"portable": False}}) == {}


@pytest.mark.long
@pytest.mark.skipif(not X86, reason="compute.portable is for x86-64 with AVX2")
def test_each_library_is_capped_and_computes_the_same_within_rounding(tmp_path: Path):
    capped, told = computed(tmp_path, CAPPED)
    free, told_free = computed(tmp_path, {})
    assert re.search(r"cpu,isa:Intel AVX2$", told, re.MULTILINE)
    assert told.splitlines()[-1].split() == ["AVX2", "False"]
    for library, values in free.items():
        np.testing.assert_allclose(capped[library], values, rtol=1e-3, atol=1e-2)
    if "AVX512" in told_free.splitlines()[-1]:
        differing = {name for name in free if not np.array_equal(free[name], capped[name])}
        assert {"onednn", "onemkl", "openblas", "training"} <= differing


@pytest.mark.long
@pytest.mark.skipif(not X86 or not EMULATOR, reason="needs x86-64, and Debian's qemu-user")
def test_an_emulated_processor_of_another_maker_computes_the_same_bytes(tmp_path: Path):
    here, _ = computed(tmp_path, CAPPED)
    there, told = computed(tmp_path, CAPPED, EMULATOR, "-cpu", "EPYC-Rome")
    assert told.splitlines()[-1].split() == ["AVX2", "False"]
    for library, values in here.items():
        np.testing.assert_array_equal(there[library], values, err_msg=library)


def test_auto_is_the_cpu_in_float32(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    automatic = {**SETTINGS, "portable": True, "device": "auto", "precision": "auto"}
    found = compute.decided(automatic)
    assert [found["device"], found["precision"]] == ["cpu", "float32"]


@pytest.mark.parametrize(
    ("changes", "capability", "message"),
    [
        ({"device": "cuda"}, "AVX2", r"finetune\.device is cuda.*for CPUs"),
        ({"precision": "bfloat16"}, "AVX2", r"finetune\.precision is bfloat16"),
        ({}, "DEFAULT", "needs an x86-64 processor with AVX2, but torch uses DEFAULT here"),
    ],
)
def test_what_is_not_portable_is_refused(
    changes: dict[str, str], capability: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with pytest.raises(InputError, match=message):
        compute.decided({**SETTINGS, "portable": True, **changes})
