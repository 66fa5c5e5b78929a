"""The main figures of results as text, for a terminal."""

from pathlib import Path

import pandas as pd

from treehead.artifacts import InputError, read_json
from treehead.evaluation import comparison
from treehead.report import summary

SHOWN = ("hierarchy100/metrics.json", "pareto.csv", "networks.csv")
_GIVE = f"give a results folder or its {', '.join(SHOWN[:-1])} or {SHOWN[-1]}."


def files(path: str | Path) -> list[Path]:
    """The file itself, or what a results folder holds of `SHOWN`."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    if not (found := [path / name for name in SHOWN if (path / name).exists()]):
        raise InputError(f"{path} holds no results that can be shown; {_GIVE}")
    return found


def text(path: Path, budget: int) -> str:
    """The figures of a file of `SHOWN`.

    Args:
        path: the file.
        budget: MACs within which the most accurate head of a comparison is sought.
    """
    if path.suffix not in (".csv", ".json"):
        raise InputError(f"{path} is not a table or metrics file; {_GIVE}")
    return _of_table(path, budget) if path.suffix == ".csv" else _of_hierarchy(path)


def _of_hierarchy(path: Path) -> str:
    report = read_json(path)
    try:
        dataset, table = report["dataset"], summary.table(report)
        heading = f"{dataset['name']}: {dataset['note']}; {report['n_test']:,} test images"
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not the metrics file of a hierarchy; {_GIVE}") from error
    return f"{heading}\n\n{table.to_string(index=False)}"


def _of_table(path: Path, budget: int) -> str:
    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); {_GIVE}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a CSV file ({error}); {_GIVE}") from error
    if "network" in table:
        shown = [name for name in table if name == "network" or name.endswith("accuracy")]
        return _readable(table[shown].dropna(axis=1, how="all")).to_string(index=False)
    if absent := [name for name in (*comparison.COLUMNS, "precision") if name not in table]:
        raise InputError(f"{path} has no column {absent[0]}; {_GIVE}")
    if "linear" not in set(table["head"]):
        raise InputError(f"{path} has no row of the head linear; make the comparison again.")
    return _of_comparison(table, budget)


def _of_comparison(table: pd.DataFrame, budget: int) -> str:
    records = _readable(comparison.records(table, budget)).to_string()
    first = table[table["precision"] == table["precision"].iloc[0]]
    shown = ["head", "accuracy_mean", "accuracy_sd", "macs_mean", "macs_p99", "p_value"]
    best = _readable(comparison.frontier(first, "macs_mean")[shown]).to_string(index=False)
    return f"\nRecords\n{records}\n\nFrontier, by MACs\n{best}"


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares as per cent, costs with thousands separated."""
    text = frame.astype(object).copy()
    for name in text:
        if "accuracy" in name:
            text[name] = ["" if pd.isna(value) else f"{100 * value:.2f} %" for value in text[name]]
        elif name == "bytes" or name.startswith("macs"):
            text[name] = [f"{value:,.0f}" for value in text[name]]
        elif name.startswith("p_value"):
            text[name] = [f"{value:.3f}" for value in text[name]]
    return text
