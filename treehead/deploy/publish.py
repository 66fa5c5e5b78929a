"""A run on the hub: one commit of its model card and of what `published.files` names.

The client takes its token from HF_TOKEN or from `hf auth login`, and obeys HF_ENDPOINT:
https://huggingface.co/docs/huggingface_hub/guides/upload
"""

import textwrap
from pathlib import Path

import huggingface_hub as hf
from huggingface_hub import constants, errors

from treehead.artifacts import InputError
from treehead.data import hub
from treehead.deploy import card, published


def publish(
    results: str | Path, repo: str, *, private: bool = False, license: str | None = None
) -> str:
    """Upload a results folder, and return the address of the commit.

    Args:
        results: the folder; see `card.text` for the working folder.
        repo: "<owner>/<name>", made if it is not there.
        private: whether only its owner sees it.
        license: as for `card.text`.

    Raises:
        InputError: the folder is unfinished, there is no token, or the hub refuses.
    """
    about = card.text(results, license)
    additions = [hf.CommitOperationAdd("README.md", about.encode())]
    additions += [
        hf.CommitOperationAdd(file, Path(results, file)) for file in published.files(results)
    ]
    page = hub.page(repo, "model")
    if hf.get_token() is None:
        raise InputError(
            f"Cannot publish {page}: there is no token; set HF_TOKEN to one that may write, from "
            f"{constants.ENDPOINT}/settings/tokens, or log in with `hf auth login`."
        )
    try:
        hf.ModelCard(about).validate()  # before the repository is made
        repo = hf.create_repo(repo, private=private or None, exist_ok=True).repo_id
        if private and not hf.model_info(repo).private:
            raise InputError(
                f"Cannot publish {page} in private: it is there and public; give another name."
            )
        return hf.create_commit(repo, additions, commit_message="Publish a run").commit_url
    except tuple(hub.REASONS) as error:
        raise InputError(f"Cannot publish {page}: {_why(error, page)}.") from error


def _why(error: Exception, page: str) -> str:
    """What went wrong and the remedy, as the end of a sentence."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, tuple(hub.REASONS)):
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it"
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403):
        answer = f"{error.response.status_code} {error.response.reason_phrase}"
        return f"the token may not write there ({answer}); set HF_TOKEN to one that may"
    if isinstance(error, ValueError):
        return f"{textwrap.shorten(str(error), 300).rstrip('.')}; correct it"
    return hub.why(error, page)
