"""What differs between result folders, as text for a terminal or as Markdown."""

import re

import pandas as pd

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.evaluation.differences import Differences
from treehead.report import summary

# Ends of the names of shares, which are shown in per cent.
_SHARE = re.compile(r"(accuracy|macro_f1|parent|routing|error|difference|_sd|full)$")

# Names of figures in which each class counts alike.
_ALIKE = r"(?:balanced_accuracy|macro_f1)$"


def text(found: Differences, *, markdown: bool = False) -> str:
    """A table of the settings, one for each metrics file, and what the tests are.

    A folder has a column of values, one of their 95 % intervals if there are any, and, but for the
    first folder, one of p. Where classes have equally many images, the figures in which each class
    counts alike are left out: accuracy says it all.
    """
    folders, rows = list(found.lacking), found.rows
    if not summary.unbalanced({"imbalance_ratio": found.imbalance}):
        rows = rows[~rows["what"].str.contains(_ALIKE)]
    rows = rows.assign(part=[what.partition(": ")[0] for what in rows["what"]])
    draw = _markdown if markdown else _aligned
    parts = [
        f"{'### ' if markdown else ''}{part}\n{draw(_table(mine, folders))}"
        for part, mine in rows.groupby("part", sort=False)
    ]
    return "\n\n".join([*(parts or ["No setting and no figure differs."]), *_notes(found)])


def write_csv(path: str, found: Differences) -> None:
    """Write the rows of what differs as CSV."""
    try:
        artifacts.write_text(path, found.rows.to_csv(index=False))
    except OSError as error:
        raise InputError(
            f"{path} can't be written ({error.strerror}); give another file with --csv."
        ) from error


def _table(rows: pd.DataFrame, folders: list[str]) -> list[list[str]]:
    """The cells of a part; the first row has the names of the columns, and no column is empty."""
    lines = []
    for what, mine in rows.groupby("what", sort=False):
        name = what.partition(": ")[2].removeprefix("precisions.")
        row = [name]
        values = _values(name, mine)
        for folder in folders:
            row += _cells(mine[mine["folder"] == folder], values)
        lines.append(row)
    heads = [name for folder in folders for name in (folder, "95 %", "p")]
    columns = zip(["", *heads], *lines, strict=True)
    shown = [
        column
        for place, column in enumerate(columns)
        if place == 0 or column[0] in folders or any(column[1:])
    ]
    return [list(row) for row in zip(*shown, strict=True)]


def _values(name: str, rows: pd.DataFrame) -> dict[str, str]:
    """The value of each folder as text, all with the same number of digits."""
    values = dict(zip(rows["folder"], rows["value"], strict=True))
    if any(isinstance(value, str) for value in values.values()):
        return values
    if _SHARE.search(name):
        return {folder: f"{100 * value:.2f} %" for folder, value in values.items()}
    whole = all(value == round(value) or value >= 1000 for value in values.values())
    return {folder: f"{value:,.{0 if whole else 3}f}" for folder, value in values.items()}


def _cells(row: pd.DataFrame, values: dict[str, str]) -> tuple[str, str, str]:
    """Value, interval and p of a folder; the value is "-" where the folder has none."""
    if row.empty:
        return "-", "", ""
    (one,) = row.itertuples()
    interval = "" if pd.isna(one.low) else f"{100 * one.low:.2f} to {100 * one.high:.2f}"
    p = "" if pd.isna(one.p) else "<0.0001" if one.p < 0.0001 else f"{one.p:.4f}"
    return values[one.folder], interval, p if pd.isna(one.not_tested) else "not tested"


def _aligned(table: list[list[str]]) -> str:
    """Columns for a terminal, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def _markdown(table: list[list[str]]) -> str:
    """A table of Markdown; a bar in a cell is escaped."""
    first, *others = [[cell.replace("|", r"\|") for cell in row] for row in table]
    rule = ["---", *["---:"] * (len(first) - 1)]
    return "\n" + "\n".join(f"| {' | '.join(row)} |" for row in (first, rule, *others))


def _notes(found: Differences) -> list[str]:
    """What the tests are, why some were not made, and what a folder lacks."""
    baseline, rows = next(iter(found.lacking)), found.rows
    notes = []
    if rows["p"].notna().any():
        notes.append(
            f"p: exact two-sided McNemar test against {baseline} on the same test images; of "
            "several seeds the smallest p, adjusted for their number (Holm)."
        )
    untested = rows.dropna(subset="not_tested")
    for folder, reason in dict.fromkeys(
        zip(untested["folder"], untested["not_tested"], strict=True)
    ):
        notes.append(f"{folder} is not tested against {baseline}: {reason}.")
    for folder, files in found.lacking.items():
        if files:
            more = f" and {len(files) - 4} others" if len(files) > 4 else ""
            notes.append(f"{folder} lacks {', '.join(files[:4])}{more}, which others have.")
    return notes
