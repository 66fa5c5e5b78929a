"""A network of one's own by file: read by the graph, run by jobs, watched for edits."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project
from safetensors.numpy import load_file

from treehead.artifacts import InputError
from treehead.backbones.backbone import network_of
from treehead.config import architectures, own

MANUAL = (ROOT / "docs/adding-a-backbone.md").read_text()
SECTION = re.search(r"## Your own file.*?\n## ", MANUAL, re.DOTALL)[0]
CODE = re.search(r"```python\n(.*?)```", SECTION, re.DOTALL)[1]
ENTRY = yaml.safe_load(re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1])["backbone"]

NETWORK = """
from typing import Literal, Sequence
from torch import nn
raise SystemExit("the graph is built without importing a network")

def build(size, /, width: int, depth: int = 2, *, act: Literal["relu", "silu"] = "relu",
          rates: Sequence[float] = (), name=None, sides: "list[int]" = []):
    return nn.Conv2d(3, width, 3)

def any_more(size: int, **more):
    return nn.Identity()

def none():
    return nn.Identity()

class Network(nn.Module):
    pass
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch):
    """What is imported here is forgotten."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith(("torch", "numpy")):
            del sys.modules[name]


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(NETWORK)
    return str(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"width": 8}, {"width": 8}),
        ({"width": "8", "act": "silu"}, {"width": 8, "act": "silu"}),
        ({"width": 8, "rates": [0.1], "name": {"a": 1}}, None),
        ({"width": 8, "sides": "any"}, None),
        ({"width": 8, "depth": None, "name": None}, None),
    ],
)
def test_settings_are_checked_by_their_annotations(file: str, given: dict, expected: dict | None):
    """Those without one, or with one that is not understood, are passed as they are."""
    found = own.converted(f"{file}:build", given)
    assert found == (expected or given)
    assert own.converted(f"{file}:any_more", {"x": "3", "y": None}) == {"x": "3", "y": None}


@pytest.mark.parametrize(
    ("architecture", "given", "sentence"),
    [
        ("{}:build", {}, "backbone.own.width is missing; give it, since build has no default."),
        ("{}:build", {"width": None}, "backbone.own.width is missing; give it, since build has no"),
        ("{}:build", {"width": "wide"}, 'backbone.own.width is "wide"; use a whole number.'),
        ("{}:build", {"width": 8, "act": "gelu"}, 'backbone.own.act is "gelu"; use "relu" or "sil'),
        (
            "{}:build",
            {"width": 8, "dept": 3},
            'backbone.own.dept is not a setting of build; use "d',
        ),
        ("{}:buidl", {}, "architecture is {}:buidl, but {} has no function of that name; use "),
        ("{}:Network", {}, "architecture is {}:Network, but {} has no function of that name; use "),
        ("{}:none", {}, "architecture is {}:none, but none has no argument for the size; give it"),
        ("{}", {}, 'architecture is {}, which names no function; use "{}:'),
        (
            "no/such.py:build",
            {},
            "architecture is no/such.py:build, but there is no file no/such.py",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    file: str, architecture: str, given: dict, sentence: str
):
    backbone = {"architecture": architecture.format(file), "own": given}
    with pytest.raises(InputError) as error:
        architectures.check(backbone)
    told = str(error.value).removeprefix("Config: ").removeprefix("backbone.")
    assert told.startswith(sentence.format(file, file).removeprefix("backbone."))


def test_a_file_that_is_not_python_is_told_with_its_line(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text("import torch\ndef build(size:\n    return 1\n")
    with pytest.raises(InputError, match=r"mine\.py, line 2, is not Python \("):
        own.converted(f"{path}:build", {})


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_the_modules_beside_a_file_that_it_imports_are_found(tmp_path: Path):
    written(
        tmp_path,
        {
            "mine.py": "import torch, blocks\nfrom parts.stem import Stem\ndef build(size): ...",
            "blocks.py": "def f():\n    import deep.er as d\nfrom treehead import artifacts",
            "parts/__init__.py": "",
            "parts/stem.py": "from . import sizes\nfrom .more import thing",
            "parts/sizes.py": "import mine",
            "parts/more/__init__.py": "from ..last import x",
            "parts/last.py": "",
            "deep/er.py": "",
            "treehead/artifacts.py": "",
            "unused.py": "",
            "torchvision.py": "",
        },
    )
    found = {Path(path) for path in own.files(f"{tmp_path}/mine.py:build")}
    named = {path.relative_to(tmp_path).as_posix() for path in found}
    assert named == {
        "mine.py",
        "blocks.py",
        "parts/__init__.py",
        "parts/stem.py",
        "parts/sizes.py",
        "parts/more/__init__.py",
        "parts/last.py",
        "deep/er.py",
    }
    assert own.files("torchvision/resnet18") == own.files("resnet9") == []


def test_a_network_is_built_with_the_modules_beside_it(tmp_path: Path):
    text = "from size_of_mine import WIDTH\n" + CODE.replace(
        "width: int = 16", "width: int = WIDTH"
    )
    written(tmp_path, {"my_networks.py": text, "size_of_mine.py": "WIDTH = 5"})
    _, dim = network_of(f"{tmp_path}/my_networks.py:build", {}, 32)
    assert dim == 5 << 2
    assert network_of(f"{tmp_path}/my_networks.py:build", {"width": 2, "depth": 2}, 32)[1] == 4


BROKEN = """
import torch
from torch import nn

def build(size):
    return 1 // 0

def forward(size):
    return Network()

def inside(size):
    return nn.Sequential(nn.Conv2d(-1, 2, 3))

def none(size):
    pass

class Network(nn.Module):
    def forward(self, x):
        return torch.cat([x, x[:, :, 1:]])
"""


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("build", "can't be built for backbone.image_size 8 ({}, line 6: ZeroDivisionError: "),
        ("inside", "can't be built for backbone.image_size 8 ({}, line 12: "),
        ("forward", "can't read images of backbone.image_size 8 ({}, line 19: RuntimeError: Sizes"),
        ("none", "gives a NoneType; return a torch.nn.Module from it."),
    ],
)
def test_an_exception_in_the_file_is_told_with_its_line(
    tmp_path: Path, monkeypatch, function: str, sentence: str
):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {"broken.py": BROKEN})
    with pytest.raises(InputError) as error:
        network_of(f"broken.py:{function}", {}, 8)
    start = f"backbone.architecture broken.py:{function} "
    assert str(error.value).startswith(start + sentence.format("broken.py"))


def test_an_import_that_fails_is_told_with_its_line(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {"importing.py": "\nimport no_such_module\ndef build(size): ..."})
    with pytest.raises(
        InputError, match=r"\(importing\.py, line 2: ModuleNotFoundError: No module"
    ):
        network_of("importing.py:build", {}, 8)


def test_a_file_with_the_name_of_a_library_is_refused(tmp_path: Path):
    written(tmp_path, {"torch.py": CODE})
    with pytest.raises(InputError, match=r"Python knows torch as .*; give the file another name"):
        network_of(f"{tmp_path}/torch.py:build", {}, 8)


@pytest.mark.long
def test_the_manuals_own_file_trains_and_an_edit_runs_its_jobs_again(
    own_run: Project, tmp_path: Path
):
    """In two processes, which both import the file."""
    project = own_run.copy(tmp_path / "project")
    written(
        project.folder,
        {
            "nets/my_networks.py": f"from beside import nothing\n{CODE}",
            "nets/beside.py": "nothing = 0\n",
        },
    )
    settings = {
        "backbone.architecture": "./nets/../nets/my_networks.py:build",
        "backbone.own": {**ENTRY["own"], "depth": "2"},
        "finetune.processes": 2,
        "results": "out",
    }
    changed = project.having(settings)
    target = "out/embeddings/val.safetensors"
    changed.run(target, "out/backbone/cost.json")
    found = load_file(project.folder / target)["features"]
    assert found.shape[2] == ENTRY["own"]["width"] << 1
    assert changed.plan(target, "out/backbone/cost.json") == {}
    (project.folder / "nets/beside.py").write_text("nothing = 1\n")
    assert changed.plan(target, "out/backbone/cost.json") == {
        "fetch_weights": 1,
        "finetune_backbone": 1,
        "export_backbone": 1,
        "count_backbone": 1,
        "embed": 1,
    }
