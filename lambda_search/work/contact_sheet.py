"""Samples as one picture, for people."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

__all__ = ["MOST_BYTES", "contact_sheet", "side_by_side"]

MOST_BYTES = 100_000

_COLUMNS = 8
_SIDE = 128
"""Pixels of a sample's longer side on a contact sheet, at most."""
_SHRINK = 0.8

_SEEN, _LARGE = 64, 512
"""Pixels of a sample's longer side in a comparison, at least and at most."""
_MARGIN = 16
_TEXT = 16
"""Height of a title in a comparison 500 pixels wide; it grows with the picture."""


def contact_sheet(images: NDArray[np.uint8]) -> bytes:
    """A PNG of at most `MOST_BYTES` with the images, uint8 [n, c, h, w], in rows of eight.

    Grey ones have c = 1; of more than three channels the first three are shown.
    """
    whole = _tiled(images, min(len(images), _COLUMNS))
    scale = min(1.0, _SIDE / max(images.shape[2:]))
    while True:
        size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
        png = _png(whole if scale == 1 else whole.resize(size))
        if len(png) <= MOST_BYTES:
            return png
        scale *= _SHRINK


def side_by_side(
    left: NDArray[np.uint8], right: NDArray[np.uint8], titles: tuple[Sequence[str], Sequence[str]]
) -> bytes:
    """A PNG with two grids of as many images each, uint8 [n, c, h, w], under their titles.

    Arguments:
        left, right: the images, in the same places.
        titles: the lines above each, in ASCII: the font that is always there has no λ.
    """
    columns = math.ceil(math.sqrt(len(left)))
    side = max(left.shape[2:])
    enlarged = math.ceil(_SEEN / side)  # pixels stay squares
    grids = []
    for images in (left, right):
        grid = _tiled(images, columns).convert("RGB")
        size = (grid.width * enlarged, grid.height * enlarged)
        grid = grid.resize(size, Image.Resampling.NEAREST) if enlarged > 1 else grid
        if side > _LARGE:
            grid.thumbnail((columns * _LARGE,) * 2)
        grids.append(grid)
    width, height = grids[0].size
    text = max(_TEXT, _TEXT * width // 500)
    font = ImageFont.load_default(text)
    room = 2 * _MARGIN + max(map(len, titles)) * text * 3 // 2
    whole = Image.new("RGB", (2 * width + 3 * _MARGIN, room + height + _MARGIN), "white")
    pen = ImageDraw.Draw(whole)
    for place, (grid, lines) in enumerate(zip(grids, titles, strict=True)):
        x = _MARGIN + place * (width + _MARGIN)
        pen.multiline_text((x, _MARGIN), "\n".join(lines), "black", font, spacing=text // 2)
        whole.paste(grid, (x, room))
    return _png(whole)


def _tiled(images: NDArray[np.uint8], columns: int) -> Image.Image:
    """Images, uint8 [n, c, h, w], as one, filled row by row; what is left over is black."""
    n, c, h, w = images.shape
    rows = -(-n // columns)
    shown = images[:, : 3 if c >= 3 else 1]
    sheet = np.zeros((rows * columns, *shown.shape[1:]), np.uint8)
    sheet[:n] = shown
    tiled = sheet.reshape(rows, columns, -1, h, w).transpose(0, 3, 1, 4, 2)
    pixels = tiled.reshape(rows * h, columns * w, -1)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
