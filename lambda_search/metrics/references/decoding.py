"""One image as it is stored → its pixels, to the values that clean-fid reads.

clean-fid takes what Pillow makes of a file, as RGB, or a `.npy` array as it is. So palettes and
CMYK become RGB, alpha is dropped, 16 bits per channel become their upper eight, EXIF's orientation
is not heeded, and of several frames the first counts. Two things that clean-fid reads are refused:
grey of more than 8 bits, of which it would make white, and arrays of fractions.

No image may have more than 2²⁵ pixels: Pillow's own limit, five times as high, takes gigabytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile

from lambda_search.metrics.references.archives import read_header

__all__ = ["LARGEST", "SUFFIXES", "Shape", "pixels_of", "shape_of"]

Shape: TypeAlias = tuple[int, int, int]
"""(h, w, c), c = 1 or 3."""

LARGEST = 2**28
"""Bytes that a stored image may have."""

SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .jfif .jpe .jpeg .jpg .npy .pbm .pgm .png .pnm .ppm .tif .tiff "
    ".webp".split()
)
"""Of all that is read; clean-fid reads .bmp .jpeg .jpg .npy .pgm .png .ppm .tif .tiff .webp."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "AVIF")
_GREY = {"1", "L"}
_DEEP = re.compile(r"I|I;.*|F")
_PIXELS = 2**25
_SCANNED = 2**32
"""Pixels times scans of a progressive JPEG; encoders make ten scans."""
_TILE = 322, 323
"""TIFF's tags of the width and height of tiles."""
_OTHERS = {
    b"": "the file is empty",
    b"version https://git-lfs": "it is a pointer of git-lfs; fetch the file with: git lfs pull",
    b"<": "it is a page of text, not an image",
}
_ARRAY = ".npy"


def shape_of(name: str, content: bytes) -> Shape:
    """(h, w, c) of the image `name` with `content`, its pixels unread.

    Raises:
        ValueError, OSError: if it cannot be read; Pillow raises others too.
    """
    if _is_array(name):
        h, w, c = _array(content).shape
        return h, w, c
    with _opened(content) as image:
        return image.height, image.width, 1 if image.mode in _GREY else 3


def pixels_of(name: str, content: bytes) -> NDArray[np.uint8]:
    """The pixels [h, w, c] of the image `name` with `content`.

    Raises:
        ValueError, OSError: if it cannot be read; Pillow raises others too.
    """
    if _is_array(name):
        return _array(content)
    with _opened(content) as image:
        pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    return pixels.reshape(image.height, image.width, -1)


def _is_array(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() == _ARRAY


@contextmanager
def _opened(content: bytes) -> Iterator[ImageFile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images and of palettes with alpha
        try:
            opened = Image.open(BytesIO(content), formats=_FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError(_what_it_is(content)) from error
        with opened as image:
            _check(image, content)
            yield image


def _check(image: ImageFile, content: bytes) -> None:
    """Raises ValueError for what Pillow would not read well, or not in bounds."""
    if _DEEP.fullmatch(image.mode):
        raise ValueError("it is grey with more than 8 bits per channel; convert it to 8 bits")
    pixels, tags = image.width * image.height, getattr(image, "tag_v2", {})
    tile = [tags.get(tag, 1) for tag in _TILE]
    if max(pixels, tile[0] * tile[1]) > _PIXELS:
        raise ValueError(f"its {image.width} × {image.height} pixels are more than {_PIXELS:,}")
    if pixels * content.count(b"\xff\xda") > _SCANNED and image.format in ("JPEG", "MPO"):
        raise ValueError("it has too many scans")


def _what_it_is(content: bytes) -> str:
    start = content[:64].lstrip()
    for beginning, said in _OTHERS.items():
        if start.startswith(beginning) if beginning else not content:
            return said
    return f"it is no image in one of the formats {', '.join(_FORMATS)}"


def _array(content: bytes) -> NDArray[np.uint8]:
    """A `.npy` image, [h, w] or [h, w, c] of whole numbers up to 255; of four channels three."""
    stream = BytesIO(content)
    header = read_header(stream)
    h, w, c = (*header.shape, 1) if len(header.shape) == 2 else (*header.shape, 0, 0, 0)[:3]
    if header.dtype.kind not in "uif" or len(header.shape) > 3 or c not in (1, 3, 4) or not h * w:
        raise ValueError(f"its array is {header}; [h, w], or [h, w, c] with c = 1 or 3, is needed")
    if header.nbytes > len(content) - stream.tell():
        raise ValueError(f"its array is {header}, and the file ends before it")
    order: Any = "F" if header.fortran else "C"
    found = np.frombuffer(content, header.dtype, h * w * c, stream.tell())
    with np.errstate(invalid="ignore"):
        whole = found.astype(np.uint8)
    if header.dtype != np.uint8 and not np.array_equal(whole, found):
        raise ValueError("its array holds other numbers than the whole ones from 0 to 255")
    return whole.reshape((h, w, c), order=order)[:, :, :3]
