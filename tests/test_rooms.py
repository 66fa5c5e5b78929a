"""The house: which way imports go between the rooms of the library."""

from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]

# From the top to the bottom; a room imports from those below it.
ROOMS = [
    {"__main__"},
    {"report"},
    {"evaluation"},
    {"hierarchy", "deploy"},
    {"heads", "training", "config"},
    {"backbones"},
    {"data"},
    {"records"},
    {"console"},
    {"artifacts"},
]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("treehead", cache_dir=None)


def test_imports_run_one_way(imports: grimp.ImportGraph):
    layers = [grimp.Layer(*sorted(room), independent=True) for room in ROOMS]
    wrong = imports.find_illegal_dependencies_for_layers(layers, containers={"treehead"})
    assert not [f"{one.importer} imports {one.imported}" for one in wrong]


def test_every_module_is_in_a_room():
    found = {path.stem for path in (ROOT / "treehead").iterdir() if path.suffix in ("", ".py")}
    assert found - {"__pycache__", "__init__"} == set().union(*ROOMS)


def test_no_modules_import_one_another_in_a_circle(imports: grimp.ImportGraph):
    for module in imports.modules:
        assert module not in imports.find_upstream_modules(module), module


@pytest.mark.parametrize("package", sorted(ROOT.glob("treehead/**/__init__.py")), ids=str)
def test_a_room_says_what_it_is_for_and_nothing_else(package: Path):
    assert package.read_text().count('"""') == 2
    assert len(package.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("workflow/rules/*.smk")), ids=lambda file: file.stem
)
def test_a_rule_file_bears_the_name_of_a_room_and_says_what_comes_in_and_out(file: Path):
    assert file.stem in {"common", "int8", "networks"}.union(*ROOMS)
    first, second, *_ = file.read_text().splitlines()
    assert first.startswith("# In: ")
    assert second.startswith("# Out: ")


def test_the_library_does_not_know_snakemake():
    graph = grimp.build_graph("treehead", include_external_packages=True, cache_dir=None)
    assert "torch" in graph.modules
    assert "snakemake" not in graph.modules
