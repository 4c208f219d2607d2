"""Files of others that are fetched once per machine: locked, checked, and whole or not there.

With `--offline`, `LAMBDA_SEARCH_OFFLINE` or `HF_HUB_OFFLINE` the network is never asked. A secure
address stays secure wherever it leads, and no more is received than a file may have.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import IO
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

from filelock import FileLock

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.files import private_folder
from lambda_search.files import sha256_of
from lambda_search.files import sweep
from lambda_search.files import written_whole
from lambda_search.paths import is_set

__all__ = ["Download", "go_offline", "obtain", "offline", "receive"]

_OFFLINE = ("LAMBDA_SEARCH_OFFLINE", "HF_HUB_OFFLINE")
_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60
_STEPS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "Check the name.",
    HTTPStatus.UNAUTHORIZED: "It wants a login: fetch it by hand, and copy it to this machine.",
    HTTPStatus.FORBIDDEN: "It wants a login: fetch it by hand, and copy it to this machine.",
}


def offline() -> bool:
    """Whether the network must not be asked."""
    return any(is_set(name) for name in _OFFLINE)


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
        most: bytes that it may have.
    """

    what: str
    url: str
    sha256: str | None = None
    licence: str = ""
    most: int = 1 << 30

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
                    receive(download, stream)
                    stream.flush()
                    check(Path(stream.name))
    except OSError as error:
        raise LambdaSearchError(
            f"{_capital(download.what)} cannot be kept in {folder}: {error.strerror or error}.",
            "Free some space there, or move the data folder with LAMBDA_SEARCH_HOME.",
        ) from error
    return path


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


def receive(download: Download, stream: IO[bytes]) -> None:
    """Writes what the URL gives, all of it and no more than it may have, to `stream`.

    Raises:
        MissingFile: if the network fails, or gives something else.
    """
    digest, count = hashlib.sha256(), 0
    opener = urllib.request.build_opener(_Redirects())
    try:
        with opener.open(download.url, timeout=_TIMEOUT_SECONDS) as answer:
            wanted = _declared(answer.headers.get("Content-Length"))
            if wanted is not None:
                _check_size(download, wanted)
            while block := answer.read(_BLOCK):
                digest.update(block)
                count += len(block)
                _check_size(download, count)
                try:
                    stream.write(block)
                except OSError as error:  # the disk's, not the network's
                    raise _DiskError(error.errno, error.strerror) from error
    except _DiskError:
        raise
    except HTTPError as error:
        raise MissingFile(
            f"{download.url} does not give {download.what}: {error}.",
            _STEPS.get(error.code, "Try again later."),
        ) from error
    except (OSError, HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise MissingFile(
            f"{_capital(download.what)} cannot be fetched from {download.url}: "
            f"the network failed ({str(reason).rstrip('.') or type(reason).__name__}).",
            "Check the network and its proxy, or copy the file to this machine.",
        ) from error
    if wanted is not None and count != wanted:
        raise MissingFile(
            f"{download.url} broke off after {count:,} of {wanted:,} bytes.",
            "Check the network, and try again.",
        )
    if download.sha256 not in (None, digest.hexdigest()):
        raise MissingFile(
            f"What {download.url} gave is not {download.what}: its SHA-256 is "
            f"{digest.hexdigest()[:12]}…, and {str(download.sha256)[:12]}… is expected.",
            "Try again; if it stays so, copy the file from another machine.",
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to a less secure address, nor to one of another protocol."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("https", urlsplit(req.full_url).scheme):
            raise MissingFile(
                f"{req.full_url} leads to {newurl}, which is not secure.",
                "Copy the file to this machine, from a source that you trust.",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _declared(length: str | None) -> int | None:
    """What a header says of a file's size."""
    return int(length) if length is not None and length.isdecimal() else None


def _check_size(download: Download, count: int) -> None:
    """Raises MissingFile for more bytes than the file may have."""
    if count > download.most:
        raise MissingFile(
            f"{download.url} gives {count:,} bytes or more, and {download.what} have at most "
            f"{download.most:,}.",
            "Check the address, or copy the file to this machine.",
        )


class _DiskError(OSError):
    """The disk failed, not the network."""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _under(download: Download) -> str:
    return f" ({download.licence})" if download.licence else ""
