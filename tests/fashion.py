"""The 10,000 test images of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747; MIT licence)."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

import numpy as np

_FILE = Path(__file__).parent / "data" / "fashion-mnist-t10k.idx.xz"


@cache
def fashion_images() -> np.ndarray:
    """uint8 [10000, 28, 28]."""
    raw = lzma.decompress(_FILE.read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(10_000, 28, 28)
