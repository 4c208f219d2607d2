"""The references of a machine: those that ship, were made or fetched, and unfinished ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from pathlib import Path

import numpy as np

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.extractors.bundled import FOLDER
from lambda_search.metrics.references.making import PARTIAL
from lambda_search.metrics.references.statistics import CLEAN_FID_WORDS
from lambda_search.metrics.references.statistics import read_statistics
from lambda_search.paths import bundled_folder
from lambda_search.setting import own_steps

__all__ = ["Kept", "kept_references"]


@dataclass(frozen=True)
class Kept:
    """A reference on this machine.

    Arguments:
        name: how a study file names it.
        count: number of images, where it is known.
        dim: d, the width of its features.
        extractor: what made it, with the start of its fingerprint, or "" where the file does not
            say it.
        fingerprint: of the reference.
        made: when, UTC.
        path: the file.
        state: `ready`, `unfinished` (made again, it goes on) or `damaged`.
    """

    name: str
    count: int | None
    dim: int
    extractor: str
    fingerprint: str
    made: datetime
    path: Path
    state: str = "ready"


def kept_references(folder: Path) -> Iterator[Kept]:
    """All that ship, and those in `folder`."""
    bundled = bundled_folder(FOLDER) / "reference.npz"
    yield _kept(bundled, "bundled:fashion-mnist")
    for path in sorted(folder.glob("clean-fid/*.npz")):
        if not path.stem.endswith("_kid"):
            yield _kept(path, _published_name(path))
    for path in sorted(folder.glob("*.npz")):
        yield _kept(path)
    for path in sorted(folder.glob(f"*{PARTIAL}")):
        yield _unfinished(path)


def _kept(path: Path, name: str = "") -> Kept:
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    of_images = re.fullmatch("[0-9a-f]{64}", path.stem) is not None  # named after the images
    named = path.stem if of_images else ""
    try:
        found = read_statistics(path)
    except LambdaSearchError:
        return Kept(name or str(path), None, 0, "", named, made, path, "damaged")
    label = found.extractor_name or ("" if found.extractor is None else "?")
    if found.extractor is not None:
        label = f"{label}@{found.extractor[:12]}"
    own = of_images and own_steps(found.source.partition(" ")[0]) is not None
    still_there = of_images and found.source and Path(found.source).exists()
    source = found.source if own else f"images:{found.source}"
    name = name or (source if own or still_there else str(path))
    fingerprint = named or found.fingerprint
    return Kept(name, found.count, len(found.mean), label, fingerprint, made, path)


def _unfinished(path: Path) -> Kept:
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            count, dim = int(arrays["n"]), len(arrays["centre"])
    except Exception:  # numpy and zipfile raise many kinds on a broken file
        return Kept(str(path), None, 0, "", path.stem, made, path, "damaged")
    return Kept(str(path), count, dim, "", path.stem, made, path, "unfinished")


def _published_name(path: Path) -> str:
    """`cifar10_clean_train_32.npz` → `clean-fid:cifar10/train/32`."""
    for word in CLEAN_FID_WORDS:
        dataset, found, rest = path.stem.partition(f"_{word}_")
        if found and rest.count("_") == 1:
            return f"clean-fid:{dataset}/{rest.replace('_', '/')}"
    return str(path)
