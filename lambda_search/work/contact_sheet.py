"""Samples as one small picture, for people."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MOST_BYTES", "contact_sheet"]

MOST_BYTES = 100_000

_COLUMNS = 8
_SIDE = 128
"""Pixels of a sample's longer side, at most."""

_SHRINK = 0.8


def contact_sheet(images: NDArray[np.uint8]) -> bytes:
    """A PNG of at most `MOST_BYTES` with the images, uint8 [n, c, h, w], in rows of eight.

    Grey ones have c = 1; of more than three channels the first three are shown.
    """
    n, c, h, w = images.shape
    columns = min(n, _COLUMNS)
    rows = -(-n // columns)
    shown = images[:, : 3 if c >= 3 else 1]
    sheet = np.zeros((rows * columns, *shown.shape[1:]), np.uint8)
    sheet[:n] = shown
    tiled = sheet.reshape(rows, columns, -1, h, w).transpose(0, 3, 1, 4, 2)
    pixels = tiled.reshape(rows * h, columns * w, -1)
    whole = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    scale = min(1.0, _SIDE / max(h, w))
    while True:
        size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
        stream = io.BytesIO()
        (whole if scale == 1 else whole.resize(size)).save(stream, "PNG", optimize=True)
        if len(stream.getvalue()) <= MOST_BYTES:
            return stream.getvalue()
        scale *= _SHRINK
