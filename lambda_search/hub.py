"""Repositories of the Hugging Face hub, kept in that library's own cache, which it locks.

What went wrong is told apart: offline mode, the network, a name that the hub does not know, terms
that have to be accepted first.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from lambda_search.downloads import offline
from lambda_search.errors import first_line

__all__ = ["NotOnHub", "listing", "snapshot"]

_NOT_KEPT = "they are not in the hub's cache"
_OFFLINE = "offline mode is on, and they are not in the hub's cache"
_SERVER_ERRORS = 500


class NotOnHub(Exception):
    """The hub has not given what was asked for.

    Arguments:
        reason: why, as the end of a sentence; "" where no repository of the hub can be named so.
        step: what to do next.
    """

    def __init__(self, reason: str, step: str = "Check the name.") -> None:
        super().__init__(reason, step)
        self.reason = reason
        self.step = step


def listing(name: str) -> tuple[str, tuple[str, ...]]:
    """The newest commit of the repository `name` on the hub, and the names of its files.

    Raises:
        NotOnHub: if the hub cannot or may not be asked, or does not give it.
    """
    from huggingface_hub import HfApi

    _check(name)
    if offline():
        raise NotOnHub(_OFFLINE, _step_offline(name))
    try:
        told = HfApi().model_info(name)
    except Exception as error:  # the network library's own errors have no common class here
        raise _reason(error, name) from error
    return str(told.sha), tuple(file.rfilename for file in told.siblings or ())


def snapshot(
    name: str, files: Sequence[str], revision: str | None = None, fetch: bool = True
) -> Path:
    """A folder with `files` of the hub's repository `name`.

    Arguments:
        name: owner/repository.
        files: names, or patterns where no revision is given.
        revision: a commit, taken from the cache where all of it is there; None is the newest one,
            for which the hub is asked.
        fetch: whether the hub may be asked at all; it never is while `offline()`.

    Raises:
        NotOnHub: if they are not there, and cannot or may not be fetched.
    """
    # not in a base installation, which never fetches
    from huggingface_hub import snapshot_download

    _check(name)
    asks = fetch and not offline()
    missing = NotOnHub(_NOT_KEPT, f"Fetch them: hf download {name}")
    if fetch and not asks:
        missing = NotOnHub(_OFFLINE, _step_offline(name))
    for local in [True, False] if revision and asks else [not asks]:
        try:
            folder = snapshot_download(
                name, revision=revision, allow_patterns=list(files), local_files_only=local
            )
        except Exception as error:  # the network library's own errors have no common class here
            if not local:
                raise _reason(error, name) from error
            continue
        if revision is None or all((Path(folder) / file).is_file() for file in files):
            return Path(folder)
    raise missing


def _check(name: str) -> None:
    """Raises NotOnHub for what cannot be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise NotOnHub("") from error
    if name.count("/") != 1 or name.startswith((".", "~")):
        raise NotOnHub("")


def _reason(error: BaseException, name: str) -> NotOnHub:
    """Why the hub did not give `name`, and what helps."""
    from huggingface_hub import errors

    cause = error.__cause__
    if isinstance(error, errors.LocalEntryNotFoundError) and cause is not None:
        return _reason(cause, name)  # what the library met before it looked into its cache
    if isinstance(error, errors.OfflineModeIsEnabled):
        return NotOnHub(_OFFLINE, _step_offline(name))
    if isinstance(error, errors.GatedRepoError):
        return NotOnHub(
            "its authors give it to those who accept their terms",
            f"Accept them at https://huggingface.co/{name}, then log in: hf auth login",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotOnHub(
            f"the hub has no repository {name} for you",
            "Check its spelling; if it is private, log in: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotOnHub("the repository has no such revision", "Check the revision.")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        again = "Try again later." if status >= _SERVER_ERRORS else "Log in: hf auth login"
        return NotOnHub(f"the hub answered with status {status}", again)
    if isinstance(error, errors.LocalEntryNotFoundError):
        return NotOnHub(_NOT_KEPT, f"Fetch them: hf download {name}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
        step = "Free some space there, or move the hub's cache with HF_HOME."
        return NotOnHub(f"its cache cannot be written ({error.strerror})", step)
    return NotOnHub(
        f"the network failed ({first_line(error)})",
        "Check the network and its proxy, or copy the files to this machine.",
    )


def _step_offline(name: str) -> str:
    return (
        "Unset HF_HUB_OFFLINE and LAMBDA_SEARCH_OFFLINE to use the network, or fetch elsewhere "
        f"and copy: hf download {name}"
    )
