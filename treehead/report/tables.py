"""The main figures of results as text, for a terminal."""

from pathlib import Path
from typing import Any

import pandas as pd

from treehead import records
from treehead.artifacts import InputError, read_json
from treehead.evaluation import comparison
from treehead.report import summary

SHOWN = ("chosen.json", "hierarchy100/metrics.json", "pareto.csv", "networks.csv")
# What is shown of a chosen head's accuracies; the first three are means over seeds.
_ACCURACIES = {
    "accuracy": "accuracy, mean over seeds",
    "full": "full head",
    "difference": "difference",
    "file_accuracy": "accuracy of the file",
}
_GIVE = f"give a results folder or its {', '.join(SHOWN[:-1])} or {SHOWN[-1]}."

# Shares in a table, and those of them in which each class counts alike.
_ALIKE = ("balanced_accuracy", "macro_f1")
_SHARES = ("accuracy", *_ALIKE)


def files(path: str | Path) -> list[Path]:
    """The file itself, or what a results folder holds of `SHOWN`."""
    path = Path(path)
    if not path.is_dir():
        found = [path]
    elif not (found := [path / name for name in SHOWN if (path / name).exists()]):
        raise InputError(f"{path} holds no results that can be shown; {_GIVE}")
    records.check(found)
    return found


def text(path: Path, budget: int) -> str:
    """The figures of a file of `SHOWN`.

    Args:
        path: the file.
        budget: MACs within which the most accurate head of a comparison is sought.
    """
    if path.suffix not in (".csv", ".json"):
        raise InputError(f"{path} is not a table or metrics file; {_GIVE}")
    if path.suffix == ".csv":
        return _of_table(path, budget)
    report = read_json(path)
    chosen = isinstance(report, dict) and "alternatives" in report
    return _of_choice(path, report) if chosen else _of_hierarchy(path, report)


def _of_choice(path: Path, chosen: dict[str, Any]) -> str:
    try:
        return _recommendation(chosen)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a whole recommendation; make it again.") from error


def _recommendation(chosen: dict[str, Any]) -> str:
    by, val, full = chosen["by"], chosen["val"], chosen["full"]
    if not isinstance(by, str):
        terms = " + ".join(f"{weight:g} {cost}" for cost, weight in by.items())
        by = f"{terms}, each as a share of the full head's"
    bounds = "".join(
        f" and have at most {most:,} {cost}" for cost, most in chosen["at_most"].items()
    )
    costs = {
        _called(row): [f"{cost:,.0f}" for cost in row["cost"].values()] for row in (chosen, full)
    }
    costs["share"] = list(map(_percent, chosen["ratio"].values()))
    accuracies = {
        split: [f"{chosen[split]['n']:,}", *(_percent(chosen[split][key]) for key in _ACCURACIES)]
        for split in ("val", "test")
    }
    next_ones = [f"{_called(row)} {_percent(row['size'])}" for row in chosen["alternatives"]]
    lines = [
        f"Take {chosen['file']}",
        f"Of the heads that lose at most {_percent(chosen['margin'])} on val{bounds}, "
        f"it is the smallest by {by}.",
        "",
        pd.DataFrame(costs, index=list(chosen["cost"])).to_string(),
        "",
        pd.DataFrame(accuracies, index=["images", *_ACCURACIES.values()]).to_string(),
        "",
        f"Its size is {_percent(chosen['size'])} of the full head's. "
        f"The next heads: {', '.join(next_ones) or 'none'}.",
    ]
    if (error := 1.96 * val["standard_error"]) > chosen["margin"]:
        lines.append(
            f"val has {val['n']:,} images: differences under {_percent(error)} are chance, "
            f"and the margin is {_percent(chosen['margin'])}."
        )
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _called(row: dict[str, Any]) -> str:
    return f"{row['head']} ({row['precision']})"


def _of_hierarchy(path: Path, report: Any) -> str:
    try:
        dataset, table = report["dataset"], summary.table(report)
        worst = summary.worst(report)
        heading = f"{dataset['name']}: {dataset['note']}; {summary.images(report)}"
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not the metrics file of a hierarchy; {_GIVE}") from error
    told = f"{heading}\n\n{table.to_string(index=False)}"
    if worst.empty:
        return told
    return f"{told}\n\nClasses with the lowest recall\n{worst.to_string(index=False)}"


def _of_table(path: Path, budget: int) -> str:
    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); {_GIVE}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a CSV file ({error}); {_GIVE}") from error
    if "network" in table:
        shown = [name for name in table if name == "network" or name.endswith(_SHARES)]
        if not summary.unbalanced(table):
            shown = [name for name in shown if not name.endswith(_ALIKE)]
        return _readable(table[shown].dropna(axis=1, how="all")).to_string(index=False)
    if absent := [name for name in (*comparison.COLUMNS, "precision") if name not in table]:
        raise InputError(f"{path} has no column {absent[0]}; {_GIVE}")
    if "linear" not in set(table["head"]):
        raise InputError(f"{path} has no row of the head linear; make the comparison again.")
    return _of_comparison(table, budget)


def _of_comparison(table: pd.DataFrame, budget: int) -> str:
    records = _readable(comparison.records(table, budget)).to_string()
    first = table[table["precision"] == table["precision"].iloc[0]]
    alike = _ALIKE if summary.unbalanced(table) else ()
    shown = ["head", "accuracy_mean", "accuracy_sd", *alike, "macs_mean", "macs_p99", "p_value"]
    best = _readable(comparison.frontier(first, "macs_mean")[shown]).to_string(index=False)
    return f"\nRecords\n{records}\n\nFrontier, by MACs\n{best}"


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares as per cent, costs with thousands separated."""
    text = frame.astype(object).copy()
    for name in text:
        if "accuracy" in name or name.endswith("macro_f1"):
            text[name] = ["" if pd.isna(value) else _percent(value) for value in text[name]]
        elif name.endswith("bytes") or name.startswith(("macs", "instructions")):
            text[name] = ["" if pd.isna(value) else f"{value:,.0f}" for value in text[name]]
        elif name.startswith("p_value"):
            text[name] = [f"{value:.3f}" for value in text[name]]
    return text
