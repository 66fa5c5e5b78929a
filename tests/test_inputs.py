"""What a network reads: set in the configuration, brought by the weights, or told by the data."""

import json
from pathlib import Path

import pytest

from treehead.backbones import inputs

# What the graph knows, with nothing set; what comes with weights; what the data tell.
UNSET = {
    "architecture": "torchvision/googlenet",
    "settings": {},
    "size": None,
    "interpolation": None,
    "crop": None,
    "normalization": {"mean": None, "std": None},
}
OWN = {
    "size": 224,
    "interpolation": "bicubic",
    "crop": 0.875,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "settings": {"transform_input": True},
}
DATA = {"images": 7, "mean": [0.7, 0.7, 0.7], "std": [0.2, 0.2, 0.2]}
SET = {
    "settings": {"transform_input": False},
    "size": 64,
    "interpolation": "nearest",
    "crop": 1,
    "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.3, 0.3, 0.3]},
}


@pytest.fixture
def brought(tmp_path: Path):
    """The file beside the weights, with what comes with them."""

    def write(own: dict) -> list[str]:
        (tmp_path / "weights.json").write_text(json.dumps({"source": "file", "input": own}))
        return [str(tmp_path / "weights.json")]

    return write


@pytest.fixture
def statistics(tmp_path: Path) -> list[str]:
    (tmp_path / "statistics.json").write_text(json.dumps(DATA))
    return [str(tmp_path / "statistics.json")]


def test_what_comes_with_the_weights_is_taken_before_what_the_data_tell(brought, statistics):
    assert inputs.complete(UNSET, brought(OWN), statistics) == {
        "architecture": "torchvision/googlenet",
        "settings": {"transform_input": True},
        "size": 224,
        "interpolation": "bicubic",
        "crop": 0.875,
        "normalization": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }


def test_what_is_set_is_taken_before_all(brought, statistics):
    assert inputs.complete(UNSET | SET, brought(OWN), statistics) == UNSET | SET


@pytest.mark.parametrize("key", ["size", "interpolation", "crop", "mean", "std"])
def test_each_value_is_set_alone(brought, statistics, key: str):
    given = {**UNSET, "normalization": dict(UNSET["normalization"])}
    place = given["normalization"] if key in given["normalization"] else given
    place[key] = {**SET, **SET["normalization"]}[key]
    found = inputs.complete(given, brought(OWN), statistics)
    for name, value in ({**found, **found["normalization"]}).items():
        if name in OWN:
            assert value == (place[name] if name == key else OWN[name])


def test_weights_that_bring_nothing_leave_the_data_and_the_defaults(brought, statistics):
    found = inputs.complete(UNSET, brought({"size": 48}), statistics)
    normalization = {key: DATA[key] for key in ("mean", "std")}
    plain = {"size": 48, "interpolation": "bilinear", "crop": 1, "normalization": normalization}
    assert found == UNSET | plain


def test_without_files_all_is_set(statistics):
    assert inputs.complete(UNSET | SET, [], []) == UNSET | SET
    given = UNSET | {"size": 32}
    assert inputs.complete(given, [], statistics)["size"] == 32
