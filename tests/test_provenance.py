"""A script depends on the modules that it reaches, and settings on their names and values."""

import re
from pathlib import Path

import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from treehead.config import architectures, provenance

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))


@pytest.fixture
def reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The modules that a script of this text reaches, by their paths from the project's root."""
    monkeypatch.chdir(ROOT)

    def modules(text: str) -> set[str]:
        script = tmp_path / "script.py"
        script.write_text(text)
        provenance.reached_modules.cache_clear()
        return {path.as_posix() for path in provenance.reached_modules(script)}

    return modules


def test_a_module_without_imports_of_ours_is_reached_with_its_package_alone(reached):
    assert reached("from treehead import artifacts") == {
        "treehead/__init__.py",
        "treehead/artifacts.py",
    }


def test_a_module_brings_what_it_imports(reached):
    assert reached("from treehead.data import taxonomy") == {
        "treehead/__init__.py",
        "treehead/data/__init__.py",
        "treehead/data/taxonomy.py",
        "treehead/artifacts.py",
    }


def test_modules_are_reached_through_others_and_from_packages(reached):
    """A parent that is trained jointly is trained as a tree, which may have learned clusters."""
    assert reached("from treehead.hierarchy import parent") == {
        "treehead/__init__.py",
        "treehead/data/__init__.py",
        "treehead/heads/__init__.py",
        "treehead/hierarchy/__init__.py",
        "treehead/hierarchy/parent.py",
        "treehead/heads/head.py",
        "treehead/heads/layers.py",
        "treehead/heads/linear.py",
        "treehead/heads/loop.py",
        "treehead/heads/tree.py",
        "treehead/data/balance.py",
        "treehead/data/clusters.py",
        "treehead/console.py",
        "treehead/artifacts.py",
        "treehead/heads/costs.py",
        "treehead/data/embeddings.py",
        "treehead/data/moments.py",
        "treehead/data/rows.py",
    }


def test_modules_that_are_loaded_by_name_count_too():
    script = "workflow/scripts/fit_head.py"
    found = {path.as_posix() for path in provenance.reached_modules(script, "treehead.heads.shift")}
    without = {path.as_posix() for path in provenance.reached_modules(script)}
    assert found - without >= {"treehead/heads/shift.py", "treehead/heads/tree.py"}


@pytest.mark.parametrize(
    "text",
    [
        "import treehead.data.taxonomy",
        "import treehead.data.taxonomy as tree",
        "from treehead.data import taxonomy as tree",
        "from treehead.data.taxonomy import read",
        "def late():\n    from treehead.data.taxonomy import read",
    ],
)
def test_any_form_of_import_counts(reached, text: str):
    assert reached(text) == {
        "treehead/__init__.py",
        "treehead/data/__init__.py",
        "treehead/data/taxonomy.py",
        "treehead/artifacts.py",
    }


TABLE = "treehead/data/demo100/families.yaml"


def test_a_table_beside_a_module_counts_with_it(reached):
    assert TABLE in reached("from treehead.data.demo100 import classes")


def test_a_table_of_another_package_does_not_count(reached):
    assert TABLE not in reached("from treehead.data import dataset")


def test_other_peoples_modules_do_not_count(reached):
    assert reached("import json\nimport numpy as np\nfrom pathlib import Path") == set()


def test_a_module_that_is_only_named_like_one_of_ours_does_not_count(reached):
    assert reached("from elsewhere import taxonomy\nimport embed") == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_script_imports_is_among_what_it_reaches(script: Path, reached):
    """By eye: a name after `from treehead.<room> import` is a module there, if there is one."""
    text = script.read_text()
    found = reached(text)
    imports = re.findall(r"^from (treehead[\w.]*) import ([^(\n]+|\([^)]+\))", text, re.MULTILINE)
    for package, names in imports:
        folder = package.replace(".", "/")
        modules = {f"{folder}/{name}.py" for name in re.findall(r"\w+", names)} | {f"{folder}.py"}
        there = {path for path in modules if (ROOT / path).is_file()}
        assert there
        assert there <= found
    assert all((ROOT / path).is_file() for path in found)


@pytest.mark.parametrize("script", ["embed", "export_backbone", "fetch_weights"])
def test_a_network_is_not_invalidated_by_another(script: str):
    """A job lists the file of its own architecture alone."""
    module = architectures.module("torchvision/resnet18")
    found = provenance.reached_modules(f"workflow/scripts/{script}.py", module)
    networks = [path for path in found if path.parent.name == "networks"]
    assert [path.name for path in networks] == ["__init__.py", "torchvision.py"]


def test_a_child_is_not_invalidated_by_the_backbone(reached):
    """Editing what only the backbone uses must not retrain the heads."""
    found = reached((ROOT / "workflow" / "scripts" / "train_child.py").read_text())
    assert "treehead/hierarchy/children.py" in found
    assert not found & {
        "treehead/backbones/backbone.py",
        "treehead/training/finetune.py",
        "treehead/backbones/embed.py",
    }


settings = st.dictionaries(
    st.sampled_from("abcd"), st.integers() | st.booleans() | st.text(max_size=3) | st.none()
)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
@given(settings, settings)
def test_other_settings_have_another_digest_and_their_order_does_not_matter(one, other):
    assert provenance.digest(one) == provenance.digest(dict(reversed(one.items())))
    assume(repr(sorted(one.items())) != repr(sorted(other.items())))
    assert provenance.digest(one) != provenance.digest(other)


def test_two_settings_that_swap_their_values_are_told_apart():
    """Snakemake takes params as a set of values, where this swap is none."""
    one, swapped = {"epochs": 3, "seed": 4}, {"epochs": 4, "seed": 3}
    assert provenance.digest(one) != provenance.digest(swapped)


def test_a_digest_is_eight_hexadecimal_digits():
    assert len(provenance.digest({"seed": 0})) == 8
    assert int(provenance.digest({"seed": 0}), 16) >= 0
