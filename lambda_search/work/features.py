"""Shards' features as files: whole and checked, or not there.

A file is a `.npy` with four more bytes, the CRC-32 of what stands before them. It lies in a folder
named by all that its study's images have in common (`Recipe.family`), so that what no unfinished
study may need can be swept without knowing every shard's name.
"""

from __future__ import annotations

import io
import shutil
import stat
import time
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lambda_search.files import private_folder
from lambda_search.files import written_whole

__all__ = ["FeatureFiles"]

_CRC = 4
_STALE_SECONDS = 7 * 24 * 3600


class FeatureFiles:
    """float32 arrays [B, d] by family and name, shared by all studies of a data folder.

    Arguments:
        folder: where they lie; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, family: str, name: str) -> bool:
        """Whether there is a file; only `get` knows whether it is sound."""
        return self._path(family, name).exists()

    def get(self, family: str, name: str, shape: tuple[int, int]) -> NDArray[np.float32] | None:
        """The features [B, d] of that name; None where there are none, or their file is damaged.

        A damaged one, or whatever lies in its place, is removed.
        """
        path = self._path(family, name)
        try:
            found = _read(path, shape)
        except FileNotFoundError:
            return None
        except OSError:
            found = None
        if found is None:
            _remove(path)
        return found

    def put(self, family: str, name: str, features: NDArray[np.float32]) -> None:
        """Keeps `features`; a crash leaves either all of it or nothing."""
        path = self._path(family, name)
        content = _header(features.shape) + np.ascontiguousarray(features, "<f4").tobytes()
        content += zlib.crc32(content).to_bytes(_CRC, "little")
        try:
            _write(path, content)
        except FileNotFoundError:  # another process swept the folder in between
            _write(path, content)

    def drop(self, family: str) -> None:
        """Removes the features of a family; nobody may be adding to it."""
        with suppress(OSError):  # what cannot be removed is swept later
            _remove(self._folder / family)

    def sweep(self, needed: Collection[str], done: Collection[str] = ()) -> None:
        """Removes features of the families `done`, and of others that nobody has added to lately.

        Those of the families `needed` stay. What is in neither may belong to another store's
        studies that use this folder.
        """
        if not self._folder.is_dir():
            return
        stale = time.time() - _STALE_SECONDS
        for place in self._folder.iterdir():
            with suppress(OSError):  # another process sweeps too
                unused = place.name in done or place.stat().st_mtime < stale
                if unused and place.name not in needed:
                    _remove(place)

    def _path(self, family: str, name: str) -> Path:
        return self._folder / family / f"{name}.npy"


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """The array in `path`, or None if that is not exactly what `put` writes for `shape`."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    header = _header(shape)
    size = len(header) + 4 * shape[0] * shape[1]
    with path.open("rb") as stream:
        content = stream.read(size + _CRC + 1)  # never more than is expected
    whole = len(content) == size + _CRC and content.startswith(header)
    if not whole or zlib.crc32(content[:size]).to_bytes(_CRC, "little") != content[size:]:
        return None
    found = np.frombuffer(content, "<f4", shape[0] * shape[1], len(header)).reshape(shape)
    return found if np.isfinite(found).all() else None


def _write(path: Path, content: bytes) -> None:
    private_folder(path.parent)
    with written_whole(path, private=True) as stream:
        stream.write(content)


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    told = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(stream, told)
    return stream.getvalue()


def _remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
