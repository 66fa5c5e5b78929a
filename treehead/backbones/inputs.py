"""What a network reads: as it is set, else as its weights were trained, else as the data are."""

from typing import Any

from treehead.artifacts import read_json


def complete(network: dict[str, Any], brought: list[str], statistics: list[str]) -> dict[str, Any]:
    """The settings of a network, with what its weights or the data tell where none are given.

    Args:
        network: `settings`, `size`, `interpolation`, `crop`, and in `normalization` the `mean` and
            `std` of each channel. All but the first may be None.
        brought: the file of what comes with the weights; empty if nothing can.
        statistics: the file of the data's own; empty if the settings have both.
    """
    own = read_json(brought[0])["input"] if brought else {}
    data = read_json(statistics[0]) if statistics else {}
    given = network["normalization"]
    return network | {
        "settings": own.get("settings", {}) | network["settings"],
        "size": network["size"] or own["size"],
        "interpolation": network["interpolation"] or own.get("interpolation", "bilinear"),
        "crop": network["crop"] or own.get("crop", 1),
        "normalization": {key: given[key] or own.get(key) or data[key] for key in given},
    }
