"""Weights files as people have them: every tensor is read, and nothing in the file is run."""

import argparse
import collections
import ctypes
import datetime
import decimal
import enum
import functools
import gc
import gzip
import importlib
import json
import os
import pathlib
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import types
import typing
import warnings
import webbrowser
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.backbones.checkpoints import opening, shards


class Net(nn.Module):
    """A network with a counter, a tied weight and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.tied = nn.Conv2d(3, 4, 3)
        self.tied.weight = self.conv.weight
        self.register_buffer("grid", torch.ones(2), persistent=False)
        self.stride = torch.tensor([8.0])


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    network = Net()
    optimizer = torch.optim.Adam(network.parameters())
    sum(value.sum() for value in network.parameters()).backward()
    optimizer.step()
    return network, optimizer


def zipped(value: object, path: Path) -> None:
    torch.save(value, path)


def legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def pickled(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


def equal(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    """Whether names, their order and tensors are the same, to the bit."""
    return list(some) == list(others) and all(
        torch.equal(some[name], others[name]) and some[name].dtype == others[name].dtype
        for name in some
    )


@contextmanager
def packages(**classes: type):
    """Classes of packages that are not installed: importable while a file is written, then gone.

    `lightning_fabric__data__AttributeDict=dict` is a subclass of dict in lightning_fabric.data.
    """
    made, modules = [], []
    for path, base in classes.items():
        *module, name = path.split("__")
        module = ".".join(module)
        kind = type(name, (base,), {"__module__": module})
        parts = module.split(".")
        for package in (".".join(parts[: n + 1]) for n in range(len(parts))):
            if package not in sys.modules:
                modules.append(package)
                sys.modules[package] = types.ModuleType(package)
        setattr(sys.modules[module], name, kind)
        made.append(kind)
    try:
        yield made
    finally:
        for module in modules:
            del sys.modules[module]


def lightning(network, optimizer, path):
    with packages(lightning_fabric__data__AttributeDict=dict, lightning__Checkpoint=object) as (
        attributes,
        callback,
    ):
        zipped(
            {
                "epoch": 3,
                "pytorch-lightning_version": torch.__version__,
                "state_dict": network.state_dict(),
                "loops": {"fit_loop": {"state_dict": {}, "progress": {"total": 3}}},
                "callbacks": {callback: {"best": torch.tensor(0.9)}},
                "hparams_name": "hparams",
                "hyper_parameters": attributes(lr=0.1, data=pathlib.Path("data")),
            },
            path,
        )
    return "state_dict.", {"callbacks.0.best"}


def timm_train(network, optimizer, path):
    names = argparse.Namespace(
        model="phinet", opt_betas=None, mean=np.float64(0.5), seed=np.int64(1)
    )
    zipped(
        {
            "epoch": 3,
            "arch": "phinet",
            "state_dict": network.state_dict(),
            "version": 2,
            "args": names,
            "state_dict_ema": {"conv.bias": torch.ones(4)},
            "metric": np.float32(71.5),
        },
        path,
    )
    return "state_dict.", {"state_dict_ema.conv.bias"}


def mmengine(network, optimizer, path):
    with packages(mmengine__logging__HistoryBuffer=object, mmengine__config__ConfigDict=dict) as (
        history,
        config,
    ):
        buffer = history()
        buffer._log_history = np.array([1.0, 2.0])
        buffer._statistics_methods = collections.OrderedDict(mean=1)
        zipped(
            {
                "meta": {"epoch": 3, "cfg": "model = dict()", "dataset_meta": config(a=(1, 2))},
                "state_dict": network.state_dict(),
                "message_hub": {"log_scalars": collections.OrderedDict(loss=buffer)},
            },
            path,
        )
    return "state_dict.", set()


def fastai(network, optimizer, path):
    with packages(fastcore__foundation__L=list) as (items,):
        steps = items([{"mom": 0.9, "step": torch.tensor(2)}])
        legacy({"model": network.state_dict(), "opt": {"state": steps, "hypers": items()}}, path)
    return "model.", {"opt.state.0.step"}


def ultralytics(network, optimizer, path):
    with packages(ultralytics__nn__tasks__DetectionModel=Net) as (model,):
        whole = model()
        whole.load_state_dict(network.state_dict())
        whole.args = argparse.Namespace(task="classify")
        arguments = {"data": pathlib.PosixPath("a.yaml")}
        zipped({"epoch": -1, "model": whole, "ema": None, "train_args": arguments}, path)
    return "model.", set()


def detectron2(network, optimizer, path):
    with packages(yacs__config__CfgNode=dict) as (node,):
        settings = node(MODEL=node(DEVICE="cpu"))
        settings.__dict__["__immutable__"] = True
        zipped({"model": network.state_dict(), "iteration": 9, "cfg": settings}, path)
    return "model.", set()


def hydra(network, optimizer, path):
    """A settings tree that holds its parents and generic types, as omegaconf's nodes do."""
    with packages(omegaconf__DictConfig=object, omegaconf__base__Metadata=object) as (node, meta):
        root, leaf = node(), node()
        about = meta()
        about.ref_type, about.element = typing.Any, typing.Optional[int]  # noqa: UP045
        leaf.__dict__ |= {"_parent": root, "_content": 3, "_metadata": about}
        root.__dict__ |= {"_parent": None, "_content": {"lr": leaf}, "_metadata": about}
        zipped({"cfg": root, "model": {"module": network.state_dict()}}, path)
    return "model.module.", set()


def micromind(network, optimizer, path):
    """The optimiser and its schedule as live objects; an optimiser's state is keyed by tensors."""
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    zipped({"optimizer": optimizer, "lr_scheduler": schedule, "net": network.state_dict()}, path)
    extra = set(opening.tensors(path)) - {f"net.{name}" for name in network.state_dict()}
    assert {name.split(".")[0] for name in extra} <= {"optimizer", "lr_scheduler"}
    assert "optimizer.state.0.exp_avg" in extra
    return "net.", extra


def ignite(network, optimizer, path):
    """What a script of one's own adds: enumerations, dates, decimals, partials, defaultdicts."""
    with packages(project__Config=object, project__train=object) as (config, _):
        phase = enum.Enum("Phase", "TRAIN TEST")
        phase.__module__ = "project"
        sys.modules["project"].Phase = phase
        one = config()
        one.phase, one.when = phase.TEST, datetime.datetime(2024, 1, 1)
        counts = collections.defaultdict(functools.partial(int, base=2), a=1)
        zipped(
            {
                "network": network.state_dict(),
                "config": one,
                phase.TRAIN: {pathlib.Path("a"): decimal.Decimal("0.1")},
                "counts": counts,
                "losses": collections.deque([1.0, 2.0], maxlen=3),
                "seen": {1, 2},
                "bytes": b"abc",
                "array": np.eye(2),
                "random": np.random.default_rng(0),
            },
            path,
        )
    return "network.", set()


def transformers(network, optimizer, path):
    zipped(network.state_dict(), path)
    return "", set()


def whole(network, optimizer, path):
    zipped(network, path)
    return "", set()


def parallel(network, optimizer, path):
    zipped({"net": nn.DataParallel(network)}, path)
    return "net.module.", set()


@pytest.mark.parametrize(
    "save",
    [
        lightning,
        timm_train,
        mmengine,
        fastai,
        ultralytics,
        detectron2,
        hydra,
        micromind,
        ignite,
        transformers,
        whole,
        parallel,
    ],
)
def test_a_trainers_file_gives_its_state_dict_and_imports_nothing(tmp_path, save):
    network, optimizer = trained()
    prefix, extra = save(network, optimizer, tmp_path / "w.pt")
    before = set(sys.modules)
    found = opening.tensors(tmp_path / "w.pt")
    assert {name.split(".")[0] for name in set(sys.modules) - before} <= {"torch", "encodings"}
    state = {name: found.pop(prefix + name) for name in network.state_dict()}
    assert equal(state, network.state_dict())
    assert set(found) == extra
    assert not any(tensor.requires_grad for tensor in state.values())


@pytest.mark.parametrize("save", [zipped, legacy])
def test_an_optimiser_is_not_built(tmp_path, monkeypatch, save):
    _, optimizer = trained()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    save({"optimizer": optimizer, "schedule": schedule, "w": torch.ones(1)}, tmp_path / "w.pt")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("code of the checkpoint's objects was run")

    gc.collect()
    freed = []
    for kind in (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler):
        monkeypatch.setattr(kind, "__del__", lambda _: freed.append(1), raising=False)
    for kind in (torch.optim.Adam, torch.optim.lr_scheduler.StepLR):
        for method in ("__init__", "__setstate__", "load_state_dict"):
            monkeypatch.setattr(kind, method, refuse, raising=False)
    assert "w" in opening.tensors(tmp_path / "w.pt")
    gc.collect()
    assert not freed, "an optimiser or a schedule was built, and freed again"
    del optimizer, schedule
    gc.collect()
    assert len(freed) == 2, "and this would have shown it"


def test_the_stand_ins_are_not_left_behind(tmp_path):
    zipped({"args": argparse.Namespace(), "w": torch.ones(1)}, tmp_path / "w.pt")
    zipped({"args": Call(eval, "1"), "w": torch.ones(1)}, tmp_path / "hostile.pt")
    before = set(torch.serialization.get_safe_globals())
    opening.tensors(tmp_path / "w.pt")
    with pytest.raises(InputError):
        opening.tensors(tmp_path / "hostile.pt")
    assert set(torch.serialization.get_safe_globals()) == before


class Call:
    """Pickled, this is a call."""

    def __init__(self, function, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call

    def __hash__(self) -> int:
        return 0


def calls(marker: Path) -> dict[str, Call]:
    """Ways to make the file `marker`, or to run anything, by what a refusal names."""
    python = f"open({str(marker)!r}, 'w').close()"
    return {
        "posix.system": Call(os.system, f"touch '{marker}'"),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "subprocess.run": Call(subprocess.run, ["touch", str(marker)]),
        "builtins.eval": Call(eval, python),
        "builtins.exec": Call(exec, python),
        "io.open": Call(open, str(marker), "w"),
        "builtins.__import__": Call(__import__, "antigravity"),
        "pathlib.Path.touch": Call(Path.touch, marker),
        "builtins.getattr.touch": Call(Call(getattr, Call(getattr, marker, "x"), "touch")),
        "importlib.import_module": Call(importlib.import_module, "antigravity"),
        "shutil.copy": Call(shutil.copy, __file__, str(marker)),
        "ctypes.CDLL": Call(ctypes.CDLL, None),
        "webbrowser.open": Call(webbrowser.open, "file:///"),
        "functools.reduce": Call(functools.reduce, exec, [python]),
        "builtins.map": Call(map, exec, [python]),
        "torch.serialization.load": Call(torch.load, str(marker)),
        "torch.hub.load": Call(torch.hub.load, str(marker)),
        "torch.storage._load_from_bytes": Call(torch.storage._load_from_bytes, b""),
        "numpy.load": Call(np.load, str(marker)),
        "tests.test_opening.zipped": Call(zipped, 1, str(marker)),
    }


CALLS = [name for name in calls(Path("marker")) if name != "builtins.getattr.touch"]


@pytest.mark.parametrize("save", [zipped, legacy])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.fault(
    "weights that call one of 20 functions", "one sentence names the function; it does not run"
)
def test_a_file_that_would_call_a_function_is_refused_with_its_name(tmp_path, save, name: str):
    marker = tmp_path / "marker"
    save({"state_dict": {"weight": torch.ones(2)}, "x": calls(marker)[name]}, tmp_path / "w.pt")
    last = name.removeprefix("tests.")
    with pytest.raises(InputError, match=rf"w\.pt is refused because it .*{last}; save its state"):
        opening.tensors(tmp_path / "w.pt")
    assert not marker.exists()


def tensor_of(value: object) -> Tensor:
    tensor = torch.ones(2)
    tensor.extra = value
    return tensor


def module_of(value: object) -> nn.Module:
    module = nn.Linear(1, 1)
    module._modules["inner"] = value
    return module


PLACES = {
    "alone": lambda call: call,
    "beside": lambda call: {"state_dict": {"weight": torch.ones(2)}, "extra": call},
    "a namespace": lambda call: {"args": argparse.Namespace(func=call), "w": torch.ones(2)},
    "an EMA copy": lambda call: {"model": {"w": torch.ones(2)}, "ema": [{"w": call}]},
    "a key": lambda call: {"w": torch.ones(2), call: 1},
    "a tensor's attribute": lambda call: {"w": tensor_of(call)},
    "a module": lambda call: {"model": module_of(call)},
    "a partial's state": lambda call: {"w": torch.ones(2), "f": functools.partial(print, call)},
    "a deque": lambda call: {"w": torch.ones(2), "d": collections.deque([call])},
}


@pytest.mark.parametrize("save", [zipped, legacy, pickled])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.fault("a call in each place of a checkpoint", "one sentence; it does not run")
def test_a_call_is_refused_wherever_it_is(tmp_path, save, place: str):
    path, marker = tmp_path / "w.pt", tmp_path / "marker"
    other = {zipped: "never", legacy: "holds a whole network", pickled: "is a plain pickle"}
    for name in ("builtins.exec", "posix.system"):
        save(PLACES[place](calls(marker)[name]), path)
        with pytest.raises(InputError, match=rf"w\.pt (is refused .*{name}|{other[save]})"):
            opening.tensors(path)
        assert not marker.exists()
        if place == "beside":
            if save is pickled:
                pickle.loads(path.read_bytes())
            else:
                torch.load(path, weights_only=False)
            assert marker.exists(), "and this would have shown it"
            marker.unlink()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
@pytest.mark.fault("a call in each protocol of pickles", "one sentence; it does not run")
def test_no_protocol_of_pickles_runs_a_call(tmp_path, protocol: int):
    path, marker = tmp_path / "w.pt", tmp_path / "marker"
    call = calls(marker)["builtins.exec"]
    path.write_bytes(pickle.dumps(call, protocol))
    with pytest.raises(InputError, match=r"w\.pt is (a plain pickle|text|no weights file)"):
        opening.tensors(path)
    for zip_format in (True, False):
        torch.save(call, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zip_format)
        with pytest.raises(InputError, match=r"w\.pt is "):
            opening.tensors(path)
    assert not marker.exists()


def test_a_class_that_the_process_allows_torch_is_a_stand_in_too(tmp_path, monkeypatch):
    zipped({"net": Net()}, tmp_path / "w.pt")
    monkeypatch.setattr(Net, "__setstate__", lambda *_: pytest.fail("it was built"), raising=False)
    with torch.serialization.safe_globals([Net]):
        assert "net.conv.weight" in opening.tensors(tmp_path / "w.pt")
        assert Net in torch.serialization.get_safe_globals()


def test_a_function_may_be_named(tmp_path):
    options = argparse.Namespace(func=zipped, load=torch.load, run=subprocess.run, step=print)
    zipped({"w": torch.ones(2), "args": options}, tmp_path / "w.pt")
    assert list(opening.tensors(tmp_path / "w.pt")) == ["w"]


def test_a_nested_class_and_a_class_in_small_letters_are_read(tmp_path):
    with packages(project__net=Net, project__Outer=object) as (net, outer):
        inner = type("Inner", (), {"__module__": "project", "__qualname__": "Outer.Inner"})
        outer.Inner = inner
        nested = inner()
        nested.w = torch.ones(2)
        zipped({"net": net(), "nested": nested}, tmp_path / "w.pt")
    found = opening.tensors(tmp_path / "w.pt")
    assert {"net.conv.weight", "nested.w"} <= set(found)


@pytest.mark.parametrize("save", [zipped, legacy])
def test_kinds_of_tensors(tmp_path, save):
    kinds = {
        "half": torch.ones(2, dtype=torch.float16),
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "double": torch.ones(2, dtype=torch.float64),
        "count": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "view": torch.arange(6.0).reshape(2, 3).T,
        "parameter": nn.Parameter(torch.ones(2)),
    }
    if save is zipped:
        kinds["float8"] = torch.ones(2).to(torch.float8_e4m3fn)
    save(kinds, tmp_path / "w.pt")
    found = opening.tensors(tmp_path / "w.pt")
    assert equal(found, {name: value.detach() for name, value in kinds.items()})
    assert type(found["parameter"]) is Tensor


@pytest.mark.filterwarnings("ignore")
def test_quantised_and_sparse_tensors_become_dense(tmp_path):
    dense = torch.tensor([[0.0, 0.5], [1.0, 0.0]])
    kinds = {
        "int8": torch.quantize_per_tensor(dense, 0.5, 0, torch.qint8),
        "coo": dense.to_sparse(),
        "csr": dense.to_sparse_csr(),
    }
    zipped(kinds, tmp_path / "w.pt")
    assert equal(opening.tensors(tmp_path / "w.pt"), dict.fromkeys(kinds, dense))


class Own(Tensor):
    """A tensor of one's own class."""


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"w": torch.empty(2, device="meta")}, "holds the tensor w without its values"),
        ({"w": torch.ones(2).as_subclass(Own)}, "holds tensors of a class of its own"),
        ({"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1)}, r"has two tensors a\.b"),
        (torch.ones(2), r"holds no named tensors \(keys: no mapping\); save a state dict"),
        ({"epoch": 3, "lr": 0.1}, r"holds no named tensors \(keys: epoch, lr\)"),
        ({}, "holds no named tensors"),
    ],
)
def test_tensors_that_are_no_weights_are_named(tmp_path, value, sentence: str):
    zipped(value, tmp_path / "w.pt")
    with pytest.raises(InputError, match=rf"w\.pt {sentence}"):
        opening.tensors(tmp_path / "w.pt")


def test_tensors_of_several_processes_are_named(tmp_path):
    with packages(torch__distributed__tensor__own__DTensor=object) as (kind,):
        zipped({"w": kind()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"parts of tensors .*DTensor\); gather them"):
        opening.tensors(tmp_path / "w.pt")


@pytest.mark.fault("weights that hold themselves", "they are read to an end")
def test_what_holds_itself_ends(tmp_path):
    trainer = argparse.Namespace(w=torch.ones(1))
    trainer.model = {"trainer": trainer, "v": torch.ones(1)}
    zipped(trainer, tmp_path / "w.pt")
    assert list(opening.tensors(tmp_path / "w.pt")) == ["w", "model.v"]


@pytest.mark.fault("weights of 2^40 parts in a small file", "one sentence")
def test_what_holds_its_parts_twice_at_each_of_forty_levels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_MANY", 1000)
    value = [torch.ones(1)]
    for _ in range(40):
        value = [value, value]
    zipped(value, tmp_path / "w.pt")
    with pytest.raises(InputError, match="nests too deep or without end"):
        opening.tensors(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zip_format", [True, False])
def test_another_pickle_protocol_is_told(tmp_path, zip_format: bool):
    for protocol in (4, 5):
        torch.save(
            {"w": torch.ones(1)},
            tmp_path / "w.pt",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=zip_format,
        )
        with pytest.raises(InputError, match=rf"protocol {protocol}.*without pickle_protocol"):
            opening.tensors(tmp_path / "w.pt")


def test_a_whole_network_of_the_older_format_is_told(tmp_path):
    legacy({"model": nn.Linear(1, 1)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"whole network .* save its state_dict\(\)"):
        opening.tensors(tmp_path / "w.pt")


# Damage.


@pytest.mark.parametrize("save", [zipped, legacy, save_file])
@pytest.mark.fault("weights are cut at any place", "one sentence")
def test_a_truncated_file_is_an_input_error_wherever_it_ends(tmp_path, save):
    whole, path = tmp_path / "whole", tmp_path / "w.pt"
    save({"a.weight": torch.ones(3, 4), "b": torch.zeros(2)}, whole)
    data, dice = whole.read_bytes(), random.Random(0)
    for length in [0, 1, 8, *(dice.randrange(len(data)) for _ in range(60))]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"w\.pt (is|holds)"):
            opening.tensors(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [zipped, legacy, save_file])
@pytest.mark.fault(
    "bytes of weights change",
    "one sentence, or other weights; where there is a checksum, never other ones",
)
def test_flipped_bytes_end_in_an_input_error_or_are_seen_in_the_tensors(tmp_path, save):
    whole, path = tmp_path / "whole", tmp_path / "w.pt"
    state = {"a.weight": torch.ones(3, 4), "b": torch.zeros(2)}
    save(state, whole)
    dice, errors = random.Random(0), 0
    for _ in range(200):
        data = bytearray(whole.read_bytes())
        for _ in range(3):
            data[dice.randrange(len(data))] ^= dice.randrange(1, 256)
        path.write_bytes(data)
        try:
            found = opening.tensors(path)
            assert save is not zipped or equal(found, state), "checksums are checked"
        except InputError:
            errors += 1
    assert errors > 50


@pytest.mark.fault("a bit of a weight in a `.pt` flips", "one sentence")
def test_a_flipped_bit_of_a_weight_is_seen(tmp_path):
    """torch.load itself takes it."""
    path = tmp_path / "w.pt"
    zipped({"w": torch.ones(1000)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(9).numpy().tobytes()) + 7] ^= 1
    path.write_bytes(data)
    assert not torch.load(path)["w"].eq(1).all()
    with pytest.raises(InputError, match=r"not a complete weights file.*Bad CRC"):
        opening.tensors(path)


def test_checksums_may_be_left_out_and_members_compressed(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        zipped({"w": torch.arange(1000.0)}, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert equal(opening.tensors(tmp_path / "w.pt"), {"w": torch.arange(1000.0)})
    zipped({"w": torch.arange(1000.0)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as old,
        zipfile.ZipFile(tmp_path / "again.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert equal(opening.tensors(tmp_path / "again.pt"), {"w": torch.arange(1000.0)})


def test_the_file_is_not_written_through_its_tensors(tmp_path):
    zipped({"w": torch.ones(1000)}, tmp_path / "w.pt")
    save_file({"w": torch.ones(1000)}, tmp_path / "w.safetensors")
    for path in sorted(tmp_path.iterdir()):
        before = path.read_bytes()
        opening.tensors(path)["w"].zero_()
        assert path.read_bytes() == before


@pytest.mark.parametrize("save", [zipped, legacy, save_file])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin", "w.pth.tar", "w"])
def test_the_content_tells_the_format_and_not_the_name(tmp_path, save, name: str):
    save({"w": torch.ones(2)}, tmp_path / name)
    assert equal(opening.tensors(tmp_path / name), {"w": torch.ones(2)})


# Shards.


def sharded(folder: Path, save, weight_map: dict) -> Path:
    for shard in ("a", "b"):
        save({f"{shard}.weight": torch.ones(2), f"{shard}.bias": torch.zeros(1)}, folder / shard)
    path = folder / "model.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": weight_map}))
    return path


@pytest.mark.parametrize("save", [zipped, save_file])
def test_shards_are_joined_and_listed(tmp_path, save):
    path = sharded(tmp_path, save, {"b.weight": "b", "a.weight": "a", "b.bias": "b"})
    assert list(opening.tensors(path)) == ["b.weight", "a.weight", "b.bias"]
    assert shards.files(path) == [str(path), str(tmp_path / "b"), str(tmp_path / "a")]
    assert shards.files(tmp_path / "a") == [str(tmp_path / "a")]
    assert shards.files(tmp_path / "absent.index.json") == [str(tmp_path / "absent.index.json")]


@pytest.mark.parametrize(
    ("weight_map", "sentence"),
    [
        ({"a.weight": "a", "c.weight": "c"}, r"names .*/c, which does not exist; download it too"),
        ({"a.weight": "a", "c.weight": "b"}, r"/b lacks the tensor c\.weight"),
        ({"a.weight": "../a"}, r'tensor a\.weight is in "\.\./a", outside'),
        ({"a.weight": "/etc/passwd"}, "outside of the index's folder"),
        ({"a.weight": 3}, "weight_map must give each tensor the name of its file"),
        (["a"], "weight_map must give"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_told(tmp_path, weight_map, sentence: str):
    path = sharded(tmp_path, zipped, weight_map)
    with pytest.raises(InputError, match=rf"model\.index\.json.*{sentence}"):
        opening.tensors(path)


def test_the_files_of_an_index_are_listed_without_torch():
    code = "import sys; from treehead.backbones.checkpoints import shards; print(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"treehead.backbones.checkpoints.shards" in listed.stdout
    assert b"torch" not in listed.stdout.split()


# Files that are no weights.


def empty(path: Path) -> None:
    path.touch()


def onnx_model(path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y])), path)


def torch_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path)


def exported_program(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(1, 1), (torch.ones(1, 1),)), path)


def zip_of(*names: str):
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "content")

    return write


def tar_of(*names: str):
    def write(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            for name in names:
                archive.add(__file__, name)

    return write


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(b"content"))


def npz(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, weight=np.ones(2))


def npy(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.ones(2))


def distributed(path: Path) -> None:
    path.mkdir()
    (path / "__0_0.distcp").touch()


def folder(path: Path) -> None:
    path.mkdir()
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        (path / name).touch()


def cut_safetensors(path: Path) -> None:
    save_file({"w": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-50])


def content(data: bytes):
    return lambda path: path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (
            content(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n"),
            "is a Git LFS pointer, not the file itself; run git lfs pull",
        ),
        (content(b"<!DOCTYPE html>\n<html><title>Sign in</title>"), "is an HTML page"),
        (content(b'{"architectures": ["ResNet"]}'), "is JSON text without a weight_map"),
        (content(b"Invalid username or password."), 'is text that begins "Invalid username'),
        (empty, "is empty, as after a download that broke off"),
        (content(b"\0" * 5000), "is a file of zeros"),
        (zip_of("a/b.pth", "readme.txt"), r"is a zip archive of a/b\.pth, readme\.txt; unpack"),
        (zip_of("config.json", "model.weights.h5"), "is a Keras model"),
        (lambda path: path.write_bytes(b"PK\3\4" + b"a" * 99), "is not a complete weights file"),
        (gzipped, "is compressed with gzip; unpack it"),
        (tar_of("model.pth"), r"is a tar archive of model\.pth; unpack it"),
        (tar_of("storages", "tensors", "pickle"), "is in the tar format of torch before"),
        (onnx_model, "is an ONNX model; give the checkpoint that it was exported from"),
        (torch_script, r"is a TorchScript archive.*torch\.jit\.load"),
        (exported_program, r"is an exported program .*torch\.export\.load"),
        (content(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), "is an HDF5 file"),
        (content(b"\x1c\0\0\0TFL3" + b"\0" * 99), "is a TFLite model"),
        (content(b"a" * 99 + bytes.fromhex("57fb808b247547db")), "is part of a TensorFlow check"),
        (content(b"\x08\x01\x12\x99\x05"), "is a TensorFlow SavedModel"),
        (content(b"GGUF\x03\0\0\0"), "is a GGUF file"),
        (content(b'<?xml version="1.0"?>\n<net name="a" version="11">'), "is an OpenVINO model"),
        (npz, r"is an archive of NumPy arrays \(weight\.npy\); save them with safetensors"),
        (npy, "is an array of NumPy"),
        (content(pickle.dumps({"w": [1]}, 2)), "is a plain pickle"),
        (content(pickle.dumps({"w": [1]}, 4)), "is a plain pickle"),
        (cut_safetensors, "is not a complete safetensors file"),
        (distributed, r"is a distributed checkpoint; .* dcp_to_torch"),
        (folder, r"is a folder; give one of its files: model\.safetensors, pytorch_model\.bin"),
        (content(b"\xfe\xca\xaa\x00\x11"), r"is no weights file \(it begins with the bytes fe ca"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.fault("a file that is no weights", "one sentence says what it is")
def test_a_file_that_is_no_weights_is_told_for_what_it_is(tmp_path, write, sentence, name: str):
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} {sentence}"):
        opening.tensors(tmp_path / name)


def test_the_ways_out_of_a_torchscript_archive_and_an_exported_program_lead_out(tmp_path):
    """The sentence's own command, run as it stands."""
    for write in (torch_script, exported_program):
        write(tmp_path / "w.pt2")
        with pytest.raises(InputError) as told:
            opening.tensors(tmp_path / "w.pt2")
        command = str(told.value).split("weights with ")[1].rstrip(".")
        command = command.replace('"weights.pt"', f'"{tmp_path}/out.pt"')
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(command, {"torch": torch})
        assert set(opening.tensors(tmp_path / "out.pt")) == {"weight", "bias"}


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pt does not exist; check backbone\.weights"):
        opening.tensors(tmp_path / "absent.pt")


# Any nesting.

KEYS = st.text("abc_", min_size=1, max_size=3)
TREES = st.recursive(
    st.sampled_from(["tensor", "number"]),
    lambda inner: (
        st.tuples(
            st.sampled_from(["dict", "ordered", "dict_like", "object"]),
            st.dictionaries(KEYS, inner, max_size=3),
        )
        | st.tuples(
            st.sampled_from(["list", "tuple", "list_like", "tuple_like"]),
            st.lists(inner, max_size=3),
        )
    ),
    max_leaves=12,
)


def grown(tree, classes: dict, name: str, expected: dict[str, Tensor]) -> object:
    """The value that `tree` describes; `expected` gets its tensors by name."""
    if tree == "tensor":
        expected[name] = torch.tensor([float(len(expected))])
        return expected[name]
    if tree == "number":
        return 3
    kind, inner = tree
    pairs = inner.items() if isinstance(inner, dict) else enumerate(inner)
    parts = {key: grown(part, classes, f"{name}.{key}", expected) for key, part in pairs}
    if kind == "object":
        made = classes[kind]()
        made.__dict__.update(parts)
        return made
    return classes[kind](parts if isinstance(inner, dict) else parts.values())


@settings(max_examples=60, deadline=None)
@given(tree=TREES, save=st.sampled_from([zipped, legacy]))
def test_any_nesting_gives_exactly_its_tensors(tmp_path_factory, tree, save):
    path = tmp_path_factory.mktemp("nested") / "w.pt"
    expected = {"state_dict.weight": torch.ones(2)}
    with packages(
        some__DictLike=dict, some__ListLike=list, some__TupleLike=tuple, some__Object=object
    ) as made:
        names = ["dict_like", "list_like", "tuple_like", "object"]
        classes = {"dict": dict, "ordered": collections.OrderedDict, "list": list, "tuple": tuple}
        value = grown(tree, classes | dict(zip(names, made, strict=True)), "extra", expected)
        save({"state_dict": {"weight": torch.ones(2)}, "extra": value}, path)
    assert equal(opening.tensors(path), expected)
