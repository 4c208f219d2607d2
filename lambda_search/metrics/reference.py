"""What samples are measured against: the moments of real images under one extractor."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.features import BUNDLED_FEATURES
from lambda_search.metrics.features import Extractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.images import ImageSet
from lambda_search.metrics.images import open_images
from lambda_search.metrics.moments import Moments
from lambda_search.models.checkpoints import BUNDLED
from lambda_search.models.checkpoints import bundled_folder
from lambda_search.models.checkpoints import locate
from lambda_search.models.checkpoints import sha256_of

__all__ = ["IMAGES", "Reference", "load_reference"]

IMAGES = "images:"
"""What the names of references begin with that are images, not moments."""

MeanCov: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]

_BATCH = 64
_SCHEME = b"lambda_search: moments of images, 1\n"


@dataclass(frozen=True)
class Reference:
    """Moments of the reference images, those of `images:` computed when they are first asked for.

    Arguments:
        name: as the study file says it.
        fingerprint: SHA-256 of the file that holds it; for `images:` over the extractor's
            fingerprint and every image's SHA-256, whatever the images are called and wherever
            they lie.
        dim: d, the width of the features.
        count: number of images, or None where a file of moments does not say it.
        load: gives mean and covariance.
    """

    name: str
    fingerprint: str
    dim: int
    count: int | None
    load: Callable[[], MeanCov]

    @cached_property
    def _moments(self) -> MeanCov:
        return self.load()

    @property
    def mean(self) -> NDArray[np.float64]:
        """μᵣ, float64 [d]."""
        return self._moments[0]

    @property
    def cov(self) -> NDArray[np.float64]:
        """Σᵣ, float64 [d, d]."""
        return self._moments[1]

    def frechet(self) -> FrechetReference:
        """The Gaussian to measure distances to."""
        return FrechetReference(self.mean, self.cov)


def load_reference(
    name: str, extractor: Extractor | str, base: Path | None = None, cache: Path | None = None
) -> Reference:
    """Reads a reference.

    Arguments:
        name: `bundled:fashion-mnist`, the path of an `.npz` with `mu` [d] and `sigma` [d, d], or
            `images:PATH`, where PATH is what `open_images` reads.
        extractor: what the samples will go through; its fingerprint is enough for moments.
        base: where relative paths start.
        cache: folder in which the moments of images are kept; they are not kept without it.

    Raises:
        UsageError: if it is missing, cannot be read, or was made with another extractor; of
            images, all but damaged pixels is seen here, and those when the moments are made.
    """
    if name.startswith(IMAGES):
        if isinstance(extractor, str):
            raise TypeError("images need the extractor itself")
        return _from_images(name, extractor, base, cache)
    fingerprint = extractor if isinstance(extractor, str) else extractor.fingerprint
    if name == f"{BUNDLED}fashion-mnist":
        path: Path | None = bundled_folder(BUNDLED_FEATURES) / "reference.npz"
    else:
        path = locate(name, base)
    if path is None or not path.is_file():
        raise UsageError(
            f"There is no reference at {name}.",
            "Name bundled:fashion-mnist, images:FOLDER, or an .npz file with mu and sigma.",
        )
    moments = _read(path, fingerprint)
    return Reference(name, sha256_of(path), len(moments[0]), None, lambda: moments)


def _read(path: Path, extractor: str) -> MeanCov:
    """The moments in the .npz `path`, made with the extractor of this fingerprint."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean = np.asarray(arrays["mu"], np.float64)
            cov = np.asarray(arrays["sigma"], np.float64)
            made_with = str(arrays["extractor"]) if "extractor" in arrays else None
    except Exception as error:  # numpy and zipfile raise many kinds on a broken file
        raise UsageError(
            f"The reference {path} cannot be read: {error}.",
            "It must be an .npz file with mu [d] and sigma [d, d].",
        ) from error
    if made_with not in (None, extractor):
        raise UsageError(
            f"The reference {path} was made with another extractor than the study's.",
            "Use the extractor that made it, or make a reference with this one.",
        )
    FrechetReference(mean, cov)
    return mean, cov


def _from_images(
    name: str, extractor: Extractor, base: Path | None, cache: Path | None
) -> Reference:
    place = name.removeprefix(IMAGES)
    path = locate(place, base) if place else None
    if path is None:
        raise UsageError(
            f"There is no reference at {name}.",
            "Name a folder, a .zip or an .npz of images after images:.",
        )
    images = open_images(path)
    # Contents, not times: hashing 1.5 GB/s is quick beside the extractor, and every host agrees.
    digest = hashlib.sha256(_SCHEME + extractor.fingerprint.encode())
    digest.update(b"".join(sorted(images.digests)))
    fingerprint = digest.hexdigest()
    kept = None if cache is None else cache / f"{fingerprint}.npz"
    if kept is None or not kept.is_file():
        _ = images.shape  # refused now, not after an hour in the extractor
    load = partial(_moments, images, extractor, kept)
    return Reference(name, fingerprint, extractor.dim, len(images.names), load)


def _moments(images: ImageSet, extractor: Extractor, kept: Path | None) -> MeanCov:
    """The moments kept in the file `kept`, or else computed, by one process while others wait."""
    if kept is None:
        return _measure(images, extractor)
    found = _recall(kept, extractor)
    if found is not None:
        return found
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):
            found = _recall(kept, extractor)
            if found is None:
                found = _measure(images, extractor)
                _keep(kept, found, extractor)
    except OSError as error:
        raise LambdaSearchError(
            f"The reference's moments cannot be kept in {kept.parent}: {error.strerror or error}.",
            "Free some space there, or move the data folder with LAMBDA_SEARCH_HOME.",
        ) from error
    return found


def _recall(kept: Path, extractor: Extractor) -> MeanCov | None:
    """What `kept` holds, or None if it is missing or damaged."""
    try:
        mean, cov = _read(kept, extractor.fingerprint)
    except LambdaSearchError:
        return None
    return (mean, cov) if len(mean) == extractor.dim else None


def _keep(kept: Path, moments: MeanCov, extractor: Extractor) -> None:
    """Writes a reference file; a crash leaves either all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=kept.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, mu=moments[0], sigma=moments[1], extractor=extractor.fingerprint)
        os.replace(temporary, kept)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _measure(images: ImageSet, extractor: Extractor) -> MeanCov:
    """Mean and covariance of the images' features, about the first block's mean."""
    total: Moments | None = None
    for block in _blocks(_features(images, extractor), 2 * extractor.dim):
        if total is None:
            total = Moments.from_features(block, block.mean(0))
        else:
            total += Moments.from_features(block, total.centre)
    assert total is not None
    return total.mean.numpy(), total.cov.numpy()


def _blocks(parts: Iterator[Tensor], rows: int) -> Iterator[Tensor]:
    """`parts` joined to blocks of `rows` or more: a block of 2d is as large as its moments."""
    block: list[Tensor] = []
    for part in parts:
        block.append(part)
        if sum(map(len, block)) >= rows:
            yield torch.cat(block)
            block = []
    if block:
        yield torch.cat(block)


def _features(images: ImageSet, extractor: Extractor) -> Iterator[Tensor]:
    """Features of batch after batch, float64 [n, d]."""
    first = 0
    for batch in images.batches(_BATCH):
        features = extractor(batch).to("cpu", torch.float64)
        if features.shape != (len(batch), extractor.dim):
            raise LambdaSearchError(
                f"The extractor {extractor.name} made {list(features.shape)} of {len(batch)} "
                f"images; it promises features {extractor.dim} wide.",
                "Mend the extractor.",
            )
        bad = (~torch.isfinite(features)).any(1)
        if bad.any():
            name = images.names[first + int(bad.int().argmax())]
            raise UsageError(
                f"The extractor makes NaN or infinity of {name} in {images.path}.",
                "Look at the image; if it is sound, use another extractor.",
            )
        first += len(batch)
        yield features
