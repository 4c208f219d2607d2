"""Images in a folder, a .zip or an .npz, read one after another and never all at once.

Folders are read with all that is below them, links included, and so are archives, which are never
unpacked to disk. Hidden files (macOS puts `._` copies into archives), as for clean-fid, and files
of other kinds are left out, and counted. The order is that of the relative names. Images may
differ in size; nothing is resized. Grey ones keep their one channel where all are grey, else they
become RGB.
"""

from __future__ import annotations

import hashlib
import zipfile
from abc import ABC
from abc import abstractmethod
from collections.abc import Iterator
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.metrics.references.archives import check_room
from lambda_search.metrics.references.archives import explained
from lambda_search.metrics.references.archives import read_header
from lambda_search.metrics.references.archives import taken
from lambda_search.metrics.references.archives import unzipped
from lambda_search.metrics.references.decoding import LARGEST
from lambda_search.metrics.references.decoding import Shape
from lambda_search.metrics.references.decoding import pixels_of
from lambda_search.metrics.references.decoding import shape_of
from lambda_search.metrics.references.folders import in_archive
from lambda_search.metrics.references.folders import in_folder

__all__ = ["ImageSet", "open_images"]

_BYTES = 2**26
"""Of pixels in a batch; one image may have more."""
_ARRAY = "arr_0"


class ImageSet(ABC):
    """Images in a fixed order.

    Arguments:
        path: where they are.
        names: what each of them is called in messages.
        summary: how many are read, and what is left out and why, in words.
    """

    def __init__(self, path: Path, names: Sequence[str], summary: str) -> None:
        if not names:
            raise UsageError(
                f"There are no images in {path}{_also(summary)}.",
                "It must hold png, jpg, bmp, webp, tif, gif, ppm, avif or npy files, or an array "
                "arr_0 [n, h, w, c].",
            )
        if len(names) < 2:
            raise UsageError(
                f"There is one image in {path}, and a covariance needs two.",
                "Use as many images as the model's data have; 10,000 are usual.",
            )
        self.path = path
        self.names = names
        self.summary = summary

    @abstractmethod
    def contents(self) -> Iterator[bytes]:
        """Each image as it is stored, in order."""

    @abstractmethod
    def decode(self, name: str, content: bytes) -> NDArray[np.uint8]:
        """The image [h, w, c] that `content` holds."""

    @abstractmethod
    def shape_of(self, name: str, content: bytes) -> Shape:
        """(h, w, c) of the image that `content` holds, its pixels unread."""

    @cached_property
    def digests(self) -> list[bytes]:
        """SHA-256 of each image as it is stored, in order."""
        return [hashlib.sha256(content).digest() for content in self.contents()]

    @cached_property
    def shapes(self) -> Sequence[Shape]:
        """(h, w, c) of each, in order; c = 1 only if all are grey.

        Raises:
            UsageError: if one is no image.
        """
        stored = zip(self.names, self.contents(), strict=True)
        found = [self.shape_of(name, content) for name, content in stored]
        channels = max(c for _, _, c in found)
        return [(h, w, channels) for h, w, _ in found]

    @property
    def shape(self) -> Shape:
        """(h, w, c) of all of them; h = w = 0 where they differ."""
        sizes = {(h, w) for h, w, _ in self.shapes}
        h, w = sizes.pop() if len(sizes) == 1 else (0, 0)
        return h, w, self.shapes[0][2]

    def batches(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """All images, uint8 [≤ size, c, h, w]: as many of one size as follow each other.

        Batches that end by image `start` are left out; the others are the same as without it.

        Raises:
            UsageError: if one cannot be read, or is not what it was when `digests` was read.
        """
        stored = zip(self.names, self.digests, self.contents(), strict=True)
        for first, end in self._spans(size):
            if end <= start:
                next(islice(stored, end - first - 1, end - first), None)
                continue
            images = np.empty((end - first, *self.shapes[first]), np.uint8)
            for i, (name, digest, content) in enumerate(islice(stored, end - first)):
                if hashlib.sha256(content).digest() != digest:
                    raise UsageError(
                        f"{name} in {self.path} changed while it was read.",
                        "Start again when nothing writes to it any more.",
                    )
                images[i] = self.decode(name, content)  # grey is repeated among colours
            yield torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _spans(self, size: int) -> Iterator[tuple[int, int]]:
        """(first, end) of each batch; of small images of one size they are equally long."""
        n = len(self.names)
        parts = -(-n // size)
        for part in range(parts):
            first, last = n * part // parts, n * (part + 1) // parts
            for end in range(first + 1, last + 1):
                shape = self.shapes[first]
                if (
                    end == last
                    or self.shapes[end] != shape
                    or (end - first + 1) * prod(shape) > _BYTES
                ):
                    yield first, end
                    first = end


class _Pictures(ImageSet):
    """Image files."""

    def decode(self, name: str, content: bytes) -> NDArray[np.uint8]:
        with explained(self.path, name):
            return pixels_of(name, content)

    def shape_of(self, name: str, content: bytes) -> Shape:
        with explained(self.path, name):
            return shape_of(name, content)


class _Folder(_Pictures):
    def __init__(self, path: Path) -> None:
        with explained(path):
            found = in_folder(path)
        super().__init__(path, found.names, str(found))

    def contents(self) -> Iterator[bytes]:
        for name in self.names:
            with explained(self.path, name), (self.path / name).open("rb") as stream:
                content = stream.read(LARGEST + 1)
                _check_size(len(content))
            yield content


class _Zip(_Pictures):
    def __init__(self, path: Path) -> None:
        with explained(path), unzipped(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        found = in_archive(member.filename for member in members)
        super().__init__(path, found.names, str(found))
        by_name = {member.filename: member for member in members}
        self._members = [by_name[name] for name in found.names]
        check_room(path, taken(member.file_size for member in self._members))

    def contents(self) -> Iterator[bytes]:
        with explained(self.path):
            archive = unzipped(self.path)
        with archive:
            for member in self._members:
                with explained(self.path, member.filename):
                    _check_size(member.file_size)
                    content = archive.read(member)
                yield content

    @cached_property
    def shapes(self) -> Sequence[Shape]:
        found = super().shapes
        check_room(self.path, taken(map(prod, found)))
        return found


class _Array(ImageSet):
    """The array `arr_0` of an .npz, uint8 [n, h, w, c], as ADM's sampling scripts write it."""

    def __init__(self, path: Path) -> None:
        with explained(path), unzipped(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist()]
            if _ARRAY not in held:
                raise UsageError(
                    f"{path} has no array arr_0; it has {', '.join(held[:9]) or 'nothing'}.",
                    "Images lie in arr_0 [n, h, w, c]; name a file of moments without images:.",
                )
            size = archive.getinfo(f"{_ARRAY}.npy").file_size
            with archive.open(f"{_ARRAY}.npy") as stream:
                header = read_header(stream)
        n, *shape = (*header.shape, 0)[:-1] or (0,)
        if header.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3) or header.fortran:
            raise UsageError(
                f"arr_0 in {path} is {header}.",
                "It must be uint8 [n, h, w, c] with c = 1 or 3, in C order.",
            )
        with explained(path):
            if header.nbytes > size:
                raise ValueError(f"arr_0 is {header}, and the file ends before it")
            _check_size(prod(shape))
        n = n if prod(shape) else 0
        check_room(path, n * taken([prod(shape)]))
        h, w, c = shape
        self._shape = h, w, c
        super().__init__(path, [f"arr_0[{i}]" for i in range(n)], f"{n:,} images")

    def contents(self) -> Iterator[bytes]:
        with explained(self.path):
            archive = unzipped(self.path)
            stream = archive.open(f"{_ARRAY}.npy")
            read_header(stream)
        with archive, stream:
            for name in self.names:
                with explained(self.path, name):
                    content = stream.read(prod(self._shape))
                    if len(content) < prod(self._shape):
                        raise EOFError("the file ends before it")
                yield content

    def decode(self, name: str, content: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(content, np.uint8).reshape(self._shape)

    def shape_of(self, name: str, content: bytes) -> Shape:
        return self._shape

    @cached_property
    def shapes(self) -> Sequence[Shape]:
        return [self._shape] * len(self.names)


def open_images(path: Path) -> ImageSet:
    """The images in `path`: a folder, a .zip, or an .npz with `arr_0` uint8 [n, h, w, c].

    Raises:
        UsageError: if it is none of them, cannot be read, or holds fewer than two images.
    """
    if path.is_dir():
        return _Folder(path)
    kinds: dict[str, type[_Zip] | type[_Array]] = {".zip": _Zip, ".npz": _Array}
    kind = kinds.get(path.suffix.lower())
    if path.is_file() and zipfile.is_zipfile(path):  # links may lead to names without a suffix
        with explained(path), unzipped(path) as archive:
            kind = _Array if f"{_ARRAY}.npy" in archive.namelist() else kind or _Zip
    if kind is None and path.is_file():
        with explained(path):
            unzipped(path)  # says what it is
    if kind is None:
        raise UsageError(f"{path} is no folder, .zip or .npz.", "Put the images into one of them.")
    return kind(path)


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")


def _also(told: str) -> str:
    _, _, left_out = told.partition("; ")
    return f" ({left_out})" if left_out else ""
