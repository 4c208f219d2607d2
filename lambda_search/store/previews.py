"""Image grids for reports: a few samples at λ = 1 and at the winner, from the same noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_preview", "save_preview"]

Images = NDArray[np.uint8]


def save_preview(folder: Path, name: str, baseline: Images, winner: Images) -> None:
    """Keeps two sets of images, uint8 [n, c, h, w], under `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", baseline=baseline, winner=winner)


def load_preview(folder: Path, name: str) -> tuple[Images, Images] | None:
    """The two sets under `name`, or None where this machine does not have them."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["baseline"], arrays["winner"]
