"""The study's numbers beside ours, as a page."""

import pandas as pd


def page(table: pd.DataFrame, study: pd.DataFrame, defects: pd.DataFrame, title: str) -> str:
    """The page in Markdown.

    Args:
        table: the comparison of heads, as `comparison.table` gives it.
        study: its rows: `track`, `row`, `accuracy` in per cent, `macs`, our `head` to compare with,
            if any, and the `reason` of the difference.
        defects: each `defect` of the study and the `test` that keeps it out.
        title: what the images are.
    """
    ours = table[table["precision"] == table["precision"].iloc[0]].set_index("head")
    rows = [_row(row, ours) for _, row in study.iterrows()]
    kept_out = [[row["defect"], f"`{row['test']}`"] for _, row in defects.iterrows()]
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
            *_table(["defect", "test"], kept_out),
            "",
        ]
    )


def _row(row: pd.Series, ours: pd.DataFrame) -> list[str]:
    study, macs, head = row["accuracy"], f"{row['macs']:,.0f}", row["head"]
    known = not pd.isna(study)
    cells = [f"{row['row']} ({row['track']})", f"{study:.2f}" if known else "-"]
    if head in ours.index:
        mine = ours.loc[head]
        accuracy, deviation = 100 * mine["accuracy_mean"], 100 * mine["accuracy_sd"]
        cells += [f"{accuracy:.2f} ± {deviation:.2f}"]
        cells += [f"{accuracy - study:+.2f}" if known else "-"]
        cells += [macs, f"`{head}`, {mine['macs_mean']:,.0f}"]
    else:
        cells += ["-", "-", macs, "-"]
    return [*cells, row["reason"]]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
