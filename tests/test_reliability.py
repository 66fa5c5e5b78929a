"""The table of faults says what happened, the broken promises first."""

from pathlib import Path

import pytest
import reliability

CASE = """<testcase classname="tests.test_a" name="{name}"><properties>
<property name="fault" value="a disk is full"/><property name="promise" value="one sentence"/>
{happened}</properties>{outcome}</testcase>"""


def junit(path: Path, *cases: tuple[str, str, str]) -> str:
    """A JUnit file of cases: name, what happened, and the element of the outcome."""
    record = '<property name="happened" value="{}"/>'
    told = [
        CASE.format(name=name, happened=record.format(text) if text else "", outcome=outcome)
        for name, text, outcome in cases
    ]
    unmarked = '<testcase classname="tests.test_a" name="test_other"/>'
    path.write_text(f"<testsuites><testsuite>{''.join(told)}{unmarked}</testsuite></testsuites>")
    return str(path)


def test_a_row_counts_its_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    first = junit(tmp_path / "1.xml", ("test_x[1]", "9 calls", ""), ("test_x[2]", "", "<failure/>"))
    assert reliability.main([first]) == 1
    row = "| a disk is full | one sentence | {} | `test_a.py::test_x` |"
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert lines[-1] == row.format("**broken 1**, kept 1 of 2; 9 calls")
    again = junit(tmp_path / "2.xml", ("test_x[2]", "", ""), ("test_x[3]", "", "<skipped/>"))
    assert reliability.main([first, again]) == 0
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert lines[-1] == row.format("kept 2 of 3, skipped 1; 9 calls")
    assert any(line.startswith("1 faults, 3 cases: kept 2 of 3, skipped 1.") for line in lines)
