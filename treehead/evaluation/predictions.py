"""The prediction of a head or a tree for each image, as a table with the truth."""

from pathlib import Path

import numpy as np
import pandas as pd

from treehead.artifacts import replacing


def write(path: str | Path, columns: dict[str, np.ndarray]) -> None:
    """Write the true class or parent of each image, and what was predicted: each (n,), as parquet.

    Args:
        path: the parquet file.
        columns: by name, the truth first.
    """
    with replacing(path) as temporary:
        pd.DataFrame(columns).to_parquet(temporary, index=False)
