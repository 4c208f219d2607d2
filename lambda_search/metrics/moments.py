"""First and second moments of features, in float64, mergeable by addition.

Stored are n, Σ(x − c) and Σ(x − c)(x − c)ᵀ about a shared centre c (the reference's mean, which
keeps the sums small), so that blocks merge by plain addition and the same blocks in the same order
give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError

__all__ = ["Features", "Moments", "as_features"]

Features: TypeAlias = Tensor | np.ndarray


def as_features(features: Features) -> Tensor:
    """`features` as a float64 tensor [n, d].

    Raises:
        LambdaSearchError: if it is not [n, d] with n ≥ 2, or holds NaN or infinity.
    """
    x = torch.as_tensor(features).to(torch.float64)
    if x.ndim != 2 or len(x) < 2:
        raise LambdaSearchError(
            f"Features have the shape {tuple(x.shape)}; moments need [n, d] with n ≥ 2.",
            "Pass one row of features for each image.",
        )
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(dim=1).sum())
        raise LambdaSearchError(
            f"The features of {bad} of {len(x)} images are NaN or infinite.",
            "Look at the images: a sampler that diverges, or fp16 that overflows, does this.",
        )
    return x


@dataclass(frozen=True)
class Moments:
    """Moments of n feature vectors of width d about `centre`.

    Arguments:
        n: number of vectors.
        total: Σ(x − c), float64 [d].
        outer: Σ(x − c)(x − c)ᵀ, float64 [d, d].
        centre: c, float64 [d].
    """

    n: int
    total: Tensor
    outer: Tensor
    centre: Tensor

    @classmethod
    def from_features(cls, features: Features, centre: Features | None = None) -> Moments:
        """Moments of `features` [n, d] about `centre` [d] (zero unless given)."""
        x = as_features(features)
        c = x.new_zeros(x.shape[1]) if centre is None else torch.as_tensor(centre).to(x)
        shifted = x - c
        return cls(len(x), shifted.sum(0), shifted.T @ shifted, c)

    @classmethod
    def from_mean_cov(cls, mean: Features, cov: Features, n: int) -> Moments:
        """Moments of n vectors of mean [d] and covariance [d, d] (divided by n − 1)."""
        centre = torch.as_tensor(mean).to(torch.float64)
        outer = torch.as_tensor(cov).to(torch.float64) * (n - 1)
        return cls(n, torch.zeros_like(centre), outer, centre)

    def __add__(self, other: Moments) -> Moments:
        if not torch.equal(self.centre, other.centre):
            raise ValueError("moments merge only about one centre")
        return Moments(
            self.n + other.n, self.total + other.total, self.outer + other.outer, self.centre
        )

    @property
    def mean(self) -> Tensor:
        """μ, float64 [d]."""
        return self.centre + self.total / self.n

    @property
    def cov(self) -> Tensor:
        """Σ, float64 [d, d], divided by n − 1 as numpy.cov does."""
        return (self.outer - torch.outer(self.total, self.total) / self.n) / (self.n - 1)
