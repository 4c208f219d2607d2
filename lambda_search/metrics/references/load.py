"""What samples are measured against, by name: statistics of real images under one extractor.

bundled:fashion-mnist         of the bundled extractor
images:PATH                   the user's own images: a folder, a .zip, or an .npz with arr_0
clean-fid:DATASET/SPLIT/RES   what clean-fid publishes: clean-fid:cifar10/train/32
PATH.npz                      a file: `reference make`'s, EDM's, the ADM evaluator's
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_search.downloads import Download
from lambda_search.downloads import obtain
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import enough_images
from lambda_search.metrics.extractors.base import Described
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.extractors.bundled import FOLDER
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.metrics.references.decoding import Shape
from lambda_search.metrics.references.images import open_images
from lambda_search.metrics.references.making import Watch
from lambda_search.metrics.references.making import recall
from lambda_search.metrics.references.making import statistics_of
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.metrics.references.statistics import check_origin
from lambda_search.metrics.references.statistics import check_width
from lambda_search.metrics.references.statistics import read_statistics
from lambda_search.paths import BUNDLED
from lambda_search.paths import bundled_folder
from lambda_search.paths import locate
from lambda_search.paths import references_folder

__all__ = ["CLEAN_FID", "IMAGES", "Reference", "load_reference"]

IMAGES = "images:"
"""What the names of references begin with that are images, not moments."""

CLEAN_FID = "clean-fid:"
"""What the names of clean-fid's statistics begin with."""

_CLEAN_FID_URL = "https://www.cs.cmu.edu/~clean-fid/stats/"
_SCHEME = b"lambda_search: moments of images, 1\n"
_NAMES = "Name bundled:fashion-mnist, images:PATH, clean-fid:DATASET/SPLIT/RES, or an .npz file."


@dataclass(frozen=True)
class Reference:
    """Statistics of the reference images, those of `images:` computed when first asked for.

    Arguments:
        name: as the study file says it.
        fingerprint: SHA-256 over its moments; for `images:` over the extractor's
            fingerprint and every image's SHA-256, whatever the images are called and wherever
            they lie. "" where the extractor's is not known.
        dim: d, the width of the features; 0 where only running the extractor tells it.
        count: number of images, or None where a file of moments does not say it.
        shape: (h, w, c) of the images, h = w = 0 where their sizes differ; None if not known.
        summary: what was read of a folder or an archive, and what not, in words.
        distinct: how many of the images have contents of their own; None where only the moments
            are known.
        missing_rank: of Σᵣ, as of `Statistics`; of images it is not asked, they can be counted.
        load: gives the statistics, telling whoever watches how far it is.
    """

    name: str
    fingerprint: str
    dim: int
    count: int | None
    shape: Shape | None
    summary: str
    distinct: int | None
    missing_rank: int | None
    load: Callable[[Watch | None], Statistics]

    @cached_property
    def statistics(self) -> Statistics:
        """Moments and what is kept beside them."""
        return self.load(None)

    @property
    def mean(self) -> NDArray[np.float64]:
        """μᵣ, float64 [d]."""
        return self.statistics.mean

    @property
    def cov(self) -> NDArray[np.float64]:
        """Σᵣ, float64 [d, d]."""
        return self.statistics.cov

    def frechet(self, device: torch.device | None = None) -> FrechetReference:
        """The Gaussian to measure distances to, on `device`."""
        return FrechetReference(self.mean, self.cov, device)

    def kernel(self, device: torch.device | None = None) -> KernelReference | None:
        """The features to measure KID to, where some are kept."""
        features = self.statistics.features
        return None if features is None else KernelReference(features, device)


def load_reference(
    name: str,
    extractor: Described,
    base: Path | None = None,
    cache: Path | None = None,
    fetch: bool = True,
) -> Reference:
    """Reads a reference.

    Arguments:
        name: as above.
        extractor: what the samples will go through; one that is only described will do, but then
            the statistics of images cannot be computed.
        base: where relative paths start.
        cache: folder in which the moments of images are kept; they are not kept without it.
        fetch: whether published statistics may be fetched.

    Raises:
        MissingFile: if it is not on this machine, and cannot or may not be fetched.
        UsageError: if it cannot be read, was made with another extractor, or of fewer images than
            there are features; of images, all but damaged pixels is seen here, and those when the
            moments are made.
    """
    if name.startswith(IMAGES):
        found = _from_images(name, extractor, base, cache)
    else:
        found = _from_file(name, extractor, base, fetch)
    if found.count is not None and found.count < found.dim:
        raise UsageError(
            f"The reference {name} is of {found.count:,} images, fewer than the {found.dim:,} "
            f"features of {extractor.name}: it cannot tell how they vary.",
            f"Use {enough_images(found.dim):,} images or more, or an extractor with fewer "
            "features.",
        )
    return found


def _from_file(name: str, extractor: Described, base: Path | None, fetch: bool) -> Reference:
    published = name.startswith(CLEAN_FID)
    if published:
        path: Path | None = _clean_fid(name, extractor, fetch)
    elif name == f"{BUNDLED}fashion-mnist":
        path = bundled_folder(FOLDER) / "reference.npz"
    else:
        path = locate(name, base)
    if path is None or path.is_dir():
        raise MissingFile(f"There is no reference at {name}.", _NAMES)
    found = read_statistics(path)
    # Those of clean-fid are named after what made them.
    check = check_width if published else check_origin
    check(found, path, extractor)
    shape = found.shape
    resolution = name.rpartition("/")[2]
    if published and resolution.isdecimal():
        shape = int(resolution), int(resolution), 3
    return Reference(
        name,
        found.fingerprint,
        len(found.mean),
        found.count,
        shape,
        "",
        None,
        found.missing_rank,
        lambda watch: found,
    )


def _clean_fid(name: str, extractor: Described, fetch: bool) -> Path:
    """The file of clean-fid's statistics, fetched once per machine."""
    if re.fullmatch(r"\w+/\w+/\w+", name.removeprefix(CLEAN_FID), re.ASCII) is None:
        raise UsageError(
            f"{name} names no statistics of clean-fid.", "For example: clean-fid:cifar10/train/32."
        )
    if not extractor.published:
        raise UsageError(
            f"clean-fid publishes no statistics for the extractor {extractor.name}"
            f"{'@' * bool(extractor.fingerprint)}{extractor.fingerprint[:12]}.",
            "Use inception-clean or inception-legacy with their published weights, or another "
            "reference.",
        )
    dataset, split, resolution = name.removeprefix(CLEAN_FID).lower().split("/")
    file = f"{dataset}_{extractor.published}_{split}_{resolution}.npz"
    download = Download(f"clean-fid's statistics {file}", _CLEAN_FID_URL + file)

    def check(path: Path) -> None:
        try:
            read_statistics(path)
        except LambdaSearchError as error:
            raise MissingFile(
                f"What {download.url} gave holds no statistics: mu [d] and sigma [d, d].",
                "Try again; if it stays so, use another reference.",
            ) from error

    return obtain(download, references_folder() / "clean-fid", fetch, check)


def _from_images(
    name: str, extractor: Described, base: Path | None, cache: Path | None
) -> Reference:
    place = name.removeprefix(IMAGES)
    path = locate(place, base) if place else None
    if path is None:
        raise MissingFile(
            f"There is no reference at {name}.",
            "Name a folder, a .zip or an .npz of images after images:.",
        )
    images = open_images(path)
    # Contents, not times: hashing 1.5 GB/s is quick beside the extractor, and every host agrees.
    digest = hashlib.sha256(_SCHEME + extractor.fingerprint.encode())
    digest.update(b"".join(sorted(images.digests)))
    fingerprint = digest.hexdigest() if extractor.fingerprint else ""
    kept = cache / f"{fingerprint}.npz" if cache is not None and fingerprint else None
    found = None if kept is None else recall(kept, extractor)
    count, distinct, told = len(images.names), len(set(images.digests)), images.summary
    if found is not None:
        dim = len(found.mean)
        return Reference(
            name, fingerprint, dim, count, found.shape, told, distinct, None, lambda watch: found
        )
    shape = images.shape  # images that are none are refused now, not after an hour
    load = partial(statistics_of, images, cast(Extractor, extractor), kept)
    return Reference(name, fingerprint, extractor.dim, count, shape, told, distinct, None, load)
