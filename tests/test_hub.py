"""Fetching from the hub: the real client against a server of our own, one process per fetch."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serving

ROOT = Path(__file__).parents[1]
SMALL = bytes(range(256)) * 40
PROGRAM = """
import json, sys
from treehead import console
from treehead.data import hub

log, options = sys.argv[1], json.loads(sys.argv[2])
with console.job(log):
    print(hub.fetch(**options), end="")
"""
Done = subprocess.CompletedProcess
Fetch = Callable[..., Done]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "resources" / "weights.bin"


@pytest.fixture
def fetch(tmp_path: Path, target: Path) -> Fetch:
    """Fetch into `target` in a new process, which has its own HF_HOME and no other settings."""

    def run(endpoint: str, environment: dict[str, str] | None = None, **options: str) -> Done:
        defaults = {"repo": "owner/net", "filename": "weights.bin", "revision": "main"}
        defaults |= {"target": str(target), "key": "backbone.weights"}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / "log", json.dumps(defaults | options)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(tmp_path),
                "HF_HOME": str(tmp_path / "hf"),
                "HF_ENDPOINT": endpoint,
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def sentence(done: Done, target: Path) -> str:
    """The error of a failed fetch: one sentence, and nothing left at `target`."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert list(target.parent.glob("*")) == []
    return errors[0]


def closed_port() -> str:
    """The address of a local port where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_fetched_file_has_the_hubs_bytes_and_names_its_commit(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        done = fetch(hub.url, sha256=digest(SMALL))
    assert done.returncode == 0, done.stderr
    assert done.stdout == COMMIT
    assert [path.name for path in target.parent.iterdir()] == ["weights.bin"]
    assert target.read_bytes() == SMALL
    assert "Downloading weights.bin of owner/net" in done.stderr


def test_a_file_in_a_folder_names_its_commit_too(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/nested/weights.bin": SMALL})) as hub:
        done = fetch(hub.url, filename="nested/weights.bin")
    assert done.stdout == COMMIT
    assert target.read_bytes() == SMALL


def test_the_token_is_sent_when_it_is_set_and_only_then(fetch: Fetch):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        fetch(hub.url, {"HF_TOKEN": "hf_abc"})
        assert {one.authorization for one in hub.asked("GET")} == {"Bearer hf_abc"}
        hub.requests.clear()
        fetch(hub.url)
        assert {one.authorization for one in hub.asked("HEAD")} == {None}


def test_a_second_fetch_takes_the_cached_bytes(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        fetch(hub.url)
        target.unlink()
        fetch(hub.url)
        assert len(hub.asked("GET")) == 1
    assert target.read_bytes() == SMALL


def test_a_cached_commit_is_not_asked_about(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        fetch(hub.url, revision=COMMIT)
        hub.requests.clear()
        target.unlink()
        fetch(hub.url, revision=COMMIT)
        assert hub.asked("HEAD") + hub.asked("GET") == []
    assert target.read_bytes() == SMALL


@pytest.mark.fault("a download ends early", "it is resumed; the right bytes")
def test_an_interrupted_download_is_resumed(fetch: Fetch, target: Path):
    content = os.urandom(12 << 20)  # the client keeps whole blocks of 10 MiB
    with serving(Hub({"owner/net/weights.bin": content}, cuts=[11 << 20])) as hub:
        done = fetch(hub.url, sha256=digest(content))
        assert [one.range for one in hub.asked("GET")] == [None, f"bytes={10 << 20}-"]
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == content


@pytest.mark.fault("a download is cut at each tenth", "it is resumed; the right bytes")
@pytest.mark.parametrize("tenth", range(10))
def test_a_download_that_is_cut_is_resumed(fetch: Fetch, target: Path, tenth: int):
    """Every other one by a reset of the connection."""
    cuts = [len(SMALL) * tenth // 10]
    with serving(Hub({"owner/net/weights.bin": SMALL}, cuts=cuts, reset=tenth % 2 == 1)) as hub:
        done = fetch(hub.url)
        assert done.returncode == 0, done.stderr
        assert len(hub.asked("GET")) == 2
    assert target.read_bytes() == SMALL


@pytest.mark.fault(
    "a download is cut again and again, after each tenth",
    "one sentence, or the right bytes after more runs",
)
def test_a_download_that_is_cut_again_and_again_comes_to_its_end(fetch: Fetch, target: Path):
    cuts, failed = 20 * [len(SMALL) // 10], 0
    with serving(Hub({"owner/net/weights.bin": SMALL}, cuts=cuts, reset=True)) as hub:
        while (done := fetch(hub.url)).returncode:
            sentence(done, target)
            failed += 1
    assert 0 < failed < 20
    assert target.read_bytes() == SMALL


@pytest.mark.fault(
    "the connection is reset in a download", "it is tried once more; the right bytes"
)
def test_a_download_is_tried_once_more_after_a_reset(fetch: Fetch, target: Path):
    hub = Hub({"owner/net/weights.bin": SMALL}, cuts=[100], reset=True)
    with serving(hub):
        done = fetch(hub.url)
        assert len(hub.asked("GET")) == 2
    assert "trying once more" in done.stderr
    assert target.read_bytes() == SMALL


@pytest.mark.fault("the connection is reset twice", "one sentence; the right bytes the next time")
def test_a_second_reset_is_an_error(fetch: Fetch, target: Path, tmp_path: Path):
    hub = Hub({"owner/net/weights.bin": SMALL}, cuts=[100, 100], reset=True)
    with serving(hub):
        error = sentence(fetch(hub.url), target)
        assert "dropped the connection" in error
        assert "backbone.weights" in error
        assert list(tmp_path.rglob("*.incomplete")) == []
        fetch(hub.url)
    assert target.read_bytes() == SMALL


@pytest.mark.fault(
    "the hub answers and its storage does not", "one sentence with the way around it"
)
def test_an_unreachable_xet_storage_is_an_error_with_a_workaround(fetch: Fetch, target: Path):
    few_retries = {
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1",
        "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
    }
    with serving(Hub({"owner/net/weights.bin": SMALL}, xet=closed_port())) as hub:
        error = sentence(fetch(hub.url, few_retries), target)
        assert "Xet storage failed" in error
        assert "disable Xet with HF_HUB_DISABLE_XET=1" in error
        fetch(hub.url, {"HF_HUB_DISABLE_XET": "1"})
    assert target.read_bytes() == SMALL


@pytest.mark.fault(
    "the hub sends wrong bytes of the right length", "one sentence; the right bytes the next time"
)
def test_wrong_bytes_are_refused_and_downloaded_again_once_the_hub_is_right(
    fetch: Fetch, target: Path
):
    hub = Hub({"owner/net/weights.bin": SMALL}, wrong_bytes=True)
    wrong = bytes(255 - byte for byte in SMALL)
    with serving(hub):
        error = sentence(fetch(hub.url, sha256=digest(SMALL)), target)
        assert f"weights.bin of {hub.url}/owner/net at revision main" in error
        assert f"has sha256 {digest(wrong)}, not the expected {digest(SMALL)}" in error
        hub.wrong_bytes = False
        done = fetch(hub.url, sha256=digest(SMALL))
        assert done.returncode == 0, done.stderr
        assert target.read_bytes() == SMALL
        target.unlink()
        fetch(hub.url, sha256=digest(SMALL))
        assert len(hub.asked("GET")) == 2
    assert target.read_bytes() == SMALL


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_names_its_page_and_the_token(fetch: Fetch, target: Path, status: int):
    hub = Hub({"owner/net/weights.bin": SMALL}, refusal=(status, "GatedRepo"))
    with serving(hub):
        error = sentence(fetch(hub.url), target)
    assert f"accept its licence on {hub.url}/owner/net and set HF_TOKEN" in error
    assert "backbone.weights" in error


def test_a_refused_token_is_named(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL}, refusal=(403, ""))) as hub:
        error = sentence(fetch(hub.url, {"HF_TOKEN": "hf_old"}), target)
    assert "the hub answers 403 Forbidden; set a valid HF_TOKEN" in error
    assert "hf_old" not in error


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"repo": "owner/nett"}, "the repository does not exist or is private"),
        ({"revision": "v9"}, "no such revision"),
        ({"filename": "weihgts.bin"}, "no such file"),
        ({"repo": "owner/net/weights"}, "Repo id must be"),
        ({"filename": "../weights.bin"}, "Invalid filename"),
    ],
)
def test_what_the_hub_does_not_have_is_named(
    fetch: Fetch, target: Path, options: dict[str, str], reason: str
):
    asked = {"repo": "owner/net", "filename": "weights.bin", "revision": "main"} | options
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        error = sentence(fetch(hub.url, **options), target)
    assert (
        f"{asked['filename']} of {hub.url}/{asked['repo']} at revision {asked['revision']}" in error
    )
    assert reason in error
    assert "backbone.weights" in error


@pytest.mark.fault("the server is no hub", "one sentence")
def test_a_server_that_is_not_a_hub_has_its_own_error(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL}, commit=None)) as hub:
        error = sentence(fetch(hub.url), target)
    assert f"{hub.url} does not answer like a hub; check HF_ENDPOINT" in error


@pytest.mark.fault("the hub is unreachable", "one sentence within seconds")
def test_an_unreachable_host_is_an_error_within_seconds(fetch: Fetch, target: Path):
    endpoint, start = closed_port(), time.monotonic()
    error = sentence(fetch(endpoint), target)
    assert time.monotonic() - start < 10
    assert f"{endpoint} is unreachable" in error
    assert (
        "check the network, its proxy and HF_ENDPOINT, or give a local copy in backbone.weights"
        in error
    )


@pytest.mark.fault("a proxy that is set wrong", "one sentence within seconds")
def test_a_wrong_proxy_is_an_error_within_seconds(fetch: Fetch, target: Path):
    start = time.monotonic()
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), closed_port())
    error = sentence(fetch("http://hub.invalid", proxies), target)
    assert time.monotonic() - start < 10
    assert "http://hub.invalid is unreachable" in error
    assert "check the network, its proxy and HF_ENDPOINT" in error


@pytest.mark.fault("the hub is unreachable and the file is cached", "the cached file")
def test_a_cached_file_serves_when_the_host_is_unreachable(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        fetch(hub.url)
    target.unlink()
    done = fetch(closed_port())
    assert done.stdout == COMMIT
    assert target.read_bytes() == SMALL


def test_offline_mode_uses_the_cache_and_sends_no_request(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        fetch(hub.url)
        target.unlink()
        hub.requests.clear()
        done = fetch(hub.url, {"HF_HUB_OFFLINE": "1"}, sha256=digest(SMALL))
        assert hub.requests == []
    assert done.stdout == COMMIT
    assert target.read_bytes() == SMALL


@pytest.mark.fault("offline mode and nothing cached", "one sentence")
def test_offline_mode_without_a_cached_file_says_what_to_unset(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL})) as hub:
        error = sentence(fetch(hub.url, {"HF_HUB_OFFLINE": "1"}), target)
        assert hub.requests == []
    assert "HF_HUB_OFFLINE is set and the file is not in the cache (HF_HOME); unset" in error
    assert "backbone.weights" in error


@pytest.mark.fault("offline mode and a damaged cache", "one sentence")
def test_offline_mode_refuses_a_cached_file_with_another_hash(fetch: Fetch, target: Path):
    with serving(Hub({"owner/net/weights.bin": SMALL}, wrong_bytes=True)) as hub:
        fetch(hub.url)
        target.unlink()
        error = sentence(fetch(hub.url, {"HF_HUB_OFFLINE": "1"}, sha256=digest(SMALL)), target)
    assert f"not the expected {digest(SMALL)}; run again online" in error
