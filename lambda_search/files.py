"""Files that are there whole or not at all, who may read them, and their names by content."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import IO
from typing import cast

from lambda_search.errors import LambdaSearchError

__all__ = [
    "check_regular",
    "open_regular",
    "close_to_others",
    "files_below",
    "private_folder",
    "saving",
    "sha256_of",
    "sweep",
    "written_whole",
]

_BLOCK = 1 << 20
_UMASK = os.umask(0)
os.umask(_UMASK)  # it can only be read by setting it


def private_folder(path: Path) -> Path:
    """Makes `path`, and what is missing above it, for this user alone; what is there stays so."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def close_to_others(path: Path) -> None:
    """Takes this user's `path` from who can only read it: the first release left it open so.

    What a group, or all, may write to is shared on purpose, and stays.
    """
    with suppress(OSError):
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid == os.getuid() and mode & 0o077 and not mode & 0o022:
            path.chmod(mode & 0o700)


@contextmanager
def written_whole(path: Path, private: bool = False) -> Iterator[IO[bytes]]:
    """A stream for what becomes `path` when the block ends well; else nothing is left of it.

    Arguments:
        path: in a folder that is there.
        private: whether this user alone may read it; else as the process makes files.
    """
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f"{path.name}.", suffix=".part", delete=False
    ) as stream:
        try:
            yield cast(IO[bytes], stream)
            stream.close()  # a full disk may only tell now
            if not private:
                os.chmod(stream.name, 0o666 & ~_UMASK)
            os.replace(stream.name, path)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


@contextmanager
def saving(path: Path, hint: str) -> Iterator[None]:
    """An OSError while `path` is written is told as its user's, with this next step."""
    try:
        yield
    except OSError as error:
        cause = f"{path} cannot be written: {error.strerror or error}."
        raise LambdaSearchError(cause, hint) from error


def sweep(path: Path) -> None:
    """Removes what killed processes left of `path`; the caller holds its lock."""
    for stale in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)


def check_regular(path: Path) -> None:
    """Raises OSError unless `path` is a regular file: pipes wait, and devices may never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise OSError(f"it is {kind}, not a file")


def open_regular(path: Path) -> IO[bytes]:
    """The file `path` for reading; whatever a user names is opened here.

    Raises:
        OSError: as `check_regular`, and if it cannot be opened.
    """
    check_regular(path)
    return path.open("rb")


def files_below(path: Path, without: Collection[str] = ()) -> Iterator[Path]:
    """The files at `path` and below it, where links lead too; none if there is nothing.

    They come one by one, so that whoever has enough can stop.

    Arguments:
        path: a file, or a folder.
        without: names of folders that are left out.

    Raises:
        OSError: for a folder that cannot be looked into: it must not be missing without a word.
    """
    return _below(path, without, ())


def _below(
    path: Path, without: Collection[str], above: tuple[tuple[int, int], ...]
) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir() and path.name not in without:
        found = path.stat()
        here = found.st_dev, found.st_ino
        if here not in above:  # a link may lead back
            for one in sorted(path.iterdir()):
                yield from _below(one, without, (*above, here))


def sha256_of(*files: Path) -> str:
    """SHA-256 over the bytes of `files` in order, hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        with open_regular(file) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
