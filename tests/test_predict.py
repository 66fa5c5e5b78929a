"""`treehead predict`: the pictures that it finds, what it says of them, and its errors."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import deployed
import numpy as np
import pytest
from own import encoded

from treehead.__main__ import main
from treehead.artifacts import InputError, sha256
from treehead.deploy import prediction
from treehead.deploy.model import About

ROOT = str(Path(__file__).parents[1])
ABOUT = About(
    classes=["red", "green", "blue"],
    parents=["warm", "cold"],
    parent_of=[0, 1, 1],
    image_size=4,
    resize="crop",
    head={"name": "linear", "module": "linear", "precision": "float32", "seed": 0},
    temperature=1.0,
    hashes={"backbone": "0" * 64, "head": "1" * 64},
)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A classifier's file; the working folder is empty."""
    deployed.classifier(tmp_path / "classifier.onnx", ABOUT)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return str(tmp_path / "classifier.onnx")


def picture(path: str | bytes, colour: int = 0) -> None:
    """A file of one colour: 0 is red, 1 green, 2 blue."""
    with open(path, "wb") as file:
        file.write(encoded(np.full((4, 4, 3), 255 * np.eye(3, dtype=np.uint8)[colour])))


def listing(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Give a list on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def told(capsys: pytest.CaptureFixture) -> list[dict]:
    """The lines of JSON that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_picture_gets_the_probabilities_of_its_colour(model: str, capsys):
    for colour, name in enumerate(ABOUT.classes):
        picture(f"{name}.png", colour)
    assert main(["predict", model, ".", "--json=-", "--top=2"]) == 0
    for row in told(capsys):
        first, second = row["classes"]
        assert row["picture"] == f"{first['class']}.png"
        assert first["parent"] == ("warm" if first["class"] == "red" else "cold")
        assert first["probability"] > 0.9 > second["probability"]


def test_paths_folders_and_patterns_name_pictures_each_once(model: str):
    for name in ("b.png", "a.JPG", "deep/c.webp", "notes.txt", "d[1].png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    found = [Path("b.png"), Path("a.JPG"), Path("d[1].png"), Path("deep/c.webp")]
    assert prediction.found(["b.png", "."]) == found
    assert prediction.found(["**/*.webp", "notes.txt"]) == [Path("deep/c.webp"), Path("notes.txt")]
    assert prediction.found(["b.png"], ["gone.png", "deep"]) == [
        *map(Path, ("b.png", "gone.png", "deep/c.webp"))
    ]
    assert prediction.found(["d[1].png"]) == [Path("d[1].png")]
    with pytest.raises(InputError, match=r"none\.png names no file"):
        prediction.found(["none.png"])
    with pytest.raises(InputError, match="No picture is given"):
        prediction.found([])
    Path("empty").mkdir()
    with pytest.raises(InputError, match="empty has no picture in it"):
        prediction.found(["empty"])


@pytest.mark.parametrize(
    "data", [b"b c.png\na.png\n", b"b c.png\r\n\r\na.png", b"b c.png\0a.png\0"]
)
def test_a_list_has_a_path_a_line_or_those_of_find_print0(data: bytes):
    assert prediction.listed(data) == ["b c.png", "a.png"]


@pytest.mark.fault("a picture is gone when it is predicted", "a row says so")
def test_a_listed_file_that_is_gone_is_a_row_with_its_reason(model: str, monkeypatch, capsys):
    picture("here.png")
    listing(monkeypatch, f"gone.png\nhere.png\n{'x' * 300}\n".encode())
    assert main(["predict", model, "-", "--json=-"]) == 1
    gone, here, long = told(capsys)
    assert gone == {"picture": "gone.png", "reason": "No such file or directory"}
    assert here["classes"][0]["class"] == "red"
    assert long["reason"] == "File name too long"


@pytest.mark.fault("all pictures to predict are broken", "rows with reasons, and one sentence")
def test_pictures_that_are_all_broken_are_rows_and_one_sentence(model: str, capsys):
    for name in ("a.png", "b.png"):
        Path(name).write_text("no picture")
    assert main(["predict", model, ".", "--csv=rows.csv"]) == 1
    rows = list(csv.DictReader(Path("rows.csv").read_text().splitlines()))
    assert [row["picture"] for row in rows] == ["a.png", "b.png"]
    assert {row["reason"] for row in rows} == {"not a picture: text"}
    assert capsys.readouterr().err == "2 of 2 pictures can't be read; their rows say why.\n"


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_a_name_of_any_bytes_is_written_in_utf_8(model: str, form: str):
    """One that is not UTF-8 with its bytes escaped, from which JSON gives the name back."""
    names = ["грибы.png".encode(), b"caf\xe9.png"]
    for name in names:
        picture(name)
    assert main(["predict", model, ".", f"{form}=rows", "--top=1"]) == 0
    text = Path("rows").read_text(encoding="utf-8")
    assert "грибы.png" in text
    assert "caf\\udce9.png" in text
    if form == "--json":
        found = [json.loads(line)["picture"] for line in text.splitlines()]
        assert sorted(map(os.fsencode, found)) == sorted(names)


def test_a_terminal_that_has_no_such_letters_gets_them_escaped(model: str):
    picture("грибы.png")
    done = subprocess.run(
        [sys.executable, "-m", "treehead", "predict", model, ".", "--top=1"],
        env=os.environ
        | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"\\u0433\\u0440")


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (".", ". is a folder; give a file to write."),
        ("red.png/rows.csv", "red.png/rows.csv can't be written (File exists); give another"),
    ],
)
@pytest.mark.fault("a table of predictions that can't be written", "one sentence")
def test_a_table_that_cannot_be_written_is_told(model: str, file: str, sentence: str, capsys):
    picture("red.png")
    assert main(["predict", model, "red.png", f"--csv={file}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {sentence}")
    assert error.count("\n") == 1


def results(folder: Path, *files: str) -> Path:
    """A results folder with classifiers, each with its file as the name of its head."""
    for file in files:
        deployed.classifier(folder / file, ABOUT, head=ABOUT.head | {"name": file})
    return folder


def test_of_a_results_folder_the_int8_classifier_is_taken_if_only_that_is_there(tmp_path: Path):
    whole, int8 = prediction.FILES
    folder = results(tmp_path, whole, int8)
    assert prediction.opened(folder).about.head["name"] == whole
    assert prediction.opened(folder / int8).about.head["name"] == int8
    (folder / whole).unlink()
    assert prediction.opened(folder).about.head["name"] == int8


@pytest.mark.parametrize("file", prediction.FILES)
@pytest.mark.fault("a classifier of another backbone than its folder's", "one sentence")
def test_a_classifier_of_another_backbone_than_its_folder_has_is_told(tmp_path: Path, file: str):
    folder = results(tmp_path / "results", file)
    own = {prediction.FILES[1]: "int8/backbone/weights.safetensors"}
    part = own.get(file, "backbone/weights.safetensors")
    weights = folder / part
    weights.parent.mkdir(parents=True)
    weights.touch()
    with pytest.raises(InputError) as error:
        prediction.opened(folder)
    assert str(error.value) == (
        f"{folder / file} was made of another {part}; make it again with "
        f"`snakemake --cores 4 {folder / file} --configfile CONFIG.yaml`."
    )
    digests = ABOUT.hashes | {"backbone": sha256(weights)}
    deployed.classifier(folder / file, ABOUT, hashes=digests)
    assert prediction.opened(folder).about.hashes == digests


def test_an_unfinished_folder_is_told_what_makes_its_classifier(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("results: results/mine")
    with pytest.raises(InputError) as error:
        prediction.opened(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} has no deploy/classifier.onnx; make it with `snakemake --cores 4 "
        f"results/mine/deploy/classifier.onnx --configfile {tmp_path}/config.yaml`."
    )


def test_the_command_loads_no_library_that_it_does_not_need(model: str):
    picture("red.png")
    program = (
        "import sys; from treehead.__main__ import main\n"
        f"assert main(['predict', {model!r}, '.', '--csv=rows.csv']) == 0\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "pandas", "scipy", "onnx", "matplotlib"} & set(done.stdout.split())
