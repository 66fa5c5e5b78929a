"""Files are whole or absent, whatever happens to the process that writes them."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from treehead import artifacts
from treehead.artifacts import InputError

ROOT = Path(__file__).parents[1]

HALF_A_WRITE = """
import sys
from treehead import artifacts
with artifacts.replacing(sys.argv[1]) as temporary:
    temporary.write_text("half of the new")
    print("half", flush=True)
    sys.stdin.read()
"""

WRITES_IN_TURN = """
import sys
from treehead import artifacts
for letter in 1000 * "ab":
    artifacts.write_text(sys.argv[1], 300_000 * letter)
    print(letter, flush=True)
"""


def started(program: str, target: Path) -> subprocess.Popen:
    """A process that runs `program` on `target`, after its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(target)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


def fail_half_way(target: Path) -> None:
    with artifacts.replacing(target) as temporary:
        temporary.write_text("half of the new")
        raise ZeroDivisionError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.json"
    path.write_text("the old")
    return path


def test_a_write_that_ends_well_replaces_the_file_and_leaves_nothing_else(target: Path):
    with artifacts.replacing(target) as temporary:
        temporary.write_text("the new")
        assert target.read_text() == "the old"
        assert temporary.parent == target.parent, "a rename must not cross file systems"
    assert target.read_text() == "the new"
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.fault("an error in the middle of a write", "the old file stays; no half file")
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(target: Path):
    with pytest.raises(ZeroDivisionError):
        fail_half_way(target)
    assert target.read_text() == "the old"
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.fault("an error in the middle of a first write", "no file, no half file")
def test_a_first_write_that_fails_leaves_no_file(tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path / "new" / "file")
    assert os.listdir(tmp_path / "new") == []


def test_a_written_file_is_readable_by_all(target: Path):
    artifacts.write_text(target, "the new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


@pytest.mark.fault("two writers of one file at once", "one of the two files, whole")
def test_two_writers_at_once_do_not_share_a_temporary_file(target: Path):
    with artifacts.replacing(target) as first, artifacts.replacing(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first", "the one that ends last wins, whole"
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.fault("SIGKILL in the middle of a write", "the old file stays")
def test_a_process_killed_in_the_middle_of_a_write_leaves_the_old_file(target: Path):
    assert killed(started(HALF_A_WRITE, target)) == -signal.SIGKILL
    assert target.read_text() == "the old"


@pytest.mark.parametrize("writes", [1, 4, 9])
@pytest.mark.fault(
    "SIGKILL while one file is written again and again", "the old file or the new one, whole"
)
def test_a_process_killed_at_any_time_leaves_a_whole_file(target: Path, writes: int):
    process = started(WRITES_IN_TURN, target)
    for _ in range(writes):
        process.stdout.readline()
    assert killed(process) == -signal.SIGKILL
    assert target.read_text() in (300_000 * "a", 300_000 * "b")


@pytest.mark.parametrize("hole", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.fault(
    "a figure that is no number, in a JSON file", "it is refused; the old file stays"
)
def test_json_has_no_nan_and_the_old_file_stays(target: Path, hole: float):
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(target, {"accuracy": [0.5, hole]})
    assert target.read_text() == "the old"
    assert os.listdir(target.parent) == [target.name]


def test_json_round_trip_keeps_order_and_letters(target: Path):
    value = {"b": [1, 2.5, None, True], "a": {"müller": "größe"}}
    artifacts.write_json(target, value)
    assert artifacts.read_json(target) == value
    assert list(json.loads(target.read_text(encoding="utf-8"))) == ["b", "a"]
    assert "müller" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"{'a': 1}", b"[" * 100_000])
@pytest.mark.fault("JSON that is empty, cut or 100,000 levels deep", "one sentence")
def test_broken_json_is_named(target: Path, content: bytes):
    target.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.json is not valid JSON"):
        artifacts.read_json(target)


def test_json_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(target: Path):
    target.write_bytes(b'\xef\xbb\xbf{\r\n"a": 1}\r\n')
    assert artifacts.read_json(target) == {"a": 1}


def test_json_in_another_encoding_is_named(target: Path):
    target.write_text('{"a": 1}', encoding="utf-16")
    with pytest.raises(InputError, match=r"metrics\.json is not UTF-8 text"):
        artifacts.read_json(target)


def test_a_key_that_json_has_twice_is_refused_and_named(target: Path):
    """The json module keeps the last and says nothing."""
    target.write_text('{"a": {"b": 1, "c": 2, "b": 1}, "b": 3}')
    with pytest.raises(InputError, match=r'metrics\.json has the key "b" twice'):
        artifacts.read_json(target)


def test_absent_json_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"absent\.json can't be read"):
        artifacts.read_json(tmp_path / "absent.json")


def test_sha256_is_that_of_the_bytes(target: Path):
    assert artifacts.sha256(target) == hashlib.sha256(b"the old").hexdigest()


@given(
    tensors=st.dictionaries(
        st.text("abc._0", min_size=1, max_size=8),
        arrays.arrays(
            st.sampled_from([np.float32, np.int64, np.uint8, np.float64]),
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=4,
    )
)
def test_tensors_round_trip_and_their_order_does_not_matter(tmp_path_factory, tensors):
    folder = tmp_path_factory.mktemp("tensors")
    artifacts.write_tensors(folder / "one", tensors)
    artifacts.write_tensors(folder / "again", tensors)
    artifacts.write_tensors(folder / "reversed", dict(reversed(tensors.items())))
    read = artifacts.read_tensors(folder / "one")
    assert sorted(read) == sorted(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(read[name], array)
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
    assert len({(folder / name).read_bytes() for name in ("one", "again", "reversed")}) == 1


def test_a_view_is_stored_as_what_it_shows(tmp_path: Path):
    """safetensors writes the memory behind a view, which is not in the order of a transpose."""
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    artifacts.write_tensors(tmp_path / "t", {"transposed": matrix.T, "every_other": matrix[:, ::2]})
    read = artifacts.read_tensors(tmp_path / "t")
    np.testing.assert_array_equal(read["transposed"], matrix.T)
    np.testing.assert_array_equal(read["every_other"], matrix[:, ::2])


@pytest.mark.parametrize("length", [0, 4, 30, -1])
@pytest.mark.fault("a safetensors file is cut", "one sentence")
def test_a_truncated_tensor_file_is_named(tmp_path: Path, length: int):
    path = tmp_path / "head.safetensors"
    artifacts.write_tensors(path, {"weight": np.ones((3, 4), np.float32)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"head\.safetensors is not a complete safetensors file"):
        artifacts.read_tensors(path)
