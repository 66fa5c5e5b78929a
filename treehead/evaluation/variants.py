"""The variants of the study's ResNet track: one backbone, trained for several objectives."""

from typing import Any

import pandas as pd

Metrics = dict[str, Any]


def table(
    heads: dict[str, Metrics], trees: dict[str, Metrics], study: pd.DataFrame | None
) -> pd.DataFrame:
    """One row a variant, in the order given.

    Args:
        heads: by variant, the metrics of its own head.
        trees: by variant, the metrics of the tree on top of it, for those that have one.
        study: the study's variants in the column `network`, and their `accuracy`,
            `parent_accuracy`, `child_accuracy` and `tree_accuracy` in per cent; None if the images
            are not the study's.
    """
    rows = []
    for variant, head in heads.items():
        row = {"network": variant, **head}
        if tree := trees.get(variant):
            children = [row["child_accuracy"] for row in tree["per_parent"] if row["count"]]
            row |= {
                "child_accuracy": sum(children) / len(children),
                "best_child_accuracy": max(children),
                "tree_accuracy": tree["accuracy"],
                "linear_accuracy": tree["flat"]["accuracy"],
            }
        rows.append(row)
    ours = pd.DataFrame(rows)
    if study is None:
        return ours
    known = study.set_index("network") / 100
    return ours.join(known.add_prefix("study_"), on="network")
