"""Files of others that are fetched once per machine: locked, checked, and whole or not there.

`obtain` fetches one file from its address, `snapshot` those of a repository on the Hugging Face
hub into that library's own cache. With `--offline`, `LAMBDA_SEARCH_OFFLINE` or `HF_HUB_OFFLINE`
the network is never asked.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import private_folder
from lambda_search.files import sha256_of
from lambda_search.files import sweep
from lambda_search.files import written_whole

__all__ = ["Download", "NotOnHub", "go_offline", "obtain", "offline", "snapshot"]

_OFFLINE = ("LAMBDA_SEARCH_OFFLINE", "HF_HUB_OFFLINE")
_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60


def offline() -> bool:
    """Whether the network must not be asked."""
    return any(
        os.environ.get(name, "").lower() not in ("", "0", "false", "no", "off")
        for name in _OFFLINE
    )


def go_offline() -> None:
    """Never asks the network in this process and those that it starts."""
    for name in _OFFLINE:
        os.environ[name] = "1"


@dataclass(frozen=True)
class Download:
    """A file that its authors publish.

    Arguments:
        what: what it is, for messages: "the Inception weights".
        url: where it is.
        sha256: of its content, hexadecimal; None where its authors do not say it.
        licence: under which it may be used.
    """

    what: str
    url: str
    sha256: str | None = None
    licence: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]


def obtain(
    download: Download,
    folder: Path,
    fetch: bool = True,
    check: Callable[[Path], object] = lambda path: None,
) -> Path:
    """The file in `folder`, fetched if it is not there yet; of many who ask at once, one fetches.

    Arguments:
        download: which file.
        folder: where it is kept; made when first written to.
        fetch: whether it may be fetched at all; it never is while `offline()`.
        check: called with a fetched file before it counts; what it raises goes on, and the file
            is thrown away. For files without a published checksum.

    Raises:
        NotFetched: if it is not there, and it is `fetch` alone that forbids to fetch it.
        MissingFile: if it is not there and may not be fetched, or cannot be.
        UsageError: if a file of that name is there with another content.
        LambdaSearchError: if `folder` cannot be written to.
    """
    from filelock import FileLock  # not in a base installation, which never fetches

    path = folder / download.name
    if _is_there(path, download):
        return path
    if not fetch or offline():
        why = " and the network may not be asked" if offline() else ""
        raise (MissingFile if offline() else NotFetched)(
            f"{_capital(download.what)} are not on this machine{why}.",
            f"{'Fetch' if offline() else 'A launch fetches them; or fetch'} {download.url}"
            f"{_under(download)} and put it at {path}.",
        )
    try:
        private_folder(folder)
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not _is_there(path, download):  # another process may have been quicker
                sweep(path)
                with written_whole(path) as stream:
                    _receive(download, stream)
                    stream.flush()
                    check(Path(stream.name))
    except OSError as error:
        raise LambdaSearchError(
            f"{_capital(download.what)} cannot be kept in {folder}: {error.strerror or error}.",
            "Free some space there, or move the data folder with LAMBDA_SEARCH_HOME.",
        ) from error
    return path


class NotOnHub(Exception):
    """The hub has not given what was asked for.

    Arguments:
        reason: what it said; "" where the name cannot be one of its.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def snapshot(
    name: str, files: Sequence[str], revision: str | None = None, fetch: bool = True
) -> Path:
    """A folder with `files` of the hub's repository `name`; the hub's library locks its cache.

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
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.errors import LocalEntryNotFoundError

    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise NotOnHub("")
    asks = fetch and not offline()
    reason = "they are not in the hub's cache"
    for local in [True, False] if revision and asks else [not asks]:
        try:
            folder = snapshot_download(
                name, revision=revision, allow_patterns=list(files), local_files_only=local
            )
        except HFValidationError as error:
            raise NotOnHub("") from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = reason if local and revision else first_line(error)
            continue
        if revision is None or all((Path(folder) / file).is_file() for file in files):
            return Path(folder)
    raise NotOnHub(reason)


def _is_there(path: Path, download: Download) -> bool:
    """Whether `path` is the file.

    Raises:
        UsageError: if it is another one.
    """
    if not path.is_file():
        return False
    if download.sha256 is not None and (found := sha256_of(path)) != download.sha256:
        raise UsageError(
            f"{path} is not the file that {download.url} gives: its SHA-256 is {found[:12]}…, "
            f"and that of {download.what} is {download.sha256[:12]}….",
            "Delete it, and it is fetched again; or copy it again.",
        )
    return True


def _receive(download: Download, stream: IO[bytes]) -> None:
    """Writes what the URL gives, all of it, to `stream`."""
    digest, count = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(download.url, timeout=_TIMEOUT_SECONDS) as answer:
            wanted = answer.headers.get("Content-Length")
            while block := answer.read(_BLOCK):
                digest.update(block)
                count += len(block)
                try:
                    stream.write(block)
                except OSError as error:  # the disk's, not the network's
                    raise _DiskError(error.errno, error.strerror) from error
    except _DiskError:
        raise
    except HTTPError as error:
        raise MissingFile(
            f"{download.url} does not give {download.what}: {error}.",
            "Check the name." if error.code == HTTPStatus.NOT_FOUND else "Try again later.",
        ) from error
    except (OSError, HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise MissingFile(
            f"{_capital(download.what)} cannot be fetched from {download.url}: {reason}.",
            "Try again, or copy the file to this machine.",
        ) from error
    if wanted is not None and count != int(wanted):
        raise MissingFile(
            f"{download.url} broke off after {count:,} of {int(wanted):,} bytes.", "Try again."
        )
    if download.sha256 not in (None, digest.hexdigest()):
        raise MissingFile(
            f"What {download.url} gave is not {download.what}: its SHA-256 is "
            f"{digest.hexdigest()[:12]}…, and {str(download.sha256)[:12]}… is expected.",
            "Try again; if it stays so, copy the file from another machine.",
        )


class _DiskError(OSError):
    """The disk failed, not the network."""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _under(download: Download) -> str:
    return f" ({download.licence})" if download.licence else ""
