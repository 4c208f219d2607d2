"""Shards' features as files, named by their fingerprint, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lambda_search.files import written_whole

__all__ = ["FeatureFiles"]


class FeatureFiles:
    """float32 arrays [n, d] by fingerprint, shared by all studies of a data folder.

    Arguments:
        folder: where they lie; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, fingerprint: str) -> NDArray[np.float32] | None:
        """The features named `fingerprint`, or None."""
        path = self._path(fingerprint)
        try:
            return np.asarray(np.load(path, allow_pickle=False), np.float32)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):  # damaged: computed again
            path.unlink(missing_ok=True)
            return None

    def put(self, fingerprint: str, features: NDArray[np.float32]) -> None:
        """Keeps `features` under `fingerprint`; a crash leaves either all of it or nothing."""
        path = self._path(fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as stream:
            np.save(stream, features)

    def remove(self, fingerprints: Iterable[str]) -> None:
        """Forgets features that are no longer needed; unknown names are fine."""
        for fingerprint in fingerprints:
            self._path(fingerprint).unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self._folder / fingerprint[:2] / f"{fingerprint}.npy"
