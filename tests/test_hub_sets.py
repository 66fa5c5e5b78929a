"""Data sets of the hub: the real clients against a server of our own, in one process for most."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import COMMIT, Hub, serving
from PIL import Image

from treehead.config import provenance, settings
from treehead.data.catalog import Catalog

ROOT = Path(__file__).parents[1]
# Answers what a source holds, a line of JSON for each line of settings.
PROGRAM = """
import json, logging, sys
from treehead.artifacts import InputError
from treehead.data import catalog
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("treehead").addHandler(handler)
logging.getLogger("treehead").setLevel("INFO")
for line in sys.stdin:
    settings = json.loads(line)
    try:
        if "kept" in settings:
            known = catalog.known(settings, settings.pop("kept"), look=True)
            settings |= {"revision": known.revision, "configuration": known.configuration}
        source = catalog.opened(settings)
        contents = source.read(list(range(len(source.entries))))
        data = [c.hex() if isinstance(c, bytes) else c.read_bytes().hex() for c in contents]
        listing, found = catalog.listed(source, settings)
        places = [entry.place for entry in source.entries]
        answer = {"places": places, "data": data, "labels": listing.labels}
        answer |= {"parts": listing.parts, **found._asdict()}
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer | {"said": said}), flush=True)
    said.clear()
"""
SETTINGS = {"name": "mine", "configuration": None, "revision": None, "sha256": {}, "splits": {}}
SETTINGS |= {"columns": {}, "classes": None, "test_fraction": 0.5, "test_seed": 0}
Look = Callable[..., dict[str, Any]]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PETS = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serving(Hub({})) as served:
        yield served


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub_sets")


@contextmanager
def reader(hub: Hub, home: Path, **environment: str) -> Iterator[Look]:
    """A process that looks at one source after another; the libraries print nothing in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "HF_HOME": str(home / ".cache" / "hf"),
            "HF_ENDPOINT": hub.url,
            **environment,
        },
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def look(repo: str, **options: Any) -> dict[str, Any]:
        process.stdin.write(json.dumps(SETTINGS | {"source": repo} | options) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        yield look
    finally:
        _, printed = process.communicate(timeout=60)
    assert all(line.startswith(("Downloading ", "Reading ")) for line in printed.splitlines())


@pytest.fixture(scope="module")
def look(hub: Hub, home: Path) -> Iterator[Look]:
    with reader(hub, home) as started:
        yield started


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def table(columns: dict[str, list], features: dict[str, Any], kinds: dict[str, Any]) -> bytes:
    """A parquet file as `datasets` writes it."""
    stored = {"huggingface": json.dumps({"info": {"features": features}})}
    arrays = {name: pa.array(values, kinds.get(name)) for name, values in columns.items()}
    file = io.BytesIO()
    pq.write_table(pa.table(arrays).replace_schema_metadata(stored), file)
    return file.getvalue()


def pets(*rows: tuple[int, int], features: dict[str, Any] = PETS) -> bytes:
    """A parquet file with a picture of each shade and its label."""
    images = [{"bytes": png(shade), "path": None} for shade, _ in rows]
    columns = {"img": images, "label": [label for _, label in rows]}
    return table(columns, features, {"img": IMAGE})


def hold(hub: Hub, repo: str, files: dict[str, bytes]) -> None:
    hub.files |= {f"datasets/{repo}/{path}": content for path, content in files.items()}


def card(*configurations: str, default: str | None = None) -> bytes:
    """A card that says where the files of each configuration are."""
    described = [
        {
            "config_name": name,
            "data_files": [
                {"split": split, "path": f"{name}/{split}-*"} for split in ("train", "test")
            ],
        }
        | ({"default": True} if name == default else {})
        for name in configurations
    ]
    return f"---\nconfigs: {json.dumps(described)}\n---\n# A set\n".encode()


def two_splits(prefix: str, first: int) -> dict[str, bytes]:
    return {
        f"{prefix}/train-00000-of-00002.parquet": pets((first, 1), (first + 1, 0)),
        f"{prefix}/train-00001-of-00002.parquet": pets((first + 2, 0)),
        f"{prefix}/test-00000-of-00001.parquet": pets((first + 3, 1), (first + 4, 0)),
    }


def shades(*values: int) -> list[str]:
    return [png(value).hex() for value in values]


def test_a_set_of_several_shards_keeps_its_order_bytes_and_names(hub: Hub, look: Look):
    hold(hub, "ann/pets", two_splits("data", 10))
    found = look("ann/pets")
    assert found["data"] == shades(10, 11, 12, 13, 14)
    assert found["parts"] == ["train"] * 3 + ["test"] * 2
    assert found["names"] == ["dog", "cat"]
    assert found["labels"] == [1, 0, 0, 1, 0]
    places = [("train", 0), ("train", 1), ("train", 2), ("test", 0), ("test", 1)]
    assert found["places"] == [f"{split}, row {row}" for split, row in places]
    assert (found["revision"], found["configuration"]) == (COMMIT, "default")
    assert (found["files"], found["version"]) == ([], None)
    assert found["said"][0].startswith("Downloading 3 files of ann/pets")


def test_only_the_wanted_configuration_is_downloaded(hub: Hub, look: Look):
    files = {"README.md": card("small", "large", default="large")}
    hold(hub, "bob/pets", files | two_splits("small", 20) | two_splits("large", 30))
    assert look("bob/pets")["data"] == shades(30, 31, 32, 33, 34)
    assert not [one for one in hub.asked("GET") if "/bob/pets/" in one.path and "small" in one.path]
    small = look("bob/pets", configuration="small")
    assert (small["data"], small["configuration"]) == (shades(20, 21, 22, 23, 24), "small")
    again = look("bob/pets", revision=COMMIT)
    assert (again["data"], again["configuration"]) == (shades(30, 31, 32, 33, 34), "large")


def test_a_configuration_must_be_named_if_none_is_the_default(hub: Hub, look: Look):
    files = {"README.md": card("small", "large")} | two_splits("small", 1)
    hold(hub, "cat/pets", files | two_splits("large", 2))
    several = "has several configurations, small, large; set dataset.configuration"
    assert several in look("cat/pets")["error"]
    wrong = "cat/pets has no configuration huge, which dataset.configuration names; it has small"
    assert wrong in look("cat/pets", configuration="huge")["error"]


@pytest.mark.fault("the data set changes on the hub between two runs", "the first commit stays")
def test_the_first_commit_is_kept_while_the_branch_moves(hub: Hub, look: Look, home: Path):
    hold(hub, "eve/pets", {"train.parquet": pets((40, 0), (41, 1), (42, 0), (43, 1))})
    kept = str(home / "source.json")
    first = look("eve/pets", kept=kept)
    hub.past[COMMIT] = dict(hub.files)
    hold(hub, "eve/pets", {"train.parquet": pets((50, 0), (51, 1), (52, 0), (53, 1))})
    hub.commit = "2" * 40
    try:
        again = look("eve/pets", kept=kept)
        moved = look("eve/pets", kept=kept, revision="main")
    finally:
        hub.commit = COMMIT
    assert first["data"] == again["data"] == shades(40, 41, 42, 43)
    assert moved["data"] == shades(50, 51, 52, 53)
    assert [each["revision"] for each in (first, again, moved)] == [COMMIT, COMMIT, "2" * 40]


def test_every_job_reads_the_commit_and_configuration_of_the_catalog():
    dataset = {"source": "eve/pets", "classes": None, "configuration": None, "revision": "main"}
    config = {"dataset": dataset, "taxonomy": "superclass"}
    found = Catalog(("dog", "cat"), None, {}, configuration="default", revision=COMMIT)
    settings.complete(config, found)
    assert (dataset["configuration"], dataset["revision"]) == ("default", COMMIT)


def test_only_the_jobs_that_read_or_name_the_source_know_the_hub_of_data_sets():
    scripts = [str(path.relative_to(ROOT)) for path in (ROOT / "workflow/scripts").glob("*.py")]
    module = Path("treehead/data/sources/hub_sets.py")
    reaching = {s for s in scripts if module in provenance.reached_modules(s)}
    assert reaching == {"workflow/scripts/fetch_dataset.py", "workflow/scripts/write_card.py"}


def test_reading_the_configuration_of_local_data_imports_no_library_of_the_hub():
    program = "import sys; from treehead.config import settings, stages, sweeps, provenance; "
    program += "from treehead.data import catalog, taxonomy; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"datasets", "huggingface_hub", "httpx2", "fsspec", "pandas", "torch"}
    assert not heavy & set(done.stdout.split())


def test_without_a_test_a_part_of_train_is_set_aside_and_validation_is_val(hub: Hub, look: Look):
    rows = [(60 + n, n % 2) for n in range(8)]
    hold(hub, "fay/pets", {"train.parquet": pets(*rows), "validation.parquet": pets((70, 0))})
    assert look("fay/pets")["counts"] == {"train": 4, "val": 1, "test": 4}


def test_splits_are_named_by_the_setting_and_others_are_left_out(hub: Hub, look: Look):
    sets = ("fit", "holdout", "extra")
    files = [{"split": name, "path": f"{name}.parquet"} for name in sets]
    readme = f"---\nconfigs: {json.dumps([{'config_name': 'a', 'data_files': files}])}\n---\n"
    hold(hub, "gus/pets", {"README.md": readme.encode()})
    tables = zip(sets, (80, 90, 100), strict=True)
    hold(hub, "gus/pets", {f"{name}.parquet": pets((at, 0), (at + 1, 1)) for name, at in tables})
    assert "the splits fit, holdout, extra, none of which is called" in look("gus/pets")["error"]
    found = look("gus/pets", splits={"train": "fit", "test": "holdout"})
    assert found["data"] == shades(80, 81, 90, 91)
    assert found["parts"] == ["train", "train", "test", "test"]
    assert "the split extra is left out" in found["remarks"]
    absent = "has no split all, which dataset.splits names; its splits are fit, holdout, extra"
    assert absent in look("gus/pets", splits={"train": "all"})["error"]


def test_a_test_with_secret_labels_is_left_out(hub: Hub, look: Look):
    rows = [(110 + n, n % 2) for n in range(4)]
    hold(hub, "hal/pets", {"train.parquet": pets(*rows), "test.parquet": pets((120, -1))})
    found = look("hal/pets")
    assert found["counts"] == {"train": 2, "val": 0, "test": 2}
    assert "the split test has no labels and is left out" in found["remarks"]


def test_a_column_called_split_does_not_overrule_the_splits(hub: Hub, look: Look):
    images = [{"bytes": png(n), "path": None} for n in (1, 2)]
    columns = {"image": images, "label": ["dog", "cat"], "set": ["1999", "2001"]}
    content = table(columns, {}, {"image": IMAGE})
    hold(hub, "ida/pets", {"train.parquet": content, "test.parquet": content})
    assert look("ida/pets")["parts"] == ["train", "train", "test", "test"]


def test_folders_of_pictures_are_classes(hub: Hub, look: Look):
    names = {
        f"{split}/{name}/{n}.png": 130 + n
        for split in ("train", "test")
        for n, name in enumerate(("ape", "bee"))
    }
    hold(hub, "jan/zoo", {path: png(shade) for path, shade in names.items()})
    found = look("jan/zoo")
    assert found["names"] == ["ape", "bee"]
    assert found["data"] == shades(130, 131, 130, 131)
    assert found["parts"] == ["train", "train", "test", "test"]


def test_folders_of_unequal_depth_are_classes_too(hub: Hub, look: Look):
    names = ("ape", "insects/bee", "insects/small/ant")
    for split in ("train", "test"):
        pictures = {f"{split}/{name}/{n}.png": png(134 + n) for n, name in enumerate(names)}
        hold(hub, "jan/deep", pictures)
    found = look("jan/deep")
    assert found["names"] == ["ant", "ape", "bee"]
    assert {found["names"][label] for label in found["labels"][:3]} == {"ant", "ape", "bee"}
    by_shade = dict(zip(found["data"], found["labels"], strict=True))
    assert [by_shade[shade] for shade in shades(134, 135, 136)] == [1, 2, 0]


def test_zipped_folders_and_lists_of_pictures_are_read(hub: Hub, look: Look):
    for split in ("train", "test"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("ape/1.png", png(140))
            archive.writestr("bee/2.png", png(141))
        hold(hub, "kim/zoo", {f"{split}.zip": file.getvalue()})
        rows = "file_name,label\n1.png,ape\n2.png,bee\n"
        pictures = {f"{split}/1.png": png(142), f"{split}/2.png": png(143)}
        hold(hub, "kim/list", {f"{split}/metadata.csv": rows.encode()} | pictures)
    zipped, listed = look("kim/zoo"), look("kim/list")
    assert zipped["names"] == listed["names"] == ["ape", "bee"]
    assert zipped["data"] == shades(140, 141) * 2
    assert listed["data"] == shades(142, 143) * 2
    assert zipped["labels"] == listed["labels"] == [0, 1, 0, 1]


def test_an_archive_may_have_the_splits_inside(hub: Hub, look: Look):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for n, path in enumerate(("train/ape", "train/bee", "val/ape", "test/bee")):
            archive.writestr(f"zoo/{path}/1.png", png(144 + n))
    hold(hub, "kim/inside", {"zoo.zip": file.getvalue()})
    found = look("kim/inside")
    by_shade = dict(zip(found["data"], found["parts"], strict=True))
    parts = ["train", "train", "val", "test"]
    assert by_shade == dict(zip(shades(144, 145, 146, 147), parts, strict=True))


def test_a_webdataset_is_read(hub: Hub, look: Look):
    for split in ("train", "test"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for label, shade in enumerate((150, 151)):
                for suffix, content in (("png", png(shade)), ("cls", str(label).encode())):
                    member = tarfile.TarInfo(f"{label:03}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        hold(hub, "lea/zoo", {f"{split}-00000.tar": file.getvalue()})
    found = look("lea/zoo")
    assert found["data"] == shades(150, 151) * 2
    assert found["labels"] == [0, 1, 0, 1]


@pytest.mark.fault("a file of a hub's data set with another hash", "one sentence")
def test_a_file_with_another_hash_is_refused_before_it_is_read(hub: Hub, look: Look):
    files = {"train.parquet": pets((160, 0), (161, 1)), "test.parquet": pets((162, 0))}
    hold(hub, "max/pets", files)
    hashes = {
        path.partition(".")[0]: hashlib.sha256(data).hexdigest() for path, data in files.items()
    }
    refused = look("max/pets", sha256=hashes | {"test": "0" * 64})["error"]
    assert f"test.parquet of {hub.url}/datasets/max/pets at revision {COMMIT}" in refused
    assert f"has sha256 {hashes['test']}, not the expected {'0' * 64}" in refused
    assert look("max/pets", sha256=hashes)["data"] == shades(160, 161, 162)
    hold(hub, "zoe/pets", {f"train-{n}.parquet": pets((160 + n, 0)) for n in range(2)})
    shards = look("zoe/pets", sha256={"train": "0" * 64})["error"]
    assert "dataset.sha256.train is the hash of one file, but zoe/pets has 2" in shards


def test_a_set_without_images_is_refused_with_its_columns(hub: Hub, look: Look):
    words = {"text": {"_type": "Value", "dtype": "string"}, "label": PETS["label"]}
    content = table({"text": ["a", "b"], "label": [0, 1]}, words, {})
    hold(hub, "ned/words", {"train.parquet": content})
    assert (
        "ned/words has no column of images: its columns are text (string), label (ClassLabel)"
        in look("ned/words")["error"]
    )


def test_what_the_card_tells_is_not_downloaded_to_be_refused(hub: Hub, look: Look):
    info = {"features": [{"name": "text", "dtype": "string"}]}
    readme = f"---\ndataset_info: {json.dumps(info)}\n---\n"
    hold(hub, "ned/book", {"README.md": readme.encode(), "train.parquet": b"much"})
    assert "its columns are text (string)" in look("ned/book")["error"]
    assert not [one for one in hub.requests if "ned/book" in one.path and "parquet" in one.path]


def test_sound_is_no_picture(hub: Hub, look: Look):
    features = {"img": {"_type": "Audio"}, "label": PETS["label"]}
    hold(hub, "oda/sound", {"train.parquet": pets((1, 0), (2, 1), features=features)})
    assert "its columns are img (Audio), label (ClassLabel)" in look("oda/sound")["error"]


@pytest.mark.fault("a data set that comes with a program", "one sentence; it is never run")
def test_a_set_with_a_program_is_refused_and_the_program_is_not_fetched_to_run(
    hub: Hub, look: Look, home: Path
):
    program = f"open({str(home / 'ran')!r}, 'w')"
    hold(hub, "pam/pets", {"pets.py": program.encode(), "data.zip": b"PK"})
    error = look("pam/pets")["error"]
    assert "pam/pets is read by a program of its repository, pets.py, which is never run" in error
    assert not (home / "ran").exists()


@pytest.mark.parametrize("path", ["../../../secret/*", "/etc/*", "https://elsewhere/x.parquet"])
@pytest.mark.fault("a data set that names files outside of it", "one sentence; they are not read")
def test_a_set_cannot_read_what_is_outside_of_it(hub: Hub, look: Look, path: str):
    files = [{"split": "train", "path": path}]
    readme = f"---\nconfigs: {json.dumps([{'config_name': 'a', 'data_files': files}])}\n---\n"
    hold(hub, "sly/pets", {"README.md": readme.encode()})
    hub.commit = hashlib.sha1(path.encode()).hexdigest()
    try:
        error = look("sly/pets")["error"]
    finally:
        hub.commit = COMMIT
    assert f"wants to read {path}, which is outside of its repository" in error


@pytest.mark.parametrize(
    ("readme", "files"),
    [
        (b"---\nconfigs: [\n---\n", {"train.parquet": b"x"}),
        (b"---\nconfigs: 3\n---\n", {"train.parquet": b"x"}),
        (b"# nothing", {}),
        (b"# broken", {"train.parquet": b"no parquet"}),
    ],
)
@pytest.mark.fault("a malformed data set on the hub", "one sentence")
def test_a_malformed_set_is_an_error_in_one_sentence(
    hub: Hub, look: Look, readme: bytes, files: dict
):
    hub.commit = hashlib.sha1(readme).hexdigest()
    hold(hub, f"tom/{hub.commit[:7]}", {"README.md": readme, **files})
    try:
        error = look(f"tom/{hub.commit[:7]}")["error"]
    finally:
        hub.commit = COMMIT
    assert error.startswith("Cannot read dataset.source tom/")
    assert "\n" not in error


def test_an_id_that_does_not_exist_may_be_a_folder_that_does_not(hub: Hub, look: Look):
    error = look("my/pictures")["error"]
    assert "dataset.source my/pictures, which is no path here" in error
    assert f"{hub.url}/datasets/my/pictures" in error
    assert "the repository does not exist or is private; correct its name" in error


def test_a_revision_that_does_not_exist_is_named(hub: Hub, look: Look):
    hold(hub, "una/pets", two_splits("data", 1))
    error = look("una/pets", revision="v9")["error"]
    assert "at revision v9: the repository has no such revision" in error


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((401, "GatedRepo"), "the repository is gated; accept its licence on"),
        ((403, "GatedRepo"), "the repository is gated; accept its licence on"),
        ((403, ""), "the hub answers 403 Forbidden; set a valid HF_TOKEN"),
    ],
)
def test_a_refusal_is_explained(hub: Hub, look: Look, refusal: tuple[int, str], reason: str):
    hub.refusal = refusal
    try:
        error = look("vic/pets")["error"]
    finally:
        hub.refusal = None
    assert reason in error
    assert "HF_TOKEN" in error


def test_offline_the_cache_serves_and_what_is_absent_says_so(hub: Hub, home: Path, look: Look):
    hold(hub, "wim/pets", two_splits("data", 170))
    online = look("wim/pets")
    hold(hub, "xia/pets", two_splits("data", 180))
    hub.requests.clear()
    with reader(hub, home, HF_HUB_OFFLINE="1") as offline:
        again = offline("wim/pets")
        pinned = offline("wim/pets", revision=COMMIT, configuration="default")
        error = offline("xia/pets")["error"]
    assert hub.requests == []
    assert again["data"] == pinned["data"] == online["data"]
    assert "HF_HUB_OFFLINE is set and the file is not in the cache (HF_HOME); unset" in error


@pytest.mark.parametrize("revision", [None, "3" * 40])
def test_an_unreachable_host_is_an_error_within_seconds(home: Path, revision: str | None):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    with reader(Hub({}, url=endpoint), home) as look:
        look("yan/first")  # imports the libraries
        start = time.monotonic()
        error = look("yan/pets", revision=revision)["error"]
    assert time.monotonic() - start < 10
    assert f"{endpoint} is unreachable" in error
    assert "check the network, its proxy and HF_ENDPOINT" in error
