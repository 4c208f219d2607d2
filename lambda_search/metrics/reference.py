"""What samples are measured against: the moments of real images under one extractor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lambda_search.errors import UsageError
from lambda_search.metrics.features import BUNDLED_FEATURES
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.models.checkpoints import BUNDLED
from lambda_search.models.checkpoints import bundled_folder
from lambda_search.models.checkpoints import locate
from lambda_search.models.checkpoints import sha256_of

__all__ = ["Reference", "load_reference"]


@dataclass(frozen=True)
class Reference:
    """Moments of the reference images.

    Arguments:
        name: as the study file says it.
        fingerprint: SHA-256 of the file that holds it.
        mean: float64 [d].
        cov: float64 [d, d].
    """

    name: str
    fingerprint: str
    mean: NDArray[np.float64]
    cov: NDArray[np.float64]

    def frechet(self) -> FrechetReference:
        """The Gaussian to measure distances to."""
        return FrechetReference(self.mean, self.cov)


def load_reference(name: str, extractor: str, base: Path | None = None) -> Reference:
    """Reads a reference.

    Arguments:
        name: `bundled:fashion-mnist`, or the path of an `.npz` with `mu` [d] and `sigma` [d, d].
        extractor: fingerprint of the extractor that the samples will go through.
        base: where relative paths start.

    Raises:
        UsageError: if it is missing, cannot be read, or was made with another extractor.
    """
    if name == f"{BUNDLED}fashion-mnist":
        path: Path | None = bundled_folder(BUNDLED_FEATURES) / "reference.npz"
    else:
        path = locate(name, base)
    if path is None or not path.is_file():
        raise UsageError(
            f"There is no reference at {name}.",
            "Name bundled:fashion-mnist, or an .npz file with mu and sigma.",
        )
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
    return Reference(name, sha256_of(path), mean, cov)
