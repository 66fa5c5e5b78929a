"""One file of a Hugging Face repository, through the hub's own client and its cache.

The client obeys HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN and HF_HOME, so nothing here reads them:
https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

import io
import shutil
from contextlib import suppress
from pathlib import Path

import httpx2
import huggingface_hub as hf
from huggingface_hub import constants, errors
from tqdm import tqdm

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.console import say

# What went wrong, and the remedy. The first kind that fits counts: a GatedRepoError is also a
# RepositoryNotFoundError, an HfHubHTTPError and an OSError.
_REASONS = {
    errors.GatedRepoError: "the repository is gated; accept its licence on {page} and set HF_TOKEN"
    " to a token of that account",
    errors.RemoteEntryNotFoundError: "that revision has no such file; mend the file's name",
    errors.RevisionNotFoundError: "the repository has no such revision; mend the revision",
    errors.RepositoryNotFoundError: "the hub shows no such repository to you; mend its name, set"
    " HF_TOKEN if it is private",
    errors.HfHubHTTPError: "the hub says {detail}; set a valid HF_TOKEN if that is 401 or 403, else"
    " try later",
    errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set and the cache in HF_HOME doesn't hold it;"
    " unset HF_HUB_OFFLINE",
    errors.FileMetadataError: "{endpoint} doesn't answer as a hub; check HF_ENDPOINT and the proxy",
    httpx2.HTTPError: "{endpoint} can't be reached or broke off ({detail}); check the network and"
    " HF_ENDPOINT",
    RuntimeError: "the hub's Xet storage failed ({detail}); check the network, or go without it by"
    " HF_HUB_DISABLE_XET=1",
    OSError: "{detail}; mend that and run again",
    ValueError: "{detail}; mend that",
}


def fetch(
    repo: str,
    filename: str,
    revision: str,
    target: str | Path,
    *,
    key: str,
    repo_type: str = "model",
    sha256: str | None = None,
) -> str:
    """Put one file of a hub repository at `target`; return the full hash of the commit it is from.

    `revision` is a branch, a tag or a commit; the hub isn't asked about a full commit hash that is
    in the cache. `key` is the config key where users can name a copy of their own instead, `sha256`
    the expected hash in hexadecimal. Raises InputError, with `target` as it was.
    """
    file = {"repo_id": repo, "filename": filename, "revision": revision, "repo_type": repo_type}
    page = f"{constants.ENDPOINT}/{constants.REPO_TYPES_URL_PREFIXES.get(repo_type, '')}{repo}"
    name = f"{filename} of {page} at revision {revision}"
    try:
        path = _cached_or_downloaded(file, sha256)
        found = artifacts.sha256(path)
        if sha256 not in (None, found):
            raise InputError(
                f"{name} has sha256 {found}, not the expected {sha256}; run again online to"
                f" download it anew, mend the expected hash, or give your own copy in {key}."
            )
        with artifacts.replacing(target) as temporary:
            shutil.copyfile(path, temporary)
    except tuple(_REASONS) as error:
        why = _why(error, page)
        raise InputError(f"{name} can't be had: {why}, or give your own copy in {key}.") from error
    return path.parents[filename.count("/")].name


def _cached_or_downloaded(file: dict[str, str], expected: str | None) -> Path:
    """The file in the client's cache; a cached copy with another hash is downloaded again."""
    if not isinstance(hf.try_to_load_from_cache(**file), str):
        return _downloaded(file)
    path = Path(hf.hf_hub_download(**file, tqdm_class=_Told))
    if expected in (None, artifacts.sha256(path)) or hf.is_offline_mode():
        return path
    say(f"The cached copy of {file['filename']} doesn't have the expected sha256.")
    return _downloaded(file, force=True)


def _downloaded(file: dict[str, str], force: bool = False) -> Path:
    """Download into the cache; the client resumes a cut by itself, but gives up at a reset."""
    # This asks once, where the client tries a dead host for 25 s and a silent one for minutes.
    with suppress(errors.HfHubHTTPError):
        size = hf.get_hf_file_metadata(hf.hf_hub_url(**file)).size or 0
        say(f"Downloading {file['filename']} of {file['repo_id']}, {size / 1e6:.1f} MB.")
    try:
        return Path(hf.hf_hub_download(**file, force_download=force, tqdm_class=_Told))
    except httpx2.ReadError as error:
        say(f"The connection broke ({error}); starting again.")
        return Path(hf.hf_hub_download(**file, force_download=force, tqdm_class=_Told))


class _Told(tqdm):
    """The client's progress as lines of the log; the client's own bar needs a terminal."""

    def __init__(self, **bar: object) -> None:
        every = {"mininterval": 5, "maxinterval": 5, "delay": 5, "leave": False}
        form = "{desc}: {n_fmt}B of {total_fmt}B, {rate_noinv_fmt}, {remaining} left"
        super().__init__(**bar | every | {"bar_format": form, "file": io.StringIO()})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if msg is None:
            say(str(self))


def _why(error: Exception, page: str) -> str:
    """What went wrong and the remedy, as the middle of a sentence."""
    wrapped = isinstance(error, errors.LocalEntryNotFoundError | ValueError)
    if wrapped and isinstance(error.__cause__, tuple(_REASONS)):
        error = error.__cause__
    detail = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    if isinstance(error, errors.HfHubHTTPError):
        detail = f"{error.response.status_code} {error.response.reason_phrase}"
    text = next(text for kind, text in _REASONS.items() if isinstance(error, kind))
    return text.format(page=page, endpoint=constants.ENDPOINT, detail=detail)
