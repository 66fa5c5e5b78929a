"""`treehead compare`: what differs between results, and tests on images proven to be the same."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from treehead import __main__ as cli
from treehead.evaluation import differences

FINE = np.arange(20) % 5
TEST = "resources/datasets/mine/test.parquet"


def answers(*wrong: int) -> np.ndarray:
    """Predictions that are right but for these images."""
    predicted = FINE.copy()
    predicted[list(wrong)] += 1
    return predicted


# The second is right where the first is wrong six times, and wrong where it is right once.
FIRST, SECOND = answers(0, 1, 2, 3, 4, 5, 19), answers(6, 19)
P = 16 / 128  # two-sided, of 7 images: 2 (1 + 7) / 2^7


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def predictions(path: Path, fine: np.ndarray = FINE, **columns: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"fine": fine, **columns}).to_parquet(path)


def run(folder: Path, predicted: np.ndarray, table: str = "a" * 64, **config: object) -> Path:
    """A results folder of a tree with these predictions on the test images of this table."""
    accuracy = float((predicted == FINE).mean())
    report = {"accuracy": accuracy, "accuracy_ci95": [accuracy - 0.1, accuracy + 0.1], "macs": 1000}
    report |= {"backbone": {"size": len(folder.name)}, "per_parent": [{"recall": accuracy}]}
    report |= {"config_sha256": folder.name, "input_sha256": {TEST: table}}
    write(folder / differences.METRICS, report)
    predictions(folder / "hierarchy100/predictions.parquet", predicted=predicted)
    (folder / "config.yaml").write_text(yaml.safe_dump({"results": str(folder)} | config))
    return folder


def head(folder: Path, name: str, seeds: dict[str, np.ndarray]) -> None:
    """A head of a run, with the predictions of each precision and seed."""
    accuracies = {
        precision: np.mean(
            [(seeds[key] == FINE).mean() for key in seeds if key.startswith(precision)]
        )
        for precision in {key.partition("-")[0] for key in seeds}
    }
    report = {"precisions": {p: {"accuracy": value} for p, value in accuracies.items()}}
    write(folder / f"heads/{name}/metrics.json", {"head": name} | report)
    predictions(folder / f"heads/{name}/predictions.parquet", **seeds)


def chosen(folder: Path, name: str, precision: str, seed: int, accuracy: float) -> None:
    about = {"head": name, "precision": precision, "seed": seed}
    test = {"file_accuracy": accuracy, "file_ci95": [accuracy - 0.1, accuracy + 0.1]}
    file = {"file": f"heads/{name}/packed/{precision}-{seed}.bin"}
    write(folder / "chosen.json", about | file | {"test": test, "alternatives": []})


def rows(*folders: Path) -> pd.DataFrame:
    """What differs, by what it is and folder."""
    found = differences.compare(list(folders)).rows
    return found.assign(folder=found["folder"].map(lambda path: Path(path).name)).set_index(
        ["what", "folder"]
    )


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return run(tmp_path / "a", FIRST, seed=0), run(tmp_path / "b", SECOND, seed=1)


def error(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    assert cli.main(["compare", *map(str, arguments)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("Error: ")


def test_settings_that_differ_are_shown_and_others_are_not(tmp_path: Path):
    first = run(tmp_path / "a", FIRST, seed=0, finetune={"epochs": 12, "crop": [1, 2], "mix": None})
    second = run(tmp_path / "b", FIRST, seed=0, finetune={"epochs": 9, "crop": [1, 3]})
    found = rows(first, second)["value"]
    assert found.to_dict() == {
        ("settings: finetune.crop", "a"): "[1, 2]",
        ("settings: finetune.crop", "b"): "[1, 3]",
        ("settings: finetune.epochs", "a"): "12",
        ("settings: finetune.epochs", "b"): "9",
        ("settings: finetune.mix", "a"): "null",
    }


def test_figures_that_differ_have_their_intervals_and_the_exact_p(two: tuple[Path, Path]):
    found = rows(*two)
    assert set(found.index.get_level_values(0)) == {"settings: seed", "hierarchy100: accuracy"}
    first, second = found.loc["hierarchy100: accuracy"].itertuples()
    assert (first.value, first.low, first.high) == pytest.approx((0.65, 0.55, 0.75))
    assert (second.value, second.low, second.high) == pytest.approx((0.9, 0.8, 1.0))
    assert pd.isna(first.p)
    assert second.p == pytest.approx(P)


def test_figures_that_only_rounding_tells_apart_are_equal(two: tuple[Path, Path]):
    for folder, macro in zip(two, (0.7236, 0.7236000000000002), strict=True):
        write(folder / "backbone/metrics.json", {"macro_f1": macro, "accuracy": len(folder.name)})
    assert not [what for what, _ in rows(*two).index if what.startswith("backbone")]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda b: run(b, SECOND, table="b" * 64),
            "the recorded tables of their test images differ",
        ),
        (
            lambda b: predictions(
                b / "hierarchy100/predictions.parquet", fine=FINE[::-1], predicted=SECOND
            ),
            "b/hierarchy100/predictions.parquet has other true labels than",
        ),
        (
            lambda b: (b / "hierarchy100/predictions.parquet").unlink(),
            "b/hierarchy100/predictions.parquet is missing",
        ),
        (
            lambda b: write(b / differences.METRICS, {"accuracy": 0.9}),
            "does not record the test images",
        ),
    ],
)
def test_images_that_are_not_proven_the_same_are_not_tested(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture, spoil, reason: str
):
    spoil(two[1])
    row = rows(*two).loc["hierarchy100: accuracy", "b"]
    assert pd.isna(row.p)
    assert reason in row.not_tested
    assert cli.main(["compare", *map(str, two)]) == 0
    told = capsys.readouterr().out
    assert "not tested" in told
    assert f"{two[1]} is not tested against {two[0]}: " in told
    assert reason in told


def test_a_head_is_not_tested_without_the_record_of_the_images(two: tuple[Path, Path]):
    for folder, predicted in zip(two, (FIRST, SECOND), strict=True):
        head(folder, "linear", {"int8-0": predicted})
    (two[1] / differences.METRICS).unlink()
    row = rows(*two).loc["heads/linear: precisions.int8.accuracy", "b"]
    assert row.not_tested.endswith(
        "hierarchy100/metrics.json, which records the test images, is missing"
    )


def test_of_several_seeds_the_smallest_p_counts_times_their_number(two: tuple[Path, Path]):
    head(two[0], "linear", {"int8-0": FIRST, "int8-1": FIRST, "int8-2": SECOND})
    head(two[1], "linear", {"int8-0": SECOND, "int8-1": FIRST, "int8-7": SECOND})
    row = rows(*two).loc["heads/linear: precisions.int8.accuracy", "b"]
    assert row.p == pytest.approx(2 * P)


def test_chosen_heads_of_different_kinds_are_tested_by_their_own_files(two: tuple[Path, Path]):
    head(two[0], "linear", {"float32-1": FIRST, "float32-10": SECOND})
    head(two[1], "tree", {"int4-2": FIRST, "int4-0": SECOND})
    chosen(two[0], "linear", "float32", 1, 0.65)
    chosen(two[1], "tree", "int4", 0, 0.9)
    found = rows(*two)
    assert found.loc["chosen: file", "b"].value == "heads/tree/packed/int4-0.bin"
    row = found.loc["chosen: test.file_accuracy", "b"]
    assert (row.low, row.high, row.p) == pytest.approx((0.8, 1.0, P))


def test_more_folders_are_tested_against_the_first(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
):
    third = run(tmp_path / "c", FIRST, seed=2)
    found = rows(*two, third)["p"]
    assert found["hierarchy100: accuracy", "b"] == pytest.approx(P)
    assert found["hierarchy100: accuracy", "c"] == 1
    assert cli.main(["compare", *map(str, (*two, third))]) == 0
    told = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in told if line.startswith("accuracy"))
    first, second = ["65.00", "%", "55.00", "to", "75.00"], ["90.00", "%", "80.00", "to", "100.00"]
    assert row == ["accuracy", *first, *second, "0.1250", *first, "1.0000"]


def test_numbers_stand_in_columns(two: tuple[Path, Path], capsys: pytest.CaptureFixture):
    for folder, macs in zip(two, (900, 16064.3), strict=True):
        write(folder / "backbone/metrics.json", {"macs": macs, "accuracy": macs / 20000})
    assert cli.main(["compare", *map(str, two)]) == 0
    told = capsys.readouterr().out.partition("backbone\n")[2].split("\n\n")[0].splitlines()
    assert [line.split()[-1] for line in told[1:]] == ["16,064", "%"]
    assert len({len(line) for line in told}) == 1


def test_classes_of_unequal_size_are_compared_by_figures_in_which_each_counts_alike(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture
):
    """And those of equal size are not, but in the CSV."""
    for ratio, shown in ((1.5, False), (1.6, True)):
        for folder, macro in zip(two, (0.375, 0.625), strict=True):
            report = {"macro_f1": macro, "accuracy": macro, "imbalance_ratio": ratio}
            write(folder / "backbone/metrics.json", report)
        assert cli.main(["compare", *map(str, two)]) == 0
        assert ("macro_f1" in capsys.readouterr().out) == shown
        assert rows(*two).loc["backbone: macro_f1", "b"].value == 0.625


def test_the_rows_are_written_as_csv(two: tuple[Path, Path], tmp_path: Path):
    assert cli.main(["compare", *map(str, two), "--csv", str(tmp_path / "rows.csv")]) == 0
    table = pd.read_csv(tmp_path / "rows.csv")
    assert tuple(table.columns) == differences.COLUMNS
    assert table["what"].tolist() == ["settings: seed"] * 2 + ["hierarchy100: accuracy"] * 2
    assert table["folder"].tolist() == [str(folder) for folder in two] * 2
    assert float(table["value"][3]) == pytest.approx(0.9)
    assert table["p"][3] == pytest.approx(P)


def test_the_tables_are_markdown_with_bars_escaped(tmp_path: Path, capsys: pytest.CaptureFixture):
    two = run(tmp_path / "a", FIRST, name="x|y"), run(tmp_path / "b", FIRST, name="z")
    assert cli.main(["compare", *map(str, two), "--markdown"]) == 0
    table = f"|  | {two[0]} | {two[1]} |\n| --- | ---: | ---: |\n| name | x\\|y | z |"
    assert capsys.readouterr().out.strip() == f"### settings\n\n{table}"


def test_what_only_one_folder_has_is_told(two: tuple[Path, Path], capsys: pytest.CaptureFixture):
    head(two[0], "linear", {"int8-0": FIRST})
    (two[1] / "config.yaml").unlink()
    assert cli.main(["compare", *map(str, two)]) == 0
    told = capsys.readouterr().out
    assert f"{two[1]} lacks config.yaml, heads/linear/metrics.json, which others have." in told
    assert "settings" not in told


def test_equal_results_have_no_table(tmp_path: Path, capsys: pytest.CaptureFixture):
    two = run(tmp_path / "a", FIRST, seed=0), run(tmp_path / "b", FIRST, seed=0)
    assert cli.main(["compare", *map(str, two)]) == 0
    assert capsys.readouterr().out == "No setting and no figure differs.\n"


def test_an_unfinished_folder_is_an_error_with_the_command_that_finishes_it(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture
):
    (two[1] / differences.METRICS).unlink()
    (two[1] / "config.yaml").write_text("results: results/b\n")
    assert error(capsys, *two) == (
        f"{two[1]} is unfinished, it has no metrics; make them with `snakemake --cores 4 "
        f"results/b/hierarchy100/metrics.json --configfile {two[1]}/config.yaml`."
    )


def test_folders_with_nothing_in_common_are_an_error(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture
):
    head(two[1], "linear", {"int8-0": FIRST})
    (two[1] / differences.METRICS).unlink()
    told = error(capsys, *two)
    assert told.startswith("No two folders have a metrics file in common: ")
    assert f"{two[1]} has heads/linear/metrics.json" in told


def test_a_folder_twice_or_a_file_is_an_error(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture
):
    again = two[0] / "." / ".." / "a"
    assert error(capsys, two[0], again).endswith("is given twice; give another results folder.")
    file = two[0] / "config.yaml"
    assert error(capsys, two[0], file) == f"{file} is not a folder; give a results folder."


def test_a_choice_that_is_not_whole_is_an_error(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture
):
    write(two[1] / "chosen.json", {"head": "linear"})
    sentence = f"{two[1]}/chosen.json is not a whole recommendation; make it again."
    assert error(capsys, *two) == sentence


def test_a_csv_that_cannot_be_written_is_an_error(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture
):
    path = two[0] / "config.yaml" / "rows.csv"
    assert error(capsys, *two, "--csv", path).startswith(f"{path} can't be written (")


def test_a_broken_configuration_is_an_error(two: tuple[Path, Path], capsys: pytest.CaptureFixture):
    (two[1] / "config.yaml").write_text("results: [")
    assert error(capsys, *two).startswith(f"{two[1]}/config.yaml is not valid YAML (")
