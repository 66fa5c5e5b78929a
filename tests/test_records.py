"""Each file knows its SHA-256, and those of the files that it was made from."""

import os
import re
from pathlib import Path

import pytest
from conftest import METRICS, ROOT, Project

from treehead import records
from treehead.__main__ import main
from treehead.artifacts import InputError

TEST = Path("results/embeddings/test.safetensors")


def make(name: str, text: str, *given: str) -> str:
    """A job that writes a text into a file."""
    with records.kept(given, [name]):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    return name


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file, as a disk may: its dates stay."""
    dates, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results in a folder with a space, made from data outside it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("one")
    make("data/train.npy", "images", "mine.csv")
    make("my results/features", "features", "data/train.npy")
    make("my results/heads/a/metrics.json", "metrics", "my results/features")
    return Path("my results")


@pytest.mark.fault(
    "a bit flips between two jobs", "the job that would read it ends in one sentence"
)
def test_a_job_does_not_read_what_changed_since_it_was_made(made: Path):
    flip(made / "features")
    with pytest.raises(InputError, match=r"my results/features changed since it was made; delete"):
        make("my results/b", "b", "my results/features")
    assert not (made / "b").exists()
    make("my results/features", "features", "data/train.npy")
    make("my results/b", "b", "my results/features")


def test_the_files_of_a_user_have_no_record_and_may_change(made: Path):
    make("data/train.npy", "images", "mine.csv")
    Path("mine.csv").write_text("two")
    make("data/train.npy", "images", "mine.csv")
    records.check(["mine.csv"])
    found = records.verify(made)
    assert (found.faults, found.edited, found.unknown) == ({}, [], [])
    Path("mine.csv").write_text("three")
    found = records.verify(made)
    assert (found.faults, found.edited) == ({}, [Path("mine.csv").resolve()])


@pytest.mark.fault("a bit flips in the data of results", "`treehead verify` names the file")
def test_verify_checks_a_folder_and_what_it_was_made_from(made: Path):
    assert len(records.verify(made).files) == 3
    flip(Path("data/train.npy"))
    faults = records.verify(made).faults
    assert list(faults) == [Path("data/train.npy").resolve()]


@pytest.mark.fault(
    "a file is replaced by that of another run",
    "`treehead verify` names what was made from the old one",
)
def test_verify_tells_a_file_that_was_made_from_another_than_is_there_now(made: Path):
    make("my results/features", "other features", "data/train.npy")
    (fault,) = records.verify(made).faults.values()
    assert fault == (
        "my results/heads/a/metrics.json was made from another my results/features than is there "
        "now; delete it, and make it again with `snakemake --cores 4 "
        "'my results/heads/a/metrics.json'` and the configuration of its run."
    )


def test_a_deleted_file_is_told_and_no_fault(made: Path, capsys: pytest.CaptureFixture):
    (made / "features").unlink()
    found = records.verify(made)
    assert (len(found.files), found.faults) == (2, {})
    assert found.absent == [(made / "features").resolve()]
    assert main(["verify", str(made)]) == 0
    assert "Read by a job, and there no more: my results/features.\n" in capsys.readouterr().out


@pytest.mark.fault(
    "results are moved to a long path with umlauts, and linked to",
    "`treehead verify` finds all as it was made",
)
def test_results_can_be_moved_and_linked_to(made: Path):
    folder = Path("elsewhere/ümläut " + "x" * 100)
    folder.mkdir(parents=True)
    for name in ("data", "my results"):
        Path(name).rename(folder / name)
    Path("link").symlink_to(folder / "my results")
    for place in (folder / "my results", Path("link")):
        assert len(records.verify(place).files) == 3
        assert records.verify(place).faults == {}


@pytest.mark.fault(
    "a file is moved to another disk and linked to, and a bit flips",
    "`treehead verify` names the file",
)
def test_a_file_that_is_a_link_is_checked(made: Path):
    (made / "features").rename("elsewhere")
    (made / "features").symlink_to(Path("elsewhere").resolve())
    found = records.verify(made)
    assert (len(found.files), found.faults, found.unknown) == (3, {}, [])
    flip(Path("elsewhere"))
    assert list(records.verify(made).faults) == [made.resolve() / "features"]


def test_files_without_a_record_are_named(made: Path, capsys: pytest.CaptureFixture):
    (made / "notes.txt").write_text("mine")
    for name in ("logs/job.log", "benchmarks/job.tsv", "backbone/unfinished-0123.pt"):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).touch()
    assert main(["verify", str(made)]) == 0
    assert capsys.readouterr().out == (
        "No record, so not checked: my results/notes.txt.\n"
        "my results: 3 of 3 files are as they were made.\n"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sha256": 3, "inputs": {}}', "[" * 10**5])
@pytest.mark.fault("the record of a file is damaged", "one sentence")
def test_a_damaged_record_is_one_sentence(made: Path, content: str):
    (made / ".made/features.json").write_text(content)
    sentence = (
        "my results/.made/features.json, the record of my results/features, is damaged; delete "
        "both, and make the file again with `snakemake --cores 4 'my results/features'` and the "
        "configuration of its run."
    )
    with pytest.raises(InputError) as error:
        records.check([made / "features"])
    assert str(error.value) == sentence
    assert records.verify(made).faults == {(made / "features").resolve(): sentence}


@pytest.mark.fault(
    "a bit flips in a record, each bit in turn", "one sentence; what it says is never taken as true"
)
def test_each_flipped_bit_of_a_record_is_told(made: Path, record_property):
    place = made / ".made/features.json"
    whole = place.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        place.write_bytes(changed)
        with pytest.raises(InputError, match="the record of my results/features, is damaged"):
            records.check([made / "features"])
    record_property("happened", f"{8 * len(whole):,} bits")


@pytest.mark.fault(
    "a record is lost, and a bit flips in its file",
    "`treehead verify` names the file, by the records of what was made from it",
)
def test_a_file_without_its_record_is_checked_by_those_of_others(made: Path):
    for place in (Path("data/.made/train.npy.json"), made / ".made/features.json"):
        place.unlink()
    found = records.verify(made)
    assert (len(found.files), found.faults, found.unknown) == (2, {}, [])
    flip(made / "features")
    assert list(records.verify(made).faults) == [(made / "features").resolve()]


@pytest.mark.fault("two files are exchanged, with their records", "one sentence")
def test_the_record_of_another_file_is_told(made: Path):
    make("my results/b", "b")
    for one, other in (("features", "b"), (".made/features.json", ".made/b.json")):
        (made / one).rename(made / "aside")
        (made / other).rename(made / one)
        (made / "aside").rename(made / other)
    assert {path.name for path in records.verify(made).faults} == {"features", "b"}
    with pytest.raises(InputError, match="the record of my results/b, is damaged"):
        make("my results/c", "c", "my results/b")


@pytest.mark.fault(
    "an input is written again while a job reads it", "one sentence, and no record of the output"
)
def test_an_input_that_changes_while_a_job_reads_it_is_told(made: Path):
    for name, change in {
        "my results/features": lambda: make("my results/features", "new"),
        "mine.csv": lambda: Path("mine.csv").write_text("another"),
        "data/train.npy": Path("data/train.npy").unlink,
    }.items():
        job = records.kept([name], ["my results/b"])
        job.__enter__()
        (made / "b").write_text("of the old one")
        change()
        with pytest.raises(InputError, match=f"{name} changed while a job read it; run the same"):
            job.__exit__(None, None, None)
        assert not (made / ".made/b.json").exists()


def test_an_input_that_is_touched_while_a_job_reads_it_is_as_it_was(made: Path):
    with records.kept(["mine.csv"], ["my results/b"]):
        (made / "b").write_text("b")
        os.utime("mine.csv", (0, 0))
    assert records.verify(made).faults == {}


def test_the_half_files_of_a_killed_job_are_removed(made: Path):
    halves = [made / ".features.abcdefg1.part", made / ".made/.features.json.abcdefg1.part"]
    others = [made / ".features.csv.abcdefg1.part"]
    for path in (*halves, *others):
        path.touch()
    make("my results/features", "features", "data/train.npy")
    assert [path.exists() for path in (*halves, *others)] == [False, False, True]


def test_a_folder_without_records_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["verify", str(tmp_path)]) == 1
    assert "has no files with a record; give the results of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem
)
def test_each_job_checks_and_records(script: Path):
    text = script.read_text()
    job = "with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output"
    assert text.count(f"{job}):") + text.count(f"{job}, by_row):") == 1
    # Only these check each image that they read.
    reads_images = re.search(r"dataset\.(part|pixels)\(|from_files\(|on_test\(", text)
    assert ("by_row = " in text) == bool(reads_images)
    assert "Pixels(" not in text


def kind(path: Path) -> str:
    """What a file is, whichever parent, head, precision or seed it is of."""
    text = re.sub(r"(heads)/[^/]+/", r"\1/*/", path.as_posix())
    return re.sub(r"(children|reduced|packed)/[\w]+?(-\d)?([_.])", r"\1/*\3", text)


@pytest.mark.fault("a bit flips in each kind of file of a run", "`treehead verify` names each file")
def test_a_flipped_bit_is_told_for_each_kind_of_file(
    compared: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    project = compared.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    whole = records.verify("results")
    assert (whole.faults, whole.unknown) == ({}, [])
    kinds = {kind(path.relative_to(project.folder)): path for path in whole.files}
    assert len(kinds) >= 40
    for path in kinds.values():
        flip(path)
    assert main(["verify", "results"]) == 1
    told = capsys.readouterr().out
    for path in kinds.values():
        assert f"{path.relative_to(project.folder)} changed since it was made" in told
    assert f"{len(whole.files) - len(kinds)} of {len(whole.files)} files are as they were" in told


@pytest.mark.fault(
    "a bit flips in embeddings",
    "the run ends in one sentence, and its remedy leads to the same bytes",
)
def test_a_run_tells_a_flipped_bit_and_makes_the_file_again(project: Project):
    before = {path: (project.folder / path).read_bytes() for path in (TEST, Path(METRICS))}
    flip(project.folder / TEST)
    (project.folder / METRICS).unlink()
    failed = project.snakemake("--cores=1", "--", METRICS)
    assert failed.returncode == 1
    assert f"Error: {TEST} changed since it was made; delete it" in failed.stderr
    assert "Traceback" not in failed.stderr
    (project.folder / TEST).unlink()
    project.run(METRICS)
    assert {path: (project.folder / path).read_bytes() for path in before} == before


@pytest.mark.fault(
    "a bit flips in embeddings that no file to be made needs",
    "the remedy of `treehead verify` leads to the same bytes",
)
def test_the_remedy_of_verify_makes_a_file_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(project.folder)
    before = TEST.read_bytes()
    flip(TEST)
    project.run(METRICS)  # nothing to be done: the figures are there
    assert TEST.read_bytes() != before
    assert main(["verify", "results"]) == 1
    remedy = re.search(
        r"delete it, and make it again with `snakemake (.*?)`", capsys.readouterr().out
    )
    TEST.unlink()
    assert project.snakemake(*remedy[1].split()).returncode == 0
    assert TEST.read_bytes() == before
    assert main(["verify", "results"]) == 0


@pytest.mark.parametrize(
    ("file", "command"),
    [
        (METRICS, ["show", "results"]),
        ("results/deploy/classifier.onnx", ["predict", "results", "pictures"]),
        ("results/heads/linear/metrics.json", ["compare", "results", "results/networks"]),
        (METRICS, ["publish", "me/it"]),
        ("results/deploy/metrics.json", ["publish", "me/it"]),
        ("results/backbone/cost.json", ["publish", "me/it"]),
        ("results/config.yaml", ["publish", "me/it"]),
        ("resources/weights/*.json", ["publish", "me/it"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.fault("a bit flips in a file that a command reads", "one sentence")
def test_commands_tell_a_flipped_bit(
    file: str,
    command: list[str],
    compared: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    project = compared.copy(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    (path,) = Path().glob(file)
    flip(path)
    assert main(command) == 1
    told = capsys.readouterr().err
    assert f"Error: {path} changed since it was made" in told
    path.unlink()
    assert main(command) in (0, 1)
    assert capsys.readouterr().err.count("\n") <= 1
