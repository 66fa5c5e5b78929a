"""Print the main figures of results: python -m treehead results/hierarchy100/metrics.json"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from treehead.artifacts import InputError, read_json
from treehead.evaluation import comparison
from treehead.report import summary


def main() -> int:
    """Print a table for each metrics file or table of networks, a comparison's best as two."""
    parser = argparse.ArgumentParser(prog="python -m treehead", description=__doc__)
    parser.add_argument("results", nargs="+", help="metrics.json, pareto.csv or networks.csv")
    parser.add_argument(
        "--budget", type=int, default=7932, help="MACs of the best compact head (the study's 7932)"
    )
    options = parser.parse_args()
    for path in options.results:
        try:
            print(f"\n{path}")
            if Path(path).suffix == ".csv":
                _print_csv(path, options.budget)
            else:
                _print_hierarchy(path)
        except InputError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
    return 0


def _print_hierarchy(path: str) -> None:
    report = read_json(path)
    try:
        dataset = report["dataset"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no metrics.json of a hierarchy; give that, or a pareto.csv."
        ) from error
    print(f"{dataset['name']}: {dataset['note']}; {report['n_test']:,} test images\n")
    print(summary.table(report).to_string(index=False))


def _print_csv(path: str, budget: int) -> None:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({error}); give a pareto.csv.") from error
    if "network" in table:
        shown = [name for name in table if name == "network" or name.endswith("accuracy")]
        print(_readable(table[shown].dropna(axis=1, how="all")).to_string(index=False))
    elif absent := [name for name in comparison.COLUMNS if name not in table]:
        raise InputError(f"{path} has no column {absent[0]}; give a pareto.csv of the pipeline.")
    else:
        _print_comparison(table, budget)


def _print_comparison(table: pd.DataFrame, budget: int) -> None:
    print(f"\nRecords\n{_readable(comparison.records(table, budget)).to_string()}")
    first = table[table["precision"] == table["precision"].iloc[0]]
    best = comparison.frontier(first, "macs_mean")
    shown = ["head", "accuracy_mean", "accuracy_sd", "macs_mean", "macs_p99", "p_value"]
    print(f"\nFrontier, by MACs\n{_readable(best[shown]).to_string(index=False)}")


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


if __name__ == "__main__":
    sys.exit(main())
