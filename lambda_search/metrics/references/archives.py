"""Zip and npz files of others: what they unfold to is bounded before it is read.

A few bytes may claim, or unfold to, any number of gigabytes. So images are read from an archive
only if all of them have room in 256 MiB and 64 times its own size; each counts as 4 kB at least.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO
from typing import Any
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import open_regular
from lambda_search.models.file_kinds import HEAD
from lambda_search.models.file_kinds import ZIP
from lambda_search.models.file_kinds import Unsuitable
from lambda_search.models.file_kinds import described

__all__ = ["Header", "check_room", "explained", "read_array", "read_header", "taken", "unzipped"]

_ROOM, _TIMES = 2**28, 64
_LEAST = 4096
_ADDRESS = re.compile(r"<[\w.]+ object at 0x[0-9a-fA-F]+>")


class Header(NamedTuple):
    """What an array in numpy's format says of itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}{' in Fortran order' * self.fortran}"


def unzipped(
    path: Path,
    wanted: str = "an archive of images",
    step: str = "Name images as a folder, a .zip or an .npz.",
) -> zipfile.ZipFile:
    """The archive in `path`, open.

    Arguments:
        path: the file.
        wanted: what it should hold, for messages.
        step: what to do where it is something else.

    Raises:
        Unsuitable: if it is something else, such as a pointer or a web page.
        BadZipFile, OSError: if it cannot be read, or is no file.
    """
    with open_regular(path) as stream:
        head = stream.read(HEAD)
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        if head.startswith(ZIP):
            raise
        raise described(head, wanted, step) from None


def check_room(path: Path, total: int) -> None:
    """Raises UsageError if `total` bytes of images are more than the archive `path` may hold."""
    if total > _ROOM + _TIMES * path.stat().st_size:
        raise UsageError(
            f"{path} unfolds to {total / 2**20:,.0f} MiB, more than {_TIMES} times its size.",
            "If it is sound, unpack it, and name the folder of images.",
        )


def taken(sizes: Iterable[int]) -> int:
    """What images of `sizes` bytes count as together."""
    return sum(max(size, _LEAST) for size in sizes)


def read_header(stream: IO[bytes]) -> Header:
    """The header of the array in `stream`, which is left at its data.

    Raises:
        ValueError: if it is none.
    """
    old = npy.read_magic(stream) == (1, 0)
    found = Header(*(npy.read_array_header_1_0 if old else npy.read_array_header_2_0)(stream))
    if any(length < 0 for length in found.shape):
        raise ValueError(f"its array is {found}")
    return found


def read_array(archive: zipfile.ZipFile, name: str, kinds: str, most: int) -> NDArray[Any]:
    """The array `name` of an npz file.

    Arguments:
        archive: the file.
        name: without `.npy`.
        kinds: numpy's letters for what its elements may be.
        most: bytes that it may have.

    Raises:
        ValueError: if it is another one, claims more than there is, or is larger than `most`.
    """
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        header = read_header(stream)
        if header.dtype.kind not in kinds:
            raise ValueError(f"{name} is {header}")
        if header.nbytes > min(most, member.file_size):
            raise ValueError(f"{name} is {header}, and it has no room for that")
        content = stream.read(header.nbytes)
    order: Any = "F" if header.fortran else "C"
    return np.frombuffer(content, header.dtype).reshape(header.shape, order=order)


@contextmanager
def explained(path: Path, name: str | None = None) -> Iterator[None]:
    """Whatever goes wrong while `name` in `path` is read becomes a UsageError."""
    try:
        yield
    except UsageError:
        raise
    except Unsuitable as error:
        raise UsageError(f"{path} {error.what}.", error.step) from error
    except Exception as error:  # Pillow, zipfile and numpy raise many kinds on broken files
        what = path if name is None else f"{name} in {path}"
        said = error.strerror if isinstance(error, OSError) else None
        said = _ADDRESS.sub("it", said or first_line(error))
        raise UsageError(
            f"{what} cannot be read: {said}.",
            "Replace it, or take it away." if name else "Make it again, or copy it again.",
        ) from error
