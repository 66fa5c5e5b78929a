"""`treehead publish`: the real client against a hub of our own, one process an upload."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import deployed
import pytest
from conftest import Project
from hub_server import COMMIT, Hub, serving

from treehead.deploy import published

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess
Publish = Callable[..., Done]


@pytest.fixture(scope="module")
def run(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after a tiny run, with a head chosen and taken away; only for reading."""
    project = pristine.edited(tmp_path_factory.mktemp("publish") / "project")
    deployed.choose(project.folder / "results")
    deployed.take_away(project.folder / "results", *published.DEPLOYED)
    return project.folder


@pytest.fixture
def publish(run: Path, tmp_path: Path) -> Publish:
    """Publish the run in a new process, which has its own HF_HOME, a token and no other settings.

    Large files go through Git LFS: a Xet storage is no hub.
    """

    def call(endpoint: str, *arguments: str, **environment: str | None) -> Done:
        settings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": endpoint,
            "HF_TOKEN": "hf_abc",
            "HF_HUB_DISABLE_XET": "1",
        } | environment
        return subprocess.run(
            [sys.executable, "-m", "treehead", "publish", *arguments],
            cwd=run,
            env={name: value for name, value in settings.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def sentence(done: Done) -> str:
    """The error of a failed upload: one line, and no traceback."""
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    return line.removeprefix("Error: ")


def test_one_commit_holds_the_card_and_every_file_as_it_is(publish: Publish, run: Path):
    with serving(Hub({})) as hub:
        done = publish(hub.url, "owner/net", "--license", "mit")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"Published {hub.url}/owner/net/commit/{COMMIT}\n"
    files = published.files(run / "results")
    assert {*published.DEPLOYED, "taxonomy.json"} <= {*files}
    assert hub.commits == [sorted(["README.md", *files])]
    assert "heads/linear/packed/int4-0.bin" in files or "heads/linear/packed/int4-1.bin" in files
    for file in files:
        assert hub.files[f"owner/net/{file}"] == (run / "results" / file).read_bytes()
    about = hub.files["owner/net/README.md"].decode()
    assert about.startswith("---\n")
    assert "license: mit" in about
    assert hub.private == {"owner/net": False}
    asked = {one.path: one.authorization for one in hub.requests if one.method == "POST"}
    for path in ("repos/create", "models/owner/net/preupload/main", "models/owner/net/commit/main"):
        assert asked[f"/api/{path}"] == "Bearer hf_abc"


def test_a_repository_that_is_there_gets_another_commit(publish: Publish):
    with serving(Hub({}, private={"owner/net": False})) as hub:
        assert publish(hub.url, "owner/net").returncode == 0
    assert len(hub.commits) == 1


def test_private_is_private_or_an_error(publish: Publish):
    with serving(Hub({}, private={"owner/old": False})) as hub:
        assert publish(hub.url, "owner/new", "--private").returncode == 0
        error = sentence(publish(hub.url, "owner/old", "--private"))
    assert hub.private == {"owner/old": False, "owner/new": True}
    assert not [file for file in hub.files if file.startswith("owner/old/")]
    assert error == (
        f"Cannot publish {hub.url}/owner/old in private: it is there and public; give another name."
    )


def test_without_a_token_nothing_is_sent(publish: Publish):
    with serving(Hub({})) as hub:
        error = sentence(publish(hub.url, "owner/net", HF_TOKEN=None))
    assert hub.requests == []
    assert error == (
        f"Cannot publish {hub.url}/owner/net: there is no token; set HF_TOKEN to one that may "
        f"write, from {hub.url}/settings/tokens, or log in with `hf auth login`."
    )


@pytest.mark.parametrize(("status", "answer"), [(401, "Unauthorized"), (403, "Forbidden")])
def test_a_token_that_may_not_write_is_told(publish: Publish, status: int, answer: str):
    with serving(Hub({}, refusal=(status, ""))) as hub:
        error = sentence(publish(hub.url, "owner/net"))
    assert error == (
        f"Cannot publish {hub.url}/owner/net: the token may not write there ({status} {answer}); "
        "set HF_TOKEN to one that may."
    )
    assert "hf_abc" not in error


def test_what_the_hub_would_refuse_makes_no_repository(publish: Publish):
    with serving(Hub({})) as hub:
        licence = sentence(publish(hub.url, "owner/net", "--license", "other-than-known"))
        name = sentence(publish(hub.url, "owner/net/results"))
    assert hub.private == {}
    assert '"license\\" must be one of mit' in licence
    assert licence.endswith("; correct it.")
    assert "Repo id must be" in name


def test_an_unreachable_xet_storage_is_an_error_with_a_workaround(publish: Publish):
    few_retries = {
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1",
        "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
    }
    with serving(Hub({}, xet="http://127.0.0.1:9")) as hub:
        done = publish(hub.url, "owner/net", HF_HUB_DISABLE_XET=None, **few_retries)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Xet storage failed" in done.stderr
    assert "disable Xet with HF_HUB_DISABLE_XET=1." in done.stderr
    assert hub.commits == []


def test_unfinished_results_are_an_error_before_anything_is_sent(publish: Publish):
    with serving(Hub({})) as hub:
        error = sentence(publish(hub.url, "owner/net", "--results", "results/none"))
    assert hub.requests == []
    assert error.startswith("results/none is unfinished, it has no hierarchy100/metrics.json; ")


def test_an_unreachable_hub_and_offline_mode_are_told(publish: Publish):
    error = sentence(publish("http://127.0.0.1:9", "owner/net"))
    assert "http://127.0.0.1:9 is unreachable" in error
    error = sentence(publish("http://127.0.0.1:9", "owner/net", HF_HUB_OFFLINE="1"))
    assert error.endswith("HF_HUB_OFFLINE is set; unset it.")
