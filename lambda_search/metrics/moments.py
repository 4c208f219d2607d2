"""First and second moments of features, streamed and merged in any grouping to the same bits.

Kept are n, Σ(x − c) and Σ(x − c)(x − c)ᵀ about a shared centre c (the reference's mean, which
keeps the sums small). Each block's sums are float64; blocks are added without rounding, so only
the blocks matter, not how they were grouped or who added them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.exact import ExactSum

__all__ = ["Features", "Moments", "as_features"]

Features: TypeAlias = Tensor | np.ndarray

_ROWS = 4096
"""That are looked at together: what that takes stays small beside the features."""


def as_features(
    features: Features, device: torch.device | None = None, copy: bool = False
) -> Tensor:
    """`features` as a float64 tensor [n, d] on `device` (where they are unless given).

    Arguments:
        features, device: which, and where to.
        copy: whether it may not be `features` themselves, since it will be written to.

    Raises:
        LambdaSearchError: if it is not [n, d] with n ≥ 2, or holds NaN or infinity.
    """
    x = torch.as_tensor(features).to(device=device, dtype=torch.float64, copy=copy)
    if x.ndim != 2 or len(x) < 2:
        raise LambdaSearchError(
            f"Features have the shape {tuple(x.shape)}; moments need [n, d] with n ≥ 2.",
            "Pass one row of features for each image.",
        )
    if not all(bool(torch.isfinite(part).all()) for part in torch.split(x, _ROWS)):
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
        sums: Σ(x − c), [d].
        products: Σ(x − c)(x − c)ᵀ, [d, d].
        centre: c, float64 [d].
    """

    n: int
    sums: ExactSum
    products: ExactSum
    centre: Tensor

    @classmethod
    def from_features(cls, features: Features, centre: Features | None = None) -> Moments:
        """Moments of `features` [n, d] about `centre` [d] (zero unless given)."""
        x = as_features(features)
        c = x.new_zeros(x.shape[1]) if centre is None else torch.as_tensor(centre).to(x)
        shifted = x - c
        return cls(len(x), ExactSum.of(shifted.sum(0)), ExactSum.of(shifted.T @ shifted), c)

    @classmethod
    def from_mean_cov(cls, mean: Features, cov: Features, n: int) -> Moments:
        """Moments of n vectors of mean [d] and covariance [d, d] (divided by n − 1)."""
        centre = torch.as_tensor(mean).to(torch.float64)
        products = torch.as_tensor(cov).to(torch.float64) * (n - 1)
        return cls(n, ExactSum.of(torch.zeros_like(centre)), ExactSum.of(products), centre)

    def __add__(self, other: Moments) -> Moments:
        if not torch.equal(self.centre, other.centre):
            raise ValueError("moments merge only about one centre")
        return Moments(
            self.n + other.n,
            self.sums + other.sums,
            self.products + other.products,
            self.centre,
        )

    def absorbed(self, features: Features) -> Moments:
        """The moments of these and of `features` [n, d], in this one's memory, which they take.

        The bits are those of `self + Moments.from_features(features, self.centre)`.
        """
        x = as_features(features, self.centre.device)
        shifted = x - self.centre
        sums, products = shifted.sum(0), shifted.T @ shifted
        return Moments(
            self.n + len(x),
            self.sums.absorbed(sums),
            self.products.absorbed(products),
            self.centre,
        )

    @property
    def total(self) -> Tensor:
        """Σ(x − c), float64 [d]."""
        return self.sums.value()

    @property
    def outer(self) -> Tensor:
        """Σ(x − c)(x − c)ᵀ, float64 [d, d]."""
        return self.products.value()

    @property
    def mean(self) -> Tensor:
        """μ, float64 [d]."""
        return self.centre + self.total / self.n

    @property
    def cov(self) -> Tensor:
        """Σ, float64 [d, d], divided by n − 1 as numpy.cov does."""
        total = self.total
        spread = self.outer.addr_(total, total, alpha=-1 / self.n)
        return spread.div_(self.n - 1)
