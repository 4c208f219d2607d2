r"""The Fréchet distance between Gaussians, fast where one of them is a fixed reference.

    d²((μ, Σ), (μᵣ, Σᵣ)) = |μ − μᵣ|² + tr Σ + tr Σᵣ − 2 tr (Σ Σᵣ)^½

(Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500). With a factor Σᵣ = L Lᵀ, made once,

    tr (Σ Σᵣ)^½ = Σ √eig(Lᵀ Σ L),

a symmetric problem. For n < d vectors X (rows, centred, divided by √(n − 1)) the same eigenvalues
belong to the smaller Gram matrix (X L)(X L)ᵀ (FastFID, arXiv:2009.14075).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.moments import Features
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.moments import as_features

__all__ = ["FrechetReference", "frechet_distance"]


class FrechetReference:
    """The Gaussian that samples are measured against; its factor is computed once.

    Arguments:
        mean: μᵣ, float64 [d].
        cov: Σᵣ, float64 [d, d], symmetric.
    """

    def __init__(self, mean: Features, cov: Features) -> None:
        self.mean = torch.as_tensor(mean).to(torch.float64)
        self.cov = torch.as_tensor(cov).to(torch.float64)
        d = self.mean.numel()
        if self.mean.shape != (d,) or self.cov.shape != (d, d):
            raise LambdaSearchError(
                f"Reference moments have shapes {tuple(self.mean.shape)} and "
                f"{tuple(self.cov.shape)}; a mean [d] and a covariance [d, d] are needed.",
                "Make the reference again.",
            )
        if not (torch.isfinite(self.mean).all() and torch.isfinite(self.cov).all()):
            raise LambdaSearchError(
                "The reference moments hold NaN or infinity.", "Make the reference again."
            )

    @property
    def dim(self) -> int:
        """d, the width of the features."""
        return len(self.mean)

    @cached_property
    def factor(self) -> Tensor:
        """L = V √w with Σᵣ = V diag(w) Vᵀ, float64 [d, d]."""
        w, v = torch.linalg.eigh(self.cov)
        factor: Tensor = v * w.clamp(min=0).sqrt()
        return factor

    def distance(self, sample: Moments | Features) -> float:
        """The Fréchet distance to `sample`: moments, or features [n, d] (Gram form if n < d)."""
        if isinstance(sample, Moments):
            self._check_width(len(sample.centre))
            middle = self.factor.T @ sample.cov @ self.factor
            mean, trace = sample.mean, sample.cov.trace()
        else:
            x = as_features(sample)
            self._check_width(x.shape[1])
            if len(x) >= x.shape[1]:
                return self.distance(Moments.from_features(x, self.mean))
            mean = x.mean(0)
            scaled = (x - mean) / (len(x) - 1) ** 0.5
            projected = scaled @ self.factor
            middle = projected @ projected.T
            trace = scaled.square().sum()
        cross = torch.linalg.eigvalsh(middle).clamp(min=0).sqrt().sum()
        difference = mean - self.mean
        return float(difference @ difference + trace + self.cov.trace() - 2 * cross)

    def analyse(self, features: Features) -> tuple[float, Tensor]:
        r"""The distance to features [n, d], and how much each vector moves it: ψ(xᵢ), float64 [n].

        ψ, of mean zero, is the first-order term of the distance in the empirical distribution,

            ψ(x) = 2(μ − μᵣ)·y + yᵀ(I − T) y,   y = x − μ,   T = L (Lᵀ Σ L)^{-½} Lᵀ,

        with the pseudo-inverse where Σ is singular. sd(ψ)/√n is the distance's standard error, and
        sd(ψ_a − ψ_b)/√n that of a difference on paired samples.
        """
        x = as_features(features)
        self._check_width(x.shape[1])
        mean = x.mean(0)
        y = x - mean
        cov = y.T @ y / (len(x) - 1)
        w, v = torch.linalg.eigh(self.factor.T @ cov @ self.factor)
        w = w.clamp(min=0)
        w[: max(len(w) - len(x) + 1, 0)] = 0  # the rank is at most n − 1
        difference = mean - self.mean
        distance = difference @ difference + cov.trace() + self.cov.trace() - 2 * w.sqrt().sum()
        tolerance = w.max() * len(w) * torch.finfo(w.dtype).eps
        inverse_root = torch.where(w > tolerance, w, torch.inf).rsqrt()
        transport = (self.factor @ v) * inverse_root.sqrt()
        psi = 2 * (y @ difference) + y.square().sum(1) - (y @ transport).square().sum(1)
        return float(distance), psi - psi.mean()

    def influence(self, features: Features) -> Tensor:
        """ψ(xᵢ) alone (see `analyse`)."""
        return self.analyse(features)[1]

    def _check_width(self, width: int) -> None:
        if width != self.dim:
            raise LambdaSearchError(
                f"The features are {width} wide and the reference is {self.dim} wide.",
                "Use a reference that was made with the same extractor.",
            )


def frechet_distance(a: Moments | Features, b: Moments | Features) -> float:
    """The Fréchet distance between two sets: `Moments`, or feature arrays [n, d].

    To measure many sets against one, keep a `FrechetReference`.
    """
    reference = b if isinstance(b, Moments) else Moments.from_features(b)
    return FrechetReference(reference.mean, reference.cov).distance(a)
