"""Weights that are named by an address: fetched once per host, into its data folder.

An address is https://…, or what else fsspec reaches, such as s3://BUCKET/FILE; keys come from the
environment of each host. A copy that is there is never asked for again. That every host has the
same is seen by the hashes of what is loaded from it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from lambda_search.downloads import Download
from lambda_search.downloads import offline
from lambda_search.downloads import receive
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import without_secrets
from lambda_search.files import private_folder
from lambda_search.files import sweep
from lambda_search.files import written_whole
from lambda_search.paths import copy_of
from lambda_search.paths import folder_of
from lambda_search.paths import is_address
from lambda_search.paths import locate

__all__ = ["obtained"]

_MOST = 1 << 40
_BLOCK = 1 << 22


def obtained(name: str) -> Path | None:
    """As `locate`, but what an address names is fetched if it is not here.

    Raises:
        UsageError: for an address with a password or a key, or of an unknown kind.
        MissingFile: if it cannot be fetched, or may not be.
        LambdaSearchError: if it cannot be written.
    """
    found = locate(name)
    if found is not None or not is_address(name) or folder_of(name) is not None:
        return found
    if without_secrets(name) != name:
        raise UsageError(
            f"The address {name} holds a password or a key.",
            "Leave it out, since rows name their weights: keys are read from the environment.",
        )
    if offline():
        raise MissingFile(
            f"The file {name} is not on this machine and the network may not be asked.",
            f"Copy it to {copy_of(name)}.",
        )
    path = copy_of(name)
    try:
        private_folder(path.parent)
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not path.exists():  # another process may have been quicker
                _fetch(name, path)
    except OSError as error:
        raise LambdaSearchError(
            f"{name} cannot be kept in {path.parent}: {error.strerror or error}.",
            "Free some space there, or move the data folder with LAMBDA_SEARCH_HOME.",
        ) from error
    return path


def _fetch(url: str, path: Path) -> None:
    """Writes what lies at `url` to `path`, whole or not at all; the caller holds its lock."""
    sweep(path)
    if url.lower().startswith(("http://", "https://")):
        try:
            with written_whole(path) as stream:
                receive(Download(f"the weights {path.name}", url, most=_MOST), stream)
        except ValueError as error:  # no address, though it begins like one
            raise _away(url, error) from error
        return
    fs, place = _reached(url)
    try:
        if not fs.isdir(place):
            with written_whole(path) as stream, fs.open(place, "rb") as source:
                shutil.copyfileobj(source, stream, _BLOCK)
            return
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f"{path.name}.", suffix=".part"
        ) as folder:
            for file in fs.find(place):
                target = Path(folder, "whole", file.removeprefix(place).lstrip("/"))
                if ".." not in target.parts:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    fs.get_file(file, str(target))
            os.replace(Path(folder, "whole"), path)
    except FileNotFoundError as error:
        raise MissingFile(f"There is nothing at {url}.", "Check the address.") from error
    except OSError as error:
        if error.errno is not None:  # the disk's, as far as can be told
            raise
        raise _away(url, error) from error
    except Exception as error:  # each library has errors of its own
        raise _away(url, error) from error


def _reached(url: str) -> tuple[Any, str]:
    """The place that `url` names, by fsspec."""
    from fsspec.core import url_to_fs  # not needed where files lie in folders

    try:
        fs, place = url_to_fs(url)
    except ImportError as error:
        raise UsageError(
            f"Weights cannot be fetched from {url}: {first_line(error)}.",
            "Install that package on every host, or name another place.",
        ) from error
    except Exception as error:  # some connect at once
        raise _away(url, error) from error
    return fs, place


def _away(url: str, error: Exception) -> MissingFile:
    return MissingFile(
        f"Weights cannot be fetched from {url}: {first_line(error)}.",
        "Check the address, the network, and its keys in this host's environment.",
    )
