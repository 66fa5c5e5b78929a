"""The manual states every key of the configuration and every setting of a head, and its default."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from treehead.artifacts import InputError
from treehead.config import signatures, sweeps

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
MANUAL = (ROOT / "config" / "README.md").read_text(encoding="utf-8")

# Given to a head's `fit` by its job; `teacher` and `training` belong to the entry.
GIVEN = {"parent_of", "sample_weight", "training", "seed"}


def stated(name: str, column: int = 1) -> dict[str, str]:
    """A column of the manual's tables whose first column is called `name`: defaults, or values."""
    rows: dict[str, str] = {}
    table = ""
    for line in MANUAL.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:]]
        if not cells:
            table = ""
        elif not table:
            table = cells[0]
        elif table == name and cells[0].startswith("`"):
            assert cells[0] not in rows, f"{cells[0]} appears twice"
            rows[cells[0]] = cells[column]
    return {key.strip("`"): cell for key, cell in rows.items()}


def leaves(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; the heads and an empty mapping are one key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value and key != "heads":
            flat |= leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def of_fit(module: str) -> dict[str, Any]:
    """The settings of a head, with their defaults."""
    fit = importlib.import_module(f"treehead.heads.{module}").fit
    return {
        f"{module}.{name}": argument.default
        for name, argument in inspect.signature(fit).parameters.items()
        if argument.kind == argument.KEYWORD_ONLY and name not in GIVEN
    }


KEYS = leaves(CONFIG)
SETTINGS = {key: value for module in sweeps.modules() for key, value in of_fit(module).items()}


def says(text: str, value: object) -> bool:
    """Whether a default as it is written in the manual is that value; "…" leaves the rest out."""
    if value is inspect.Parameter.empty:
        return text == "required"
    text = re.fullmatch("`(.+)`", text)[1]
    if text.endswith("…"):
        shown = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
        return shown.startswith(text[:-1])
    return yaml.safe_load(text) == value


def test_the_manual_explains_every_key_and_no_other():
    assert sorted(stated("key")) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_manual_states_the_default_of_a_key(key: str):
    assert says(stated("key")[key], KEYS[key])


def test_the_manual_explains_every_setting_of_a_head_and_no_other():
    assert sorted(stated("setting")) == sorted(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_manual_states_the_default_of_a_setting(setting: str):
    assert says(stated("setting")[setting], SETTINGS[setting])


@pytest.mark.parametrize("setting", [key for key in SETTINGS if not key.endswith(".teacher")])
def test_the_manual_states_the_values_of_a_setting_as_its_error_does(setting: str):
    module, name = setting.split(".")
    with pytest.raises(InputError) as error:
        signatures.converted("", {name: []}, {name: sweeps.arguments(module)[name]})
    allowed = str(error.value).partition("; use ")[2]
    words = [
        sorted(re.findall(r"[\w-]+", text)) for text in (allowed, stated("setting", 2)[setting])
    ]
    assert words[0] == words[1]


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")], ids=lambda p: p.name)
def test_the_links_of_a_page_lead_somewhere(page: Path):
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in [_anchor(line) for line in linked.read_text().splitlines()], anchor


def _anchor(line: str) -> str:
    """The anchor of a Markdown heading."""
    return re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")


def test_the_design_names_every_rule_and_no_other():
    rules = set()
    for file in ROOT.glob("workflow/rules/*.smk"):
        defined = re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)", file.read_text(), re.MULTILINE)
        rules |= set(defined)
    graph = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("\n## ")[1]
    rows = [line.split("|") for line in graph.splitlines() if line.startswith("| ")]
    assert {name for row in rows for name in re.findall("`([a-z0-9_]+)`", row[2])} == rules
