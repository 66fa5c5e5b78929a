"""Write docs/reliability.md from the JUnit files of the fault suite: `make faults`.

A test that is marked `fault(what, promise)` is a row; what it records as `happened` is a part of
it. Of a test that is in several files, as after one more run of some tests, the last one counts.
"""

import os
import platform
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs/reliability.md"
INTRODUCTION = """\
# Reliability

Each row is a fault that a test causes, what treehead promises for it, and what happened when it
last ran. This writes the page:

    make faults

Parts of it may run apart, and the page be written of all of them; what did not run has no row:

    pytest -m fault -o "norecursedirs=.*" --junitxml=part.xml tests/faults/test_writes.py
    python tests/reliability.py whole.xml part.xml

A sentence is one error line that names the
file, key or row and the remedy; there is no traceback then. "Same bytes" are those of each file
from the images to the metrics of a run that nothing disturbed. A test of several cases has as many
as are stated; with FAULTS="--interruptions=5 --mutations=100" there are fewer. The tests run
Snakemake, its jobs and the libraries as they are, on the whole graph with few small images.
"""


class Case(NamedTuple):
    """A test case: the row that it belongs to, what it recorded, and its outcome."""

    fault: str
    promise: str
    test: str
    happened: str
    outcome: str


def main(files: list[str]) -> int:
    """Write the page; 1 if a promise was broken."""
    cases = list({key: case for file in files for key, case in _cases(file)}.values())
    rows: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        rows.setdefault(case[:3], []).append(case)
    outcomes = [case.outcome for case in cases]
    lines = [
        INTRODUCTION,
        f"{len(rows)} faults, {len(cases)} cases: {_counted(outcomes)}. "
        f"Linux {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
        "| fault | promise | what happened | test |",
        "|---|---|---|---|",
        *(
            f"| {fault} | {promise} | {_happened(cases)} | `{test}` |"
            for (fault, promise, test), cases in sorted(rows.items(), key=lambda row: row[0][2])
        ),
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{PAGE.name}: {len(rows)} faults, {_counted(outcomes)}")
    return int("broken" in outcomes)


def _cases(file: str) -> Iterable[tuple[str, Case]]:
    """The cases of faults in a JUnit file, by the name of the test and its parameters."""
    for test in ET.parse(file).iter("testcase"):
        told = {each.get("name"): each.get("value") for each in test.iter("property")}
        if "fault" not in told:
            continue
        kinds = {"failure": "broken", "error": "broken", "skipped": "skipped"}
        outcome = next((kinds[part.tag] for part in test if part.tag in kinds), "kept")
        name = test.get("name")
        place = f"{test.get('classname').rpartition('.')[2]}.py::{name.partition('[')[0]}"
        happened = told.get("happened", "")
        yield place + name, Case(told["fault"], told["promise"], place, happened, outcome)


def _happened(cases: list[Case]) -> str:
    """How many cases kept the promise, and what they recorded."""
    outcomes = [case.outcome for case in cases]
    records = dict.fromkeys(case.happened for case in cases if case.happened)
    return "; ".join([_counted(outcomes), *records])


def _counted(outcomes: list[str]) -> str:
    """ "kept 5 of 6, skipped 1": what was broken stands first, in bold."""
    count = {kind: outcomes.count(kind) for kind in ("broken", "kept", "skipped")}
    words = [f"**broken {count['broken']}**"] * bool(count["broken"])
    words.append(f"kept {count['kept']} of {len(outcomes)}")
    words += [f"skipped {count['skipped']}"] * bool(count["skipped"])
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
