"""Shards' features as files: whole and checked, or not there.

A file is a `.npy` with four more bytes, the CRC-32 of what stands before them. It lies in a folder
named by all that its study's images have in common (`Recipe.family`), so that what no unfinished
study may need can be swept without knowing every shard's name.

Who samples a shard writes its file, and who scores it reads that: all workers and all drivers of a
study have to see one place. What travels is the `Place`; beside its address it has the name of an
empty file that the driver left there, so that a worker whose host has another folder of that path
is known before it computes anything.
"""

from __future__ import annotations

import io
import re
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.work.storage import NoFile
from lambda_search.work.storage import PlaceAway
from lambda_search.work.storage import Storage
from lambda_search.work.storage import storage_at

__all__ = ["FeatureFiles", "Place"]

_CRC = 4
_STALE_SECONDS = 7 * 24 * 3600
_OURS = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}\.mark")
"""Families and marks. Whatever else lies in a folder that somebody named is theirs."""


@dataclass(frozen=True)
class Place:
    """Where a driver has features kept, as its tasks tell it.

    Arguments:
        url: a path or an address.
        mark: the file that says that it is the driver's; "" for whatever lies there.
    """

    url: str
    mark: str = ""

    def open(self) -> FeatureFiles:
        """What lies there.

        Raises:
            PlaceAway: if it is not what the driver sees, or this host lacks what reaches it.
        """
        try:
            files = FeatureFiles(self.url)
        except UsageError as error:  # the driver has reached it
            raise PlaceAway(error.cause, error.hint) from error
        if self.mark and not files.storage.exists(self.mark, afresh=True):
            raise PlaceAway(
                f"The worker on {socket.gethostname()} does not see the driver's features, "
                f"{self.url}.",
                "Name a place that all hosts share with --features or LAMBDA_SEARCH_FEATURES: a "
                "folder, or an object store like s3://BUCKET/PREFIX.",
            )
        return files


class FeatureFiles:
    """float32 arrays [B, d] by family and name, shared by all studies that have them kept there.

    Arguments:
        place: a folder, made when first written to, or an address that fsspec reaches.

    Raises:
        UsageError: for an address that cannot be one.
    """

    def __init__(self, place: str | Path) -> None:
        self.url = str(place)
        self.storage: Storage = storage_at(self.url)
        self._known: set[str] = set()
        self._lock = threading.Lock()

    @cached_property
    def place(self) -> Place:
        """What tasks are told; a mark is left there until `close`.

        Raises:
            PlaceAway: if nothing can be written there.
        """
        place = Place(self.url, f"{secrets.token_hex(16)}.mark")
        self._write(place.mark, b"")
        return place

    def close(self) -> None:
        """Takes the mark away."""
        with suppress(OSError, LambdaSearchError):
            if "place" in vars(self):
                self.storage.remove(vars(self).pop("place").mark)

    def has(self, family: str, name: str, afresh: bool = False) -> bool:
        """Whether there is a file; only `get` knows whether it is sound.

        Arguments:
            family, name: whose.
            afresh: whether what was seen or `noted` before does not count.
        """
        file = _file(family, name)
        with self._lock:
            if afresh:
                self._known.discard(file)
            if file in self._known:
                return True
        return self.storage.exists(file, afresh)

    def note(self, family: str, name: str) -> None:
        """It is there: a worker says so."""
        with self._lock:
            self._known.add(_file(family, name))

    def get(self, family: str, name: str, shape: tuple[int, int]) -> NDArray[np.float32] | None:
        """The features [B, d] of that name; None where there are none, or their file is damaged.

        A damaged one, or whatever lies in its place, is removed.
        """
        file, header = _file(family, name), _header(shape)
        size = len(header) + 4 * shape[0] * shape[1]
        try:  # never more than is expected
            found = _decoded(self.storage.read(file, size + _CRC + 1), header, shape)
        except NoFile:
            found = None
        except OSError:  # there is none, or it cannot be read just now
            return None
        if found is None:
            self.storage.remove(file)
        return found

    def put(self, family: str, name: str, features: NDArray[np.float32]) -> None:
        """Keeps `features`; a crash leaves either all of it or nothing.

        Raises:
            PlaceAway: if they cannot be written.
        """
        content = _header(features.shape) + np.ascontiguousarray(features, "<f4").tobytes()
        content += zlib.crc32(content).to_bytes(_CRC, "little")
        self._write(_file(family, name), content)

    def drop(self, family: str) -> None:
        """Removes the features of a family; nobody may be adding to it."""
        with self._lock:
            self._known = {file for file in self._known if not file.startswith(f"{family}/")}
        with suppress(OSError, LambdaSearchError):  # what cannot be removed is swept later
            self.storage.remove(family)

    def sweep(self, needed: Collection[str], done: Collection[str] = ()) -> None:
        """Removes features of the families `done`, and of others that nobody has added to lately.

        Those of the families `needed` stay. What is in neither may belong to another store's
        studies that use this place; an object store knows no time at which a family was last
        added to, and is to end them by a rule of its own.
        """
        if "place" in vars(self):
            self._write(self.place.mark, b"")  # it is in use
        stale = time.time() - _STALE_SECONDS
        for name, added in self.storage.children():
            with suppress(OSError):  # another process sweeps too
                old = added is not None and added < stale and _OURS.fullmatch(name)
                if (name in done or old) and name not in needed:
                    self.drop(name)

    def _write(self, file: str, content: bytes) -> None:
        try:
            self.storage.write(file, content)
        except OSError as error:
            raise PlaceAway(
                f"Features cannot be written to {self.url} on {socket.gethostname()}: "
                f"{error.strerror or error}.",
                "Free some space there, or name another place with --features; nothing that was "
                "computed is lost.",
            ) from error


def _file(family: str, name: str) -> str:
    return f"{family}/{name}.npy"


def _decoded(content: bytes, header: bytes, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The array in `content`, or None if that is not exactly what `put` writes for `shape`."""
    size = len(header) + 4 * shape[0] * shape[1]
    whole = len(content) == size + _CRC and content.startswith(header)
    if not whole or zlib.crc32(content[:size]).to_bytes(_CRC, "little") != content[size:]:
        return None
    found = np.frombuffer(content, "<f4", shape[0] * shape[1], len(header)).reshape(shape)
    return found if np.isfinite(found).all() else None


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    told = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(stream, told)
    return stream.getvalue()
