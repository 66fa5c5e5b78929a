"""The graph with its files in a bucket of a real S3 server on this machine, which moto runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import yaml
from conftest import METRICS, ROOT, Project, made
from moto.server import ThreadedMotoServer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.long

BUCKET, FOLDER, KNOWN = "lab", "first", "known"
COPIES = f".snakemake/storage/s3/{BUCKET}/{FOLDER}"


class Storage(NamedTuple):
    """A server and how it is reached."""

    url: str
    environment: dict[str, str]

    def options(self, profile: str = "s3") -> tuple[str, ...]:
        """What a call of snakemake needs beside its targets."""
        place = f"--default-storage-prefix=s3://{BUCKET}/{FOLDER}"
        return ("--profile", f"profiles/{profile}", f"--storage-s3-endpoint-url={self.url}", place)

    def run(self, project: Project, target: str = METRICS) -> subprocess.CompletedProcess[str]:
        """Make the target."""
        return project.snakemake(*self.options(), "--cores=1", "--", target, **self.environment)

    def plan(self, project: Project, profile: str = "s3", *options: str) -> list[str]:
        """The rules that would run for the metrics."""
        command = (*self.options(profile), *options, "--dry-run", "--", METRICS)
        told = project.snakemake(*command, **self.environment)
        assert told.returncode == 0, told.stderr
        table = told.stdout.partition("Job stats:")[2].partition("total")[0]
        return sorted(re.findall(r"^(\w+) +\d+$", table, re.MULTILINE))

    def bucket(self) -> Any:
        """What boto3 knows of the bucket."""
        names = ("aws_access_key_id", "aws_secret_access_key")
        keys = dict(zip(names, self.environment.values(), strict=True))
        return boto3.resource("s3", endpoint_url=self.url, **keys).Bucket(BUCKET)

    def push(self, project: Project) -> None:
        """Send what is known of the files after them."""
        hidden = project.folder / ".snakemake"
        for path in [*hidden.glob("metadata/*"), *hidden.rglob(".made/*")]:
            self.bucket().upload_file(path, f"{KNOWN}/{path.relative_to(hidden)}")

    def pull(self, project: Project) -> None:
        """Fetch what is known of the files."""
        for one in self.bucket().objects.filter(Prefix=f"{KNOWN}/"):
            path = project.folder / ".snakemake" / one.key.removeprefix(f"{KNOWN}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.bucket().download_file(one.key, path)


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    credentials = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    yield Storage(f"http://{host}:{port}", credentials)
    server.stop()


@pytest.fixture(scope="module")
def stored(
    own_dataset: Project, storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A checkout whose run left its files in the bucket; only for reading."""
    project = own_dataset.copy(tmp_path_factory.mktemp("s3") / "project")
    done = storage.run(project)
    assert done.returncode == 0, done.stderr
    storage.push(project)
    return project


def checkout(own_dataset: Project, folder: Path) -> Project:
    """Another checkout, whose files are as new as those of a fresh clone."""
    project = own_dataset.copy(folder)
    for path in folder.rglob("*"):
        path.touch()
    return project


@pytest.mark.fault("data sets, weights and results lie in a bucket (S3)", "the same bytes")
def test_a_bucket_gets_the_bytes_of_a_local_run(
    stored: Project, own_run: Project, storage: Storage
):
    assert not (stored.folder / "results").exists()
    assert made(stored.folder / COPIES) == made(own_run.folder)
    keys = {one.key.removeprefix(f"{FOLDER}/") for one in storage.bucket().objects.all()}
    assert set(made(own_run.folder)) <= keys


def test_a_second_checkout_runs_nothing_and_then_what_its_settings_ask_for(
    stored: Project, own_dataset: Project, storage: Storage, tmp_path: Path
):
    second = checkout(own_dataset, tmp_path / "project")
    assert "finetune_backbone" in storage.plan(second), "nothing is known of the files"
    storage.pull(second)
    assert storage.plan(second) == []
    tree = ["evaluate_hierarchy", "record_config", "reduce_child", "train_child"]
    assert storage.plan(second.having({"child.l2": 0.5})) == tree
    with (second.folder / "treehead/hierarchy/reduction.py").open("a") as source:
        source.write("# edited\n")
    assert storage.plan(second) == ["evaluate_hierarchy", "reduce_child"]


def test_the_copies_of_a_bucket_can_be_verified(stored: Project):
    command = [sys.executable, "-m", "treehead", "verify", f"{COPIES}/results"]
    done = subprocess.run(command, cwd=stored.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_profile_of_pods_finds_what_is_in_the_bucket(
    stored: Project, own_dataset: Project, storage: Storage, tmp_path: Path
):
    """All but the executor, which needs a cluster."""
    second = checkout(own_dataset, tmp_path / "project")
    storage.pull(second)
    pods = ("kubernetes", "--executor=local", "--cores=1")
    assert storage.plan(second, *pods) == []
    changed = second.having({"child.l2": 0.5})
    assert storage.plan(changed, *pods) == storage.plan(changed)


def test_a_volume_with_what_snakemake_knows_lets_another_pod_see_a_changed_setting(
    stored: Project, own_dataset: Project, storage: Storage, tmp_path: Path
):
    """Without it Snakemake goes by dates, and all that is in the bucket is as new as it can be."""
    pod = own_dataset.copy(tmp_path / "project").having({"child.l2": 0.5})
    for path in pod.folder.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    assert storage.plan(pod) == []
    shutil.copytree(stored.folder / ".snakemake", pod.folder / ".snakemake", dirs_exist_ok=True)
    tree = ["evaluate_hierarchy", "record_config", "reduce_child", "train_child"]
    assert storage.plan(pod) == tree


@pytest.mark.fault("a bit flips in a bucket", "one sentence")
def test_a_bit_that_flipped_in_the_bucket_is_told(
    stored: Project, own_dataset: Project, storage: Storage, tmp_path: Path
):
    """The last test of the bucket, since what it puts back is newer than what was made from it."""
    bucket = storage.bucket()
    key = f"{FOLDER}/results/embeddings/val.safetensors"
    before = bucket.Object(key).get()["Body"].read()
    second = checkout(own_dataset, tmp_path / "project").having({"training.epochs": 1})
    storage.pull(second)
    bucket.put_object(Key=key, Body=before[:-1] + bytes([before[-1] ^ 1]))
    done = storage.run(second, "results/heads/linear/metrics.json")
    bucket.put_object(Key=key, Body=before)
    assert done.returncode == 1
    told = "embeddings/val.safetensors changed since it was made; delete it"
    assert told in done.stdout + done.stderr


def test_the_pod_of_a_whole_run_keeps_what_snakemake_knows_in_its_volume():
    claim, job = yaml.safe_load_all((ROOT / "profiles/kubernetes/job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    workdir = re.search(r"^WORKDIR (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    assert mount == {"name": volume["name"], "mountPath": f"{workdir}/.snakemake"}
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_all_that_the_image_installs_is_pinned():
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock")]
    pinned = {
        canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", "\n".join(locks), re.M)
    }
    needed, new = set(), {"snakemake-storage-plugin-s3"}
    while new:
        needed |= new
        found = [Requirement(line) for name in new for line in requires(name) or ()]
        new = {
            canonicalize_name(one.name)
            for one in found
            if one.marker is None or one.marker.evaluate({"extra": ""})
        } - needed
    assert {"boto3", "botocore"} <= needed <= pinned
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split("&&")
    (line,) = [line for line in lines if "snakemake-storage-plugin-s3" in line]
    assert "--constraint requirements.lock --constraint requirements-dev.lock" in line
