"""Where features lie: a folder that all hosts share, or an object store that fsspec reaches.

Either holds files by names like `FAMILY/NAME.npy`. A file in a folder is there whole or not at
all, and so is an object of a store; elsewhere (sftp, hdfs) a half-written one may be seen, which
who reads it finds out.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import private_folder
from lambda_search.files import written_whole
from lambda_search.paths import folder_of

__all__ = ["FolderStorage", "NoFile", "PlaceAway", "RemoteStorage", "Storage", "storage_at"]

_FRESH_SECONDS = 10.0


class NoFile(OSError):
    """Something else lies in a file's place."""


class PlaceAway(LambdaSearchError):
    """A host does not see the place where features are kept, or cannot read or write there.

    That is the host's trouble, whatever the task: another one may see it.
    """


class Storage(Protocol):
    """Files by name."""

    def exists(self, name: str, afresh: bool = False) -> bool:
        """Whether there is a file; unless `afresh`, as of a few seconds ago."""
        ...

    def read(self, name: str, most: int) -> bytes:
        """Its content, of which no more than the first `most` bytes are needed.

        Raises:
            FileNotFoundError: if there is none.
            NoFile: if something else lies in its place.
            OSError, LambdaSearchError: if it cannot be read just now.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Makes or replaces it.

        Raises:
            OSError, PlaceAway: if that cannot be done.
        """
        ...

    def remove(self, name: str) -> None:
        """Removes it, or the folder of that name with all that is in it, if it is there."""
        ...

    def children(self) -> Iterator[tuple[str, float | None]]:
        """What lies at the top, and when it was last added to, in seconds since 1970.

        None where the place keeps no such time.
        """
        ...


def storage_at(url: str) -> Storage:
    """What lies at `url`: a path, file://PATH, or any other address of fsspec's.

    Raises:
        UsageError: if it is no address, or one that needs a package which is not installed.
    """
    folder = folder_of(url)
    return RemoteStorage(url) if folder is None else FolderStorage(folder)


class FolderStorage:
    """A folder; made, for this user alone, when first written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def exists(self, name: str, afresh: bool = False) -> bool:
        path = self._folder / name
        return path.exists() or (_looked_again(path) and path.exists())

    def read(self, name: str, most: int) -> bytes:
        path = self._folder / name
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            _looked_again(path)
            mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise NoFile(f"{path} is no file")
        with path.open("rb") as stream:
            return stream.read(most)

    def write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        try:
            self._write(path, content)
        except FileNotFoundError:  # another process swept the folder in between
            self._write(path, content)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        private_folder(path.parent)
        with written_whole(path, private=True) as stream:
            stream.write(content)

    def remove(self, name: str) -> None:
        path = self._folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def children(self) -> Iterator[tuple[str, float | None]]:
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process sweeps too
                yield path.name, path.stat().st_mtime


def _looked_again(path: Path) -> bool:
    """Opens the folder of `path`, if there is one.

    A host remembers for half a minute that a file is not on an NFS share; opening its folder has
    the host ask anew.
    """
    with suppress(OSError):
        os.scandir(path.parent).close()
        return True
    return False


class RemoteStorage:
    """Whatever fsspec reaches. Keys come from its own settings and the environment of each host.

    Arguments:
        url: such as s3://BUCKET/PREFIX.

    Raises:
        UsageError: as `storage_at`.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # not needed where features lie in a folder

        self._url = url
        self._listed: dict[str, tuple[float, set[str]]] = {}
        try:
            self._fs, self._root = url_to_fs(url)
        except ImportError as error:
            raise UsageError(
                f"Features cannot lie at {url}: {first_line(error)}.",
                "Install that package on every host, or name another place.",
            ) from error
        except Exception as error:  # some connect at once, and each library has errors of its own
            raise UsageError(
                f"Features cannot lie at {url}: {first_line(error)}.",
                "Name a folder that all hosts share, or an address like s3://BUCKET/PREFIX.",
            ) from error

    def exists(self, name: str, afresh: bool = False) -> bool:
        path, (folder, _, file) = self._path(name), name.rpartition("/")
        if afresh:
            with self._reaching("read"):
                self._fs.invalidate_cache(self._fs._parent(path))
                return bool(self._fs.exists(path))
        when, names = self._listed.get(folder, (0.0, set()))
        if time.monotonic() - when > _FRESH_SECONDS or not when:
            names = {one.rpartition("/")[2] for one in self._list(folder)}
            self._listed[folder] = time.monotonic(), names
        return file in names

    def read(self, name: str, most: int) -> bytes:
        with self._reaching("read"):
            content: bytes = self._fs.cat_file(self._path(name), 0, most)
        return content

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        with self._reaching("written"):
            try:
                self._fs.pipe_file(path, content)
            except FileNotFoundError:  # not a place of objects, but of folders
                self._fs.makedirs(self._fs._parent(path), exist_ok=True)
                self._fs.pipe_file(path, content)

    def remove(self, name: str) -> None:
        self._listed.pop(name, None)
        with suppress(FileNotFoundError), self._reaching("removed"):
            self._fs.rm(self._path(name), recursive=True)

    def children(self) -> Iterator[tuple[str, float | None]]:
        return ((path.rpartition("/")[2], None) for path in self._list(""))

    def _list(self, folder: str) -> list[str]:
        path = self._path(folder)
        with suppress(FileNotFoundError), self._reaching("listed"):
            self._fs.invalidate_cache(path)
            return [one.rstrip("/") for one in self._fs.ls(path, detail=False)]
        return []

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")

    @contextmanager
    def _reaching(self, done: str) -> Iterator[None]:
        """Whatever its library raises is told as one error, but that there is no such file."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # each library has its own
            raise PlaceAway(
                f"The features at {self._url} cannot be {done} on {socket.gethostname()}: "
                f"{first_line(error)}.",
                "Check on every host that it can be reached, and its keys; then launch again.",
            ) from error
