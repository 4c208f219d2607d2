r"""The noise that scores share: their joint covariance, from influences on shared indices.

The score of a schedule on the images I moves with image i by ψᵢ/|I| (`metrics.evidence`).
Schedules on one block of indices share the images' noise, so two scores a and b on the n images
of a block have the covariance Cov(ψₐ, ψ_b)/n, and none on blocks apart. As a matrix of inner
products it is never indefinite. (Correlated noise in kriging: Chen, Ankenman & Nelson 2012,
doi:10.1145/2133390.2133391.)

For schedules that have not been tried, `Field` says how ψ changes over the plane: by a constant
and a slope along each axis, of one covariance, and by a part of each schedule's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Field",
    "Measurement",
    "blocks",
    "condensed",
    "covariances",
    "noise_covariance",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measurement:
    """A schedule's score on a block of images.

    Arguments:
        at: where it lies, scaled coordinates [2].
        first: index of the first image.
        score: the bias-corrected distance.
        influence: ψᵢ of the score, of mean zero, float64 [n]; or condensed with those of the same
            images, so that inner products are the same.
        count: the number of images; as many as `influence` has unless given.
    """

    at: tuple[float, float]
    first: int
    score: float
    influence: Array
    count: int | None = None

    @property
    def n(self) -> int:
        """The number of images."""
        return self.count or len(self.influence)


def covariances(influences: Sequence[Array]) -> Array:
    """Cov(ψ_a, ψ_b) [m, m] of scores on the same images: all that a model needs of them."""
    stacked = np.stack(influences)
    found: Array = stacked @ stacked.T / (stacked.shape[1] - 1)
    return found


def condensed(covariance: Array, n: int) -> Array:
    """Influences [m, m], a row a score, that have the inner products of those of n images."""
    values, vectors = np.linalg.eigh(covariance)
    found: Array = vectors * np.sqrt(np.maximum(values, 0.0) * (n - 1)) @ vectors.T
    return found


def noise_covariance(measured: Sequence[Measurement]) -> Array:
    """The covariance [m, m] of the scores' errors, on blocks of indices apart."""
    found = np.zeros((len(measured), len(measured)))
    for places in blocks(measured):
        n = measured[places[0]].n
        psi = np.stack([measured[place].influence for place in places])
        found[np.ix_(places, places)] = psi @ psi.T / (n * (n - 1))
    return found


def blocks(measured: Sequence[Measurement]) -> list[list[int]]:
    """The places of the scores on each block of images, in order."""
    found: dict[tuple[int, int], list[int]] = {}
    for place, one in enumerate(measured):
        found.setdefault((one.first, one.n), []).append(place)
    return list(found.values())


@dataclass(frozen=True, eq=False)
class Field:
    """How log-scores of schedules on the same images err, an image each.

    Arguments:
        smooth: covariance [3, 3] of the constant and the slopes along the two axes.
        own: variance of the part that schedules do not share.
    """

    smooth: Array
    own: float

    @classmethod
    def of(cls, measured: Sequence[Measurement]) -> Field:
        """The field that the block with the most schedules shows.

        Four or more of them tell all of it; of fewer it is what they show.
        """
        widest = [measured[place] for place in max(blocks(measured), key=len)]
        psi = np.stack([one.influence / one.score for one in widest])
        design = _design(np.array([one.at for one in widest]))
        solved, _, rank, _ = np.linalg.lstsq(design, psi, rcond=1e-6)
        left = psi - design @ solved
        images = widest[0].n
        own = float((left**2).sum()) / images / max(len(widest) - int(rank), 1)
        return cls(solved @ solved.T / (images - 1), own)

    def draws(self, at: Array, shared: Array, own: Array) -> Array:
        """Errors [r, q] of schedules at `at` [q, 2] from standard normals [r, 3] and [r, q]."""
        values, vectors = np.linalg.eigh(self.smooth)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        found: Array = shared @ (_design(at) @ root).T + np.sqrt(self.own) * own
        return found

    def covariance(self, at: Array) -> Array:
        """Covariance [q, q] of one image's errors at `at` [q, 2]."""
        design = _design(at)
        found: Array = design @ self.smooth @ design.T + self.own * np.eye(len(at))
        return found


def _design(at: Array) -> Array:
    found: Array = np.column_stack([np.ones(len(at)), at])
    return found
