"""A split that is embedded by several jobs is the split that one job embeds."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Project

from treehead.artifacts import InputError, read_tensors
from treehead.data import embeddings
from treehead.data.embeddings import Embeddings

TRAIN = "results/embeddings/train.safetensors"
LINEAR = "results/heads/linear/metrics.json"


@pytest.mark.parametrize(("n", "shards"), [(1, 1), (5, 5), (17, 4), (1_281_167, 64)])
def test_shards_have_each_image_once_and_nearly_as_many(n: int, shards: int):
    rows = [embeddings.shard(n, number, shards) for number in range(shards)]
    assert (rows[0].start, rows[-1].stop) == (0, n)
    assert all(one.stop == other.start for one, other in itertools.pairwise(rows))
    sizes = {one.stop - one.start for one in rows}
    assert max(sizes) - min(sizes) <= 1


def test_more_shards_than_images_are_told():
    with pytest.raises(InputError, match=r"embed\.shards is 4, but a split has 3 images"):
        embeddings.shard(3, 0, 4)


def test_a_feature_that_float16_cannot_hold_is_told(tmp_path: Path):
    large = Embeddings(np.full((1, 2, 3), 7e4, np.float32), np.zeros(2, np.int64))
    with pytest.raises(InputError, match=r"a feature of 7e\+04 is too large for float16"):
        embeddings.write(tmp_path / "a.safetensors", large, "float16")
    assert not list(tmp_path.iterdir())


def stored(features: np.ndarray, path: Path) -> Embeddings:
    """Features (n, dim) as they come back from float16."""
    written = Embeddings(features[None].astype(np.float32), np.zeros(len(features), np.int64))
    embeddings.write(path, written, "float16")
    return embeddings.read(path)


@pytest.mark.fault("float16 rounds a feature to zero, or to one number", "one sentence")
@pytest.mark.parametrize(
    ("size", "centre", "deviation"), [(1e-3, 0, 1e-7), (1, 100, 1e-2), (1, 30, 5e-2)]
)
def test_a_feature_that_float16_loses_is_told(
    tmp_path: Path, size: float, centre: float, deviation: float
):
    """One among others of deviation `size`."""
    x = size * np.random.default_rng(0).normal(size=(500, 8))
    x[:, 5] = x[:, 5] / size * deviation + centre
    x = x.astype(np.float32)
    lost = np.std(x[:, 5].astype(np.float16) - x[:, 5].astype(np.float64)) / deviation
    assert lost > 0.08
    message = r"a\.safetensors: rounding to float16 loses (\d+)% .* feature 5, .*float32\."
    with pytest.raises(InputError, match=message) as raised:
        stored(x, tmp_path / "a.safetensors")
    told = int(re.search(r"(\d+)%", str(raised.value))[1])
    assert told == pytest.approx(100 * lost, rel=0.1)
    assert not list(tmp_path.iterdir())


def test_float16_holds_ordinary_features_and_those_that_heads_do_not_read(tmp_path: Path):
    """Constants, rounding, a millionth of the others' deviation; and means of 40 deviations."""
    x = np.random.default_rng(0).normal(size=(500, 40))
    x[:, 10:] = np.maximum(x[:, 10:], 0) * np.exp2(np.arange(30) - 15)
    x[:, 0], x[:, 1], x[:, 2] = 3.7, 3.7 + 1e-6 * x[:, 1], 1e-4 * x[:, 2]
    x[:, 3], x[:, 4] = x[:, 3] + 40, 1e-2 * x[:, 4] - 0.4
    x[:, 5] *= 1e-8
    found = stored(x, tmp_path / "a.safetensors").features[0]
    lost = (found - x).std(0) / np.maximum(x.std(0), 1e-5)
    assert lost[[2, 3, 4, *range(10, 40)]].max() < 0.012


@pytest.fixture(scope="module")
def sharded(own_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The run, embedded again in three shards and stored in float16."""
    project = own_run.copy(tmp_path_factory.mktemp("shards") / "project")
    project = project.having({"embed.shards": 3, "embed.stored": "float16"})
    plan = project.plan(LINEAR)
    assert (plan["embed"], plan["join_embeddings"]) == (9, 3)
    project.run(LINEAR)
    return project


@pytest.mark.long
def test_the_features_are_those_of_one_job_but_for_rounding(sharded: Project, own_run: Project):
    stored = read_tensors(sharded.folder / TRAIN)
    assert stored["features"].dtype == np.float16
    found, whole = (embeddings.read(project.folder / TRAIN) for project in (sharded, own_run))
    assert found.features.dtype == np.float32
    np.testing.assert_array_equal(found.fine, whole.fine)
    np.testing.assert_allclose(found.features, whole.features, rtol=2e-3, atol=1e-4)
    assert not np.array_equal(found.features, whole.features)


@pytest.mark.long
def test_of_one_lost_shard_that_one_is_made_again(sharded: Project, tmp_path: Path):
    project = sharded.copy(tmp_path / "project").having(sharded.settings)
    assert project.plan(LINEAR) == {}
    (project.folder / "results/embeddings/train/1.safetensors").unlink()
    (project.folder / TRAIN).unlink()
    plan = project.plan(TRAIN)
    assert plan == {"embed": 1, "join_embeddings": 1}


@pytest.mark.long
def test_images_that_changed_are_told_by_the_shard_that_reads_them(
    sharded: Project, tmp_path: Path
):
    project = sharded.copy(tmp_path / "project").having(sharded.settings)
    images = project.folder / "resources/datasets/mine/train.npy"
    content = images.read_bytes()
    images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for path in (project.folder / "results/embeddings").rglob("train*/*.safetensors"):
        path.unlink()
    (project.folder / TRAIN).unlink()
    done = project.snakemake("--cores=1", "--rerun-triggers=mtime", "--", TRAIN)
    assert done.returncode == 1
    assert "train.npy: image 47 changed since it was made; delete the file" in done.stderr
    assert not (project.folder / TRAIN).exists()
    images.unlink()
    project.run(TRAIN)
    assert (project.folder / TRAIN).read_bytes() == (sharded.folder / TRAIN).read_bytes()
