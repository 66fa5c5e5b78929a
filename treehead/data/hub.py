"""Files of a Hugging Face repository, through the hub's own client and its cache.

The client obeys HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN and HF_HOME, so no code here does:
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

import io
import shutil
import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import httpx2
import huggingface_hub as hf
from huggingface_hub import constants, errors
from tqdm import tqdm

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.console import say

_XET = (
    "the hub's Xet storage failed ({detail}); check the network, or disable Xet with "
    "HF_HUB_DISABLE_XET=1"
)
# What went wrong, and the remedy. The first class that matches is used: a GatedRepoError is also a
# RepositoryNotFoundError, an HfHubHTTPError and an OSError.
REASONS = {
    errors.GatedRepoError: "the repository is gated; accept its licence on {page} and set HF_TOKEN"
    " to a token of that account",
    errors.RemoteEntryNotFoundError: "that revision has no such file; correct the file's name",
    errors.RevisionNotFoundError: "the repository has no such revision; correct the revision",
    errors.RepositoryNotFoundError: "the repository does not exist or is private; correct its name"
    " or set HF_TOKEN",
    errors.HfHubHTTPError: "the hub answers {detail}; set a valid HF_TOKEN if that is 401 or 403,"
    " otherwise try later",
    errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set and the file is not in the cache (HF_HOME);"
    " unset HF_HUB_OFFLINE",
    errors.FileMetadataError: "{endpoint} does not answer like a hub; check HF_ENDPOINT and the"
    " proxy",
    httpx2.HTTPError: "{endpoint} is unreachable or dropped the connection ({detail}); check the"
    " network, its proxy and HF_ENDPOINT",
    RuntimeError: _XET,
    ConnectionError: _XET,
    OSError: "{detail}; fix that and run again",
    ValueError: "{detail}; fix that",
}


def fetch(
    repo: str,
    filename: str,
    revision: str,
    target: str | Path,
    *,
    key: str,
    sha256: str | None = None,
) -> str:
    """Download one file of a hub repository to `target`; return the full hash of its commit.

    `revision` is a branch, a tag or a commit; a full commit hash in the cache needs no request.
    `key` is the config key under which users can give a local copy instead, `sha256` the expected
    hash in hexadecimal. Raises InputError and leaves `target` unchanged.
    """
    file = {"repo_id": repo, "filename": filename, "revision": revision, "repo_type": "model"}
    try:
        path = checked(file, sha256, key)
        with artifacts.replacing(target) as temporary:
            shutil.copyfile(path, temporary)
    except tuple(REASONS) as error:
        raise InputError(
            f"Cannot download {_name(file)}: {why(error, page(repo, 'model'))}, or give a local "
            f"copy in {key}."
        ) from error
    return path.parents[filename.count("/")].name


def checked(file: dict[str, str], sha256: str | None, key: str) -> Path:
    """One file in the client's cache, downloaded if it is absent or has another hash.

    `file` has the repo_id, filename, revision and repo_type.
    """
    path = _cached_or_downloaded(file, sha256)
    found = artifacts.sha256(path)
    if sha256 not in (None, found):
        raise InputError(
            f"{_name(file)} has sha256 {found}, not the expected {sha256}; run again online to"
            f" download it anew, correct the expected hash, or give a local copy in {key}."
        )
    return path


def snapshot(repo: str, revision: str, patterns: list[str]) -> Path:
    """The folder of a data set at one commit in the client's cache, with the files that match.

    What is absent is downloaded. The folder's name is the commit's hash.
    """
    wanted = {"repo_id": repo, "revision": revision, "repo_type": "dataset"}
    try:
        listed = hf.get_cached_repo_tree(**wanted)
    except errors.CachedRepoTreeNotFoundError:
        hf.dataset_info(repo, revision=revision)  # asks once; the client tries a dead host for 25 s
        listed = []
    sizes = [
        file.size
        for file in listed
        if any(fnmatch(file.path, pattern) for pattern in patterns)
        and not isinstance(hf.try_to_load_from_cache(filename=file.path, **wanted), str)
    ]
    if sizes:
        say(f"Downloading {len(sizes):,} files of {repo}, {sum(sizes) / 1e6:,.1f} MB.")
    bar = _bar_of(sum(sizes))
    for last in (False, True):
        try:
            return Path(hf.snapshot_download(**wanted, allow_patterns=patterns, tqdm_class=bar))
        except httpx2.ReadError as error:
            if last:
                raise
            say(f"The connection was reset ({error}); trying once more.")


def page(repo: str, repo_type: str) -> str:
    """The address of a repository."""
    return f"{constants.ENDPOINT}/{constants.REPO_TYPES_URL_PREFIXES.get(repo_type, '')}{repo}"


def _name(file: dict[str, str]) -> str:
    where = page(file["repo_id"], file["repo_type"])
    return f"{file['filename']} of {where} at revision {file['revision']}"


def _cached_or_downloaded(file: dict[str, str], expected: str | None) -> Path:
    """The file in the client's cache; a cached copy with another hash is downloaded again."""
    if not isinstance(hf.try_to_load_from_cache(**file), str):
        return _downloaded(file)
    path = Path(hf.hf_hub_download(**file, tqdm_class=_LogBar))
    if expected in (None, artifacts.sha256(path)) or hf.is_offline_mode():
        return path
    say(f"The cached copy of {file['filename']} has another sha256 than expected.")
    return _downloaded(file, force=True)


def _downloaded(file: dict[str, str], force: bool = False) -> Path:
    """Download into the cache; the client resumes a cut download, but gives up after a reset."""
    # This asks once; the client tries a dead host for 25 s and a silent one for minutes.
    with suppress(errors.HfHubHTTPError):
        size = hf.get_hf_file_metadata(hf.hf_hub_url(**file)).size or 0
        say(f"Downloading {file['filename']} of {file['repo_id']}, {size / 1e6:.1f} MB.")
    try:
        return Path(hf.hf_hub_download(**file, force_download=force, tqdm_class=_LogBar))
    except httpx2.ReadError as error:
        say(f"The connection was reset ({error}); trying once more.")
        return Path(hf.hf_hub_download(**file, force_download=force, tqdm_class=_LogBar))


class _LogBar(tqdm):
    """The client's progress as lines of the log; its own bar needs a terminal."""

    def __init__(self, **bar: object) -> None:
        every = {"mininterval": 5, "maxinterval": 5, "delay": 5, "leave": False}
        form = "{desc}: {n_fmt}B of {total_fmt}B, {rate_noinv_fmt}, {remaining} left"
        self.told = time.monotonic()
        super().__init__(**bar | every | {"bar_format": form, "file": io.StringIO()})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if msg is None and time.monotonic() - self.told >= 5:
            self.told = time.monotonic()
            say(str(self))


def _bar_of(size: int) -> type[_LogBar]:
    """The progress of several files together, whose size the client learns only one by one."""

    class Bar(_LogBar):
        total = property(lambda self: size, lambda self, value: None)

        def __init__(self, **bar: object) -> None:
            several = str(bar.get("desc")).startswith("Reconstructing")
            super().__init__(**bar | {"desc": "Downloading", "disable": not several})

        def set_description(self, *_: object, **__: object) -> None:
            pass

    return Bar


def why(error: BaseException, page: str) -> str:
    """What went wrong and the remedy, as the middle of a sentence."""
    wrapped = isinstance(error, errors.LocalEntryNotFoundError | ValueError)
    if wrapped and isinstance(error.__cause__, tuple(REASONS)):
        error = error.__cause__
    detail = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    if isinstance(error, errors.HfHubHTTPError):
        detail = f"{error.response.status_code} {error.response.reason_phrase}"
    kinds = (text for kind, text in REASONS.items() if isinstance(error, kind))
    text = next(kinds, "{detail}; choose another")
    return text.format(page=page, endpoint=constants.ENDPOINT, detail=detail)
