"""Features that stay in their file: the same numbers and heads as in memory, in less memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_compact_heads import CLASSES, HEADS, LOOP, data, fit_one

from treehead.artifacts import InputError, map_tensors, write_joined, write_tensors
from treehead.data import embeddings, rows
from treehead.data.embeddings import Embeddings
from treehead.data.rows import Rows
from treehead.heads import fitting

X = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)


@pytest.fixture(params=[2**27, 100], ids=["held", "in slices"])
def together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes that are computed at once: all of these, or six rows of four numbers."""
    monkeypatch.setattr(rows, "_TOGETHER", request.param)
    return request.param


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_rows_are_those_of_the_array(together: int, stored: str):
    array = X.astype(stored)
    exact = array.astype(np.float32)
    places = np.array([7, 0, 7, 49])
    twice = Rows(array).changed(lambda x: x[:, :3] * 2).changed(lambda x: x + 1)
    for found, expected in [
        (Rows(array), exact),
        (Rows(array).held(), exact),
        (Rows(array).every(7), exact[::7]),
        (twice, exact[:, :3] * 2 + 1),
        (twice.held(), exact[:, :3] * 2 + 1),
        (twice.every(49).held(), exact[::49, :3] * 2 + 1),
    ]:
        assert (len(found), found.shape) == (len(expected), expected.shape)
        assert found[:].dtype == np.float32
        np.testing.assert_array_equal(found[:], expected)
        some = places % len(expected)
        np.testing.assert_array_equal(found[some], expected[some])
        parts = [found[part] for part in found.slices()]
        np.testing.assert_array_equal(np.concatenate(parts), expected)
        assert (len(parts) == 1) == (together > 100 or len(expected) < 7)
        np.testing.assert_allclose(found.moments.mean, expected.mean(0), rtol=1e-5)
        np.testing.assert_allclose(found.moments.deviation, expected.std(0), rtol=1e-5)


def test_what_is_held_is_computed_once(together: int):
    seen = []
    held = Rows(X).changed(lambda x: seen.append(len(x)) or x).held()
    seen.clear()
    for _ in range(3):
        held[:5]
    assert seen == ([] if together > 100 else [5, 5, 5])


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_the_same_if_its_features_stay_in_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Two views of float16. Low rank begins at a covariance, whose sums are rounded otherwise."""
    features, labels = data(400)
    two = np.stack([features, features + np.float32(0.25)])
    embeddings.write(tmp_path / "e", Embeddings(two, labels), "float16")
    module, own = HEADS[name]
    own = own | {"training": LOOP}
    whole = fit_one(module, embeddings.examples(tmp_path / "e", CLASSES), own)
    monkeypatch.setattr(rows, "_TOGETHER", 4 * 16 * 70)
    train = embeddings.examples(tmp_path / "e", CLASSES)
    assert len(list(train.features.slices())) == 12
    again = fit_one(module, train, own)
    assert list(again.arrays) == list(whole.arrays)
    if module in ("lowrank", "shortlist"):
        same = [fitting.predict(module, head, features).argmax(1) for head in (again, whole)]
        assert np.mean(same[0] == same[1]) > 0.97
        return
    for key, array in whole.arrays.items():
        np.testing.assert_array_equal(again[key], array)


def test_a_teacher_that_is_not_held_teaches_the_same(monkeypatch: pytest.MonkeyPatch):
    features, labels = data(400)
    train = embeddings.Examples(Rows(features), labels, CLASSES)
    teacher = {0: fit_one("mlp", train, HEADS["mlp"][1] | {"training": LOOP})}

    def taught() -> list[np.ndarray]:
        own = {"settings": HEADS["tree"][1] | {"training": LOOP}, "seeds": [0], "what": "tree"}
        return list(fitting.fit("tree", train, teacher=("mlp", teacher), **own)[0].arrays.values())

    whole = taught()
    monkeypatch.setattr(rows, "_TOGETHER", 1000)
    for array, again in zip(whole, taught(), strict=True):
        np.testing.assert_allclose(again, array, rtol=1e-4, atol=1e-5)


FIT = """
import resource, sys
import numpy as np, psutil, torch
from treehead.data import embeddings, rows
from treehead.heads import fitting

def fit(path):
    given = {"settings": own, "seeds": [0], "what": "linear"}
    return fitting.fit("linear", embeddings.examples(path, 4), **given)[0]

torch.set_num_threads(1)
rows._TOGETHER = 2**22
training = {"epochs": 1, "batch_size": 512, "learning_rate": 0.003, "weight_decay": 0.05}
own = {"training": training}
fit(sys.argv[1])
lines = open("/proc/self/status").read().splitlines()
data = 1024 * int(next(line for line in lines if line.startswith("VmData")).split()[1])
resource.setrlimit(resource.RLIMIT_DATA, (data + 2**26, data + 2**26))
print(float(fit(sys.argv[2])["bias"].sum()))
"""


@pytest.mark.fault("less memory than the features of a split take", "the head is fitted")
def test_a_head_is_fitted_in_less_memory_than_its_features(tmp_path: Path):
    """200 MB of float32, 100 of float16, in 64."""
    rng = np.random.default_rng(0)
    for name, n in (("small", 2000), ("large", 400_000)):
        labels = rng.integers(0, 4, n)
        features = rng.normal(size=(1, n, 128)).astype(np.float32)
        features[0, np.arange(n), labels] += 1
        embeddings.write(tmp_path / name, Embeddings(features, labels), "float16")
    command = [sys.executable, "-c", FIT, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout))


def test_mapped_arrays_are_those_of_the_file_and_cannot_be_written(tmp_path: Path):
    written = {"fine": np.arange(3), "features": X[None], "half": X.astype(np.float16)}
    write_tensors(tmp_path / "a", written, {"settings": "{}"})
    found = map_tensors(tmp_path / "a")
    assert found.keys() == written.keys()
    for name, array in written.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        with pytest.raises(ValueError, match="read-only"):
            found[name][:] = 0
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:-1])
    with pytest.raises(InputError, match="a is not a complete safetensors file"):
        map_tensors(tmp_path / "a")


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_joined_parts_have_the_bytes_of_the_whole(tmp_path: Path, stored: str):
    features, fine = np.stack([X, -X]).astype(stored), np.arange(50)
    write_tensors(tmp_path / "whole", {"features": features, "fine": fine})
    cuts = [slice(0, 20), slice(20, 21), slice(21, 50)]
    parts = [{"features": features[:, cut], "fine": fine[cut]} for cut in cuts]
    write_joined(tmp_path / "joined", parts, {"features": 1, "fine": 0})
    assert (tmp_path / "joined").read_bytes() == (tmp_path / "whole").read_bytes()


def test_shards_are_joined_in_their_order(tmp_path: Path):
    features, fine = np.stack([X, -X]), np.arange(50)
    embeddings.write(tmp_path / "whole", Embeddings(features, fine))
    shards = []
    for number in range(3):
        mine = embeddings.shard(50, number, 3)
        shards.append(str(tmp_path / str(number)))
        embeddings.write(shards[-1], Embeddings(features[:, mine], fine[mine]))
    embeddings.join(shards, tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_sample_is_from_all_over_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    embeddings.write(tmp_path / "e", Embeddings(np.stack([X, -X]), np.arange(50)), "float16")
    exact = X.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(embeddings.sample(tmp_path / "e"), exact)
    monkeypatch.setattr(embeddings, "_SAMPLE", 20)
    found = embeddings.sample(tmp_path / "e")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact[::3])
