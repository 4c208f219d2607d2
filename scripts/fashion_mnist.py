"""Fashion-MNIST from its IDX files, as numpy arrays.

Xiao, Rasul & Vollgraf 2017 (arXiv:1708.07747), MIT licence; Debian package
`dataset-fashion-mnist`.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> Bytes:
    """Read one gzipped IDX file of unsigned bytes.

    The header is two zero bytes, the element type (8: unsigned byte), the number of axes, then
    each axis's length as a big-endian 32-bit integer.
    """
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    axes = raw[3]
    shape = np.frombuffer(raw, dtype=">i4", count=axes, offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def load(folder: Path = DEFAULT_FOLDER, split: str = "train") -> tuple[Bytes, Bytes]:
    """Images [n, 28, 28] and labels [n] of the split `train` (60,000) or `test` (10,000)."""
    prefix = PREFIX[split]
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {len(images)} images but {len(labels)} labels")
    return images, labels
