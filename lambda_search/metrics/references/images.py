"""Images in a folder, a .zip or an .npz, read one after another and never all at once.

Folders are read with all that is below them, and so are archives, which are never unpacked to
disk; hidden files (macOS puts `._` copies into archives) are left out. The order is that of the
relative names. Grey images keep their one channel; palettes and CMYK become RGB, and alpha is
dropped. Of several frames the first counts. Nothing is resized.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from abc import ABC
from abc import abstractmethod
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from itertools import islice
from math import prod
from pathlib import Path
from pathlib import PurePosixPath
from typing import IO
from typing import Any
from typing import TypeAlias

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from torch import Tensor

from lambda_search.errors import UsageError

__all__ = ["ImageSet", "open_images"]

Shape: TypeAlias = tuple[int, int, int]
"""(h, w, c), c = 1 or 3."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
_GREY = {"1", "L"}
_COLOUR = {"P", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"}


class ImageSet(ABC):
    """Images of one size and one mode, in a fixed order.

    Arguments:
        path: where they are.
        names: what each of them is called in messages.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        if not names:
            raise UsageError(
                f"There are no images in {path}.",
                "It must hold png, jpg, bmp, webp or tif files, or an array arr_0 [n, h, w, c].",
            )
        if len(names) < 2:
            raise UsageError(
                f"There is one image in {path}, and a covariance needs two.",
                "Use as many images as the model's data have; 10,000 are usual.",
            )
        self.path = path
        self.names = names

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
    def shape(self) -> Shape:
        """(h, w, c) of all of them.

        Raises:
            UsageError: if two differ, or one is no image.
        """
        shape: Shape | None = None
        for name, content in zip(self.names, self.contents(), strict=True):
            found = self.shape_of(name, content)
            if shape not in (None, found):
                raise UsageError(
                    f"The images in {self.path} differ: {self.names[0]} is {_words(shape)}, "
                    f"and {name} is {_words(found)}.",
                    "Make all of them as large as the model's, and all of them grey or RGB.",
                )
            shape = found
        assert shape is not None
        return shape

    def batches(self, size: int, start: int = 0) -> Iterator[Tensor]:
        """All images, uint8 [≤ size, c, h, w]; none is alone in its batch if size ≥ 3.

        Batches that end by image `start` are left out; the others are the same as without it.

        Raises:
            UsageError: if one cannot be read, or is not what it was when `digests` was read.
        """
        shape, n = self.shape, len(self.names)
        stored = zip(self.names, self.digests, self.contents(), strict=True)
        parts = -(-n // size)
        for part in range(parts):
            end = n * (part + 1) // parts
            count = end - n * part // parts
            if end <= start:
                next(islice(stored, count - 1, count), None)
                continue
            images = np.empty((count, *shape), np.uint8)
            for i, (name, digest, content) in enumerate(islice(stored, count)):
                if hashlib.sha256(content).digest() != digest:
                    raise UsageError(
                        f"{name} in {self.path} changed while it was read.",
                        "Start again when nothing writes to it any more.",
                    )
                images[i] = self.decode(name, content)
            yield torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


class _Pictures(ImageSet):
    """Image files, decoded by Pillow."""

    def decode(self, name: str, content: bytes) -> NDArray[np.uint8]:
        with self._opened(name, content) as (image, mode):
            pixels = np.asarray(image.convert(mode))
        return pixels.reshape(image.height, image.width, -1)

    def shape_of(self, name: str, content: bytes) -> Shape:
        with self._opened(name, content) as (image, mode):
            return image.height, image.width, len(mode)

    @contextmanager
    def _opened(self, name: str, content: bytes) -> Iterator[tuple[ImageFile, str]]:
        """The image, and the mode that it counts as: L or RGB."""
        with _explained(self.path, name), Image.open(BytesIO(content), formats=_FORMATS) as image:
            # Pillow halves 16-bit colours silently; only the layout of the stored data tells.
            tiles = str([tile.args for tile in image.tile])
            if image.mode not in _GREY | _COLOUR or re.search(";16[BLN]", tiles):
                raise UsageError(
                    f"{name} in {self.path} has more than 8 bits per channel.",
                    "Convert the images to 8 bits per channel.",
                )
            yield image, "L" if image.mode in _GREY else "RGB"


class _Folder(_Pictures):
    def __init__(self, path: Path) -> None:
        with _explained(path):
            files = (file for file in path.rglob("*") if not file.is_dir())
            names = (file.relative_to(path).as_posix() for file in files)
            super().__init__(path, sorted(name for name in names if _counts(name)))

    def contents(self) -> Iterator[bytes]:
        for name in self.names:
            with _explained(self.path, name):
                content = (self.path / name).read_bytes()
            yield content


class _Zip(_Pictures):
    def __init__(self, path: Path) -> None:
        with _explained(path), zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
        self._members = sorted(
            (member for member in members if _counts(member.filename)),
            key=lambda member: member.filename,
        )
        super().__init__(path, [member.filename for member in self._members])

    def contents(self) -> Iterator[bytes]:
        with _explained(self.path):
            archive = zipfile.ZipFile(self.path)
        with archive:
            for member in self._members:
                with _explained(self.path, member.filename):
                    content = archive.read(member)
                yield content


class _Array(ImageSet):
    """The array `arr_0` of an .npz, uint8 [n, h, w, c], as ADM's sampling scripts write it."""

    def __init__(self, path: Path) -> None:
        with _explained(path), zipfile.ZipFile(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist()]
            if "arr_0" not in held:
                raise UsageError(
                    f"{path} has no array arr_0; it has {', '.join(held) or 'nothing'}.",
                    "Images lie in arr_0 [n, h, w, c]; name a file of moments without images:.",
                )
            with archive.open("arr_0.npy") as stream:
                shape, fortran, dtype = _header(stream)
        if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or fortran:
            raise UsageError(
                f"arr_0 in {path} is {dtype} {list(shape)}{' in Fortran order' * fortran}.",
                "It must be uint8 [n, h, w, c] with c = 1 or 3, in C order.",
            )
        self._shape: Shape = shape[1:]
        super().__init__(path, [f"arr_0[{i}]" for i in range(shape[0] if prod(shape) else 0)])

    def contents(self) -> Iterator[bytes]:
        with _explained(self.path):
            archive = zipfile.ZipFile(self.path)
            stream = archive.open("arr_0.npy")
            _header(stream)
        with archive, stream:
            for name in self.names:
                with _explained(self.path, name):
                    content = stream.read(prod(self._shape))
                    if len(content) < prod(self._shape):
                        raise EOFError("the file ends before it")
                yield content

    def decode(self, name: str, content: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(content, np.uint8).reshape(self._shape)

    def shape_of(self, name: str, content: bytes) -> Shape:
        return self._shape

    @cached_property
    def shape(self) -> Shape:
        return self._shape


def open_images(path: Path) -> ImageSet:
    """The images in `path`: a folder, a .zip, or an .npz with `arr_0` uint8 [n, h, w, c].

    Raises:
        UsageError: if it is none of them, cannot be read, or holds fewer than two images.
    """
    if path.is_dir():
        return _Folder(path)
    kinds: dict[str, type[_Zip] | type[_Array]] = {".zip": _Zip, ".npz": _Array}
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{path} is no folder, .zip or .npz.", "Put the images into one of them.")
    return kinds[path.suffix.lower()](path)


def _counts(name: str) -> bool:
    """Whether the file `name` is an image by its ending, and not hidden."""
    parts = PurePosixPath(name).parts
    hidden = any(re.match(r"\.[^.]", part) for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in _SUFFIXES


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of the array in `stream`, which is left at its data."""
    old = npy.read_magic(stream) == (1, 0)
    return npy.read_array_header_1_0(stream) if old else npy.read_array_header_2_0(stream)


def _words(shape: Shape | None) -> str:
    assert shape is not None
    return f"{shape[1]} × {shape[0]} {'grey' if shape[2] == 1 else 'RGB'}"


@contextmanager
def _explained(path: Path, name: str | None = None) -> Iterator[None]:
    """Whatever goes wrong while `name` in `path` is read becomes a UsageError."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # Pillow, zipfile and numpy raise many kinds on broken files
        what = path if name is None else f"{name} in {path}"
        raise UsageError(
            f"{what} cannot be read: {str(error) or type(error).__name__}.",
            "Replace it, or take it away." if name else "Make it again, or copy it again.",
        ) from error
