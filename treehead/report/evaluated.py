"""The evaluation of a classifier on labelled pictures, as text."""

from typing import Any

import pandas as pd

from treehead.evaluation import classes


def text(report: dict[str, Any], table: pd.DataFrame) -> str:
    """The shares of an evaluation, and its worst classes."""
    low, high = report["accuracy_ci95"]
    left_out = f", {report['broken']:,} broken ones left out" if report["broken"] else ""
    lines = [
        f"{report['n']:,} pictures{left_out}",
        f"accuracy {report['accuracy']:.2%} ({low:.2%} to {high:.2%}), balanced "
        f"{report['balanced_accuracy']:.2%}, macro-F1 {report['macro_f1']:.2%}",
    ]
    if worst := classes.worst(table):
        shown = pd.DataFrame(worst)[["class", "parent", "support", "recall", "most_confused_with"]]
        lines += ["", "Classes with the lowest recall", shown.to_string(index=False)]
    return "\n".join(lines)
