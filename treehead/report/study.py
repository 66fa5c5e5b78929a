"""The study's numbers beside ours, as a page."""

import pandas as pd


def page(table: pd.DataFrame, study: pd.DataFrame, defects: pd.DataFrame, title: str) -> str:
    """The page in Markdown.

    Args:
        table: the comparison of heads, as `comparison.table` gives it.
        study: its rows: `track`, `row`, `accuracy` in per cent, `macs`, the `head` of ours that
            answers it, if any, and the `reason` of the difference.
        defects: each `defect` of the study and the `test` that keeps it out.
        title: what the images are.
    """
    ours = table[table["precision"] == "float32"].set_index("head")
    rows = [_row(row, ours) for row in study.itertuples()]
    header = ["row", "study, %", "ours, %", "difference", "MACs", "ours", "why"]
    return "\n".join(
        [
            "# The study, row by row",
            "",
            f"{title}. Accuracy on test; ours is the mean and the deviation over seeds.",
            "",
            *_table(header, rows),
            "",
            "## Its defects, and the test that keeps each out",
            "",
            *_table(["defect", "test"], [[f"{d}", f"`{t}`"] for d, t in defects.to_numpy()]),
            "",
        ]
    )


def _row(row: tuple, ours: pd.DataFrame) -> list[str]:
    known = not pd.isna(row.accuracy)
    name = f"{row.row} ({row.track})"
    cells = [name, f"{row.accuracy:.2f}" if known else "-"]
    if row.head in ours.index:
        mine = ours.loc[row.head]
        accuracy, deviation = 100 * mine["accuracy_mean"], 100 * mine["accuracy_sd"]
        cells += [f"{accuracy:.2f} ± {deviation:.2f}"]
        cells += [f"{accuracy - row.accuracy:+.2f}" if known else "-"]
        cells += [f"{row.macs:,.0f}", f"`{row.head}`, {mine['macs_mean']:,.0f}"]
    else:
        cells += ["-", "-", f"{row.macs:,.0f}", "-"]
    return [*cells, row.reason]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
