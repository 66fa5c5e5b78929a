"""The prediction of a head or a tree for each image, as a table with the truth."""

from pathlib import Path

import numpy as np
import pandas as pd

from treehead.artifacts import replacing


def write(
    path: str | Path, columns: dict[str, np.ndarray], named: dict[str, tuple[str, list[str]]]
) -> None:
    """Write the true class or parent of each image, and what was predicted, as parquet.

    Args:
        path: the parquet file.
        columns: numbers (n,) by name, the truth first.
        named: columns of names beside them; each has the column whose numbers it spells out, and
            the name of each number.
    """
    names = {
        name: np.array(spelled, dtype=object)[columns[column]]
        for name, (column, spelled) in named.items()
    }
    with replacing(path) as temporary:
        pd.DataFrame(columns | names).to_parquet(temporary, index=False)
