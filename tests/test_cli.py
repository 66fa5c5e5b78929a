"""The command `treehead`: what it shows of results, and how it answers a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from treehead import __main__ as cli
from treehead.evaluation import comparison

METRICS = {
    "dataset": {"name": "demo100", "note": "drawn images"},
    "n_test": 2500,
    "accuracy": 0.6125,
    "accuracy_ci95": [0.6, 0.63],
    "macs": 7932,
    "top_k": {"2": {"accuracy": 0.65, "macs": 9000}},
    "flat": {"accuracy": 0.7, "macs": 34400},
    "parent_accuracy": 0.8,
    "child_given_true_parent": 0.75,
}


COST = {"macs": 4000.5, "macs_worst": 9000.0, "bytes": 8000, "parameters": 70}
CHOSEN = {
    "head": "tree",
    "precision": "int4",
    "file": "heads/tree/packed/int4-3.bin",
    "by": "bytes",
    "margin": 0.005,
    "at_most": {"bytes": 20000},
    "val": {"n": 296, "standard_error": 0.01, "accuracy": 0.7, "full": 0.704, "difference": -0.004},
    "test": {"n": 2485, "accuracy": 0.65, "full": 0.66, "difference": -0.01},
    "cost": COST,
    "ratio": dict.fromkeys(COST, 0.25),
    "size": 0.25,
    "full": {"head": "linear", "precision": "float32", "cost": COST | {"bytes": 32000}},
    "alternatives": [{"head": "mlp", "precision": "int8", "size": 0.5}],
}
CHOSEN["val"]["file_accuracy"] = 0.71
CHOSEN["test"]["file_accuracy"] = 0.645


def heads() -> pd.DataFrame:
    """A comparison of the full head, a cheaper one that loses, and one that does not."""
    frame = pd.DataFrame({"head": ["linear", "tree", "shortlist"]})
    frame[comparison.COLUMNS[1:]] = 1.0
    frame["precision"] = "float32"
    frame["setting"] = "float32"
    frame["accuracy_mean"] = [0.74, 0.6, 0.73]
    frame["macs_mean"] = [34400.0, 4000.0, 9000.0]
    frame["p_value"] = [1.0, 0.001, 0.4]
    return frame


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with all that is shown, and other files."""
    folder = tmp_path / "results"
    (folder / "hierarchy100").mkdir(parents=True)
    (folder / "hierarchy100" / "metrics.json").write_text(json.dumps(METRICS))
    heads().to_csv(folder / "pareto.csv", index=False)
    networks = {"network": ["flat", "joint"], "accuracy": [0.5, 0.6125], "macs": [1, 2]}
    pd.DataFrame(networks).to_csv(folder / "networks.csv", index=False)
    (folder / "pareto.svg").write_text("<svg/>")
    (folder / "chosen.json").write_text(json.dumps(CHOSEN))
    return folder


def test_a_metrics_file_is_shown_as_a_table(results: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["show", str(results / "hierarchy100" / "metrics.json")]) == 0
    told = capsys.readouterr().out
    assert "demo100: drawn images; 2,500 test images" in told
    assert "61.25 % (60.00 to 63.00)" in told
    assert "34,400" in told


def test_classes_of_unequal_size_are_shown_with_figures_in_which_each_counts_alike(
    results: Path, capsys: pytest.CaptureFixture
):
    """And not those of equal size, where accuracy says it all."""
    alike = {"balanced_accuracy": 0.4175, "macro_f1": 0.3825}
    metrics, table = results / "hierarchy100" / "metrics.json", results / "pareto.csv"
    networks = results / "networks.csv"
    for ratio, shown in ((1.5, False), (1.6, True)):
        measured = alike | {"imbalance_ratio": ratio}
        metrics.write_text(json.dumps(METRICS | measured))
        heads().assign(**measured).to_csv(table, index=False)
        pd.read_csv(networks).assign(**measured).to_csv(networks, index=False)
        for path in (metrics, table, networks):
            assert cli.main(["show", str(path)]) == 0
            told = capsys.readouterr().out
            for share in ("41.75 %", "38.25 %"):
                assert (share in told) == shown, (path, ratio)


def test_classes_that_need_a_look_are_named(results: Path, capsys: pytest.CaptureFixture):
    path = results / "hierarchy100" / "metrics.json"
    worst = {"class": "two\nlines", "support": 8, "recall": 0.125}
    worst |= {"most_confused_with": "Sour-Milk", "confused": 6}
    path.write_text(json.dumps(METRICS | {"worst_classes": [worst], "classes_without_images": 3}))
    assert cli.main(["show", str(path)]) == 0
    told = capsys.readouterr().out
    assert "2,500 test images; classes without one: 3\n" in told
    (row,) = (line.split() for line in told.splitlines() if "Sour-Milk" in line)
    assert row == ["two\\nlines", "12.5", "%", "8", "Sour-Milk", "(6)"]


def test_a_comparison_is_shown_as_records_and_frontier(
    results: Path, capsys: pytest.CaptureFixture
):
    assert cli.main(["show", str(results / "pareto.csv")]) == 0
    records, _, frontier = capsys.readouterr().out.partition("Frontier, by MACs")
    rows = {row.split("  ")[0]: row for row in records.splitlines()}
    assert "tree" in rows["most accurate at 7,932 MACs"]
    assert "shortlist" in rows["fewest MACs, no loss against linear"]
    assert [row.split()[0] for row in frontier.splitlines()[2:]] == ["tree", "shortlist", "linear"]
    assert "73.00 %" in frontier


def test_the_budget_says_which_head_is_the_best_compact_one(
    results: Path, capsys: pytest.CaptureFixture
):
    assert cli.main(["show", "--budget", "9000", str(results / "pareto.csv")]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if "at 9,000 MACs" in row]
    assert len(rows) == 1
    assert "shortlist" in rows[0]


def test_a_recommendation_is_shown_with_what_it_costs_and_loses(
    results: Path, capsys: pytest.CaptureFixture
):
    assert cli.main(["show", str(results / "chosen.json")]) == 0
    told = capsys.readouterr().out
    assert "Take heads/tree/packed/int4-3.bin" in told
    assert "lose at most 0.50 % on val and have at most 20,000 bytes, it is the smallest" in told
    rows = [row.split() for row in told.splitlines()]
    assert ["bytes", "8,000", "32,000", "25.00", "%"] in rows
    assert ["images", "296", "2,485"] in rows
    assert ["full", "head", "70.40", "%", "66.00", "%"] in rows
    assert "mlp (int8) 50.00 %" in told
    assert "val has 296 images: differences under 1.96 % are chance" in told


def test_a_margin_that_val_can_tell_needs_no_warning(results: Path, capsys: pytest.CaptureFixture):
    told = CHOSEN | {"by": {"macs": 1, "bytes": 0.5}, "margin": 0.02, "at_most": {}}
    (results / "chosen.json").write_text(json.dumps(told))
    assert cli.main(["show", str(results / "chosen.json")]) == 0
    shown = capsys.readouterr().out
    assert "smallest by 1 macs + 0.5 bytes, each as a share" in shown
    assert "chance" not in shown


def test_networks_are_shown_by_their_accuracies(results: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["show", str(results / "networks.csv")]) == 0
    told = capsys.readouterr().out
    assert "61.25 %" in told
    assert "macs" not in told


def test_a_folder_is_shown_as_what_it_holds(results: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["show", str(results)]) == 0
    told = capsys.readouterr().out
    assert told.index("chosen.json") < told.index("metrics.json")
    assert told.index("metrics.json") < told.index("pareto.csv") < told.index("networks.csv")
    (results / "pareto.csv").unlink()
    assert cli.main(["show", str(results)]) == 0
    assert "pareto.csv" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("nothing.json", None, "nothing.json can't be read (No such file or directory)"),
        ("nothing.csv", None, "nothing.csv can't be read (No such file or directory)"),
        ("figure.svg", "<svg/>", "figure.svg is not a table or metrics file"),
        ("broken.json", "{", "broken.json is not valid JSON"),
        ("list.json", "[1]", "list.json is not the metrics file of a hierarchy"),
        ("head.json", '{"head": "tree"}', "head.json is not the metrics file of a hierarchy"),
        ("half.json", '{"alternatives": []}', "half.json is not a whole recommendation"),
        ("empty.csv", "", "empty.csv is not a CSV file"),
        ("other.csv", "a,b\n1,2\n", "other.csv has no column head"),
        ("no_row.csv", heads()[:0].to_csv(), "no_row.csv has no row of the head linear"),
        ("one.csv", heads()[1:].to_csv(), "one.csv has no row of the head linear"),
        ("folder/other.txt", "", "folder holds no results that can be shown"),
    ],
)
def test_another_file_ends_in_one_sentence(
    name: str, text: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    path = tmp_path / name
    if text is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    given = path.parent if path.suffix == ".txt" else path
    assert cli.main(["show", str(given)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: ")
    assert sentence in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["shw"], ["show"], ["show", "--budget", "-1", "x"], ["results/pareto.csv"]]
)
def test_a_wrong_usage_has_an_exit_status_of_its_own(
    arguments: list[str], capsys: pytest.CaptureFixture
):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: treehead" in capsys.readouterr().err


def test_a_reader_may_close_the_pipe(results: Path):
    command = [sys.executable, "-m", "treehead", "show", str(results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_help_loads_no_heavy_library():
    program = (
        "import sys; from treehead.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "show" in done.stdout
    assert not {"torch", "pandas", "matplotlib", "scipy"} & set(done.stderr.split())
