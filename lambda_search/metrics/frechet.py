r"""The Fréchet distance between Gaussians, fast where one of them is a fixed reference.

    d²((μ, Σ), (μᵣ, Σᵣ)) = |μ − μᵣ|² + tr Σ + tr Σᵣ − 2 tr (Σ Σᵣ)^½

(Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500). With a factor Σᵣ = L Lᵀ, made once,

    tr (Σ Σᵣ)^½ = Σ √eig(Lᵀ Σ L),

a symmetric problem. With the n vectors as rows Y (centred, divided by √(n − 1)) and P = Y L, the
same eigenvalues belong to PᵀP (d × d) and, where n < d, to the smaller PPᵀ (n × n; FastFID,
arXiv:2009.14075). All of it is float64, on the reference's device; at most two arrays [n, d] of
that kind are there at a time (50,000 × 2,048 are 0.8 GB), however the sums are grouped: their bits
are those of the formulas as they stand here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.moments import Features
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.moments import as_features

__all__ = ["FrechetReference", "frechet_distance"]

_ROWS = 4096
_COLUMNS = 512


class FrechetReference:
    """The Gaussian that samples are measured against; its factor is computed once.

    Arguments:
        mean: μᵣ, [d].
        cov: Σᵣ, [d, d], symmetric.
        device: where distances are computed; where `mean` is unless given.

    Raises:
        LambdaSearchError: for shapes that do not fit, NaN or infinity, a covariance that is not
            symmetric, and a negative variance.
    """

    def __init__(self, mean: Features, cov: Features, device: torch.device | None = None) -> None:
        self.mean = torch.as_tensor(mean).to(device=device, dtype=torch.float64)
        self.cov = torch.as_tensor(cov).to(device=self.mean.device, dtype=torch.float64)
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
        scale = float(self.cov.abs().max()) if d else 0.0
        apart = float((self.cov - self.cov.T).abs().max()) if d else 0.0
        if apart > 1e-6 * scale or bool((self.cov.diagonal() < -1e-9 * scale).any()):
            raise LambdaSearchError(
                "The reference's covariance is not symmetric, or has a negative variance.",
                "Make the reference again.",
            )

    @property
    def dim(self) -> int:
        """d, the width of the features."""
        return len(self.mean)

    @property
    def device(self) -> torch.device:
        """Where distances are computed."""
        return self.mean.device

    @cached_property
    def factor(self) -> Tensor:
        """L = V √w with Σᵣ = V diag(w) Vᵀ, float64 [d, d]."""
        w, v = torch.linalg.eigh(self.cov)
        factor: Tensor = v * w.clamp(min=0).sqrt()
        return factor

    def distance(self, sample: Moments | Features) -> float:
        """The Fréchet distance to `sample`: moments, or features [n, d]."""
        if isinstance(sample, Moments):
            self.check_width(len(sample.centre))
            cov = sample.cov.to(self.device)
            middle = _lower(self.factor.T, cov @ self.factor)
            mean, trace = sample.mean.to(self.device), cov.trace()
        else:
            mean, centred = self._centred(sample)
            middle = _gram(centred @ self.factor)
            trace = centred.square().sum()
        cross = torch.linalg.eigvalsh(middle).clamp(min=0).sqrt().sum()
        return self._assemble(mean, trace, cross)

    def prefix_distances(self, features: Features, sizes: Sequence[int]) -> list[float]:
        """The distances to the first `sizes` (rising, ≥ 2) of features [n, d].

        All vectors are projected once, and sums go on from one size to the next.
        """
        x = as_features(features, self.device, copy=True)
        self.check_width(x.shape[1])
        x.sub_(self.mean)
        total, squares, outer, before = x.new_zeros(self.dim), x.new_zeros(()), None, 0
        sums = []
        for size in sizes:
            part = x[before:size]
            total, squares = total + part.sum(0), squares + part.square().sum()
            sums.append((total, squares))
            before = size
        projected = x @ self.factor
        del x, part
        few = projected[: max((size for size in sizes if size <= self.dim), default=0)]
        gram = few @ few.T
        distances, before = [], 0
        for size, (total, squares) in zip(sizes, sums, strict=True):
            if size <= self.dim:
                block = gram[:size, :size]
                rows = block.mean(0)
                middle = block - rows - rows[:, None] + rows.mean()
            else:
                part = projected[before:size] if outer is not None else projected[:size]
                outer = part.T @ part if outer is None else outer + part.T @ part
                mean = projected[:size].mean(0)
                middle = outer - size * torch.outer(mean, mean)
            cross = torch.linalg.eigvalsh(middle / (size - 1)).clamp(min=0).sqrt().sum()
            shift = total / size
            trace = (squares - size * shift.square().sum()) / (size - 1)
            distances.append(self._assemble(self.mean + shift, trace, cross))
            before = size
        return distances

    def analyse(self, features: Features) -> tuple[float, Tensor]:
        r"""The distance to features [n, d], and how much each vector moves it: ψ(xᵢ), float64 [n].

        ψ, of mean zero, is the first-order term of the distance in the empirical distribution,

            ψ(x) = 2(μ − μᵣ)·y + yᵀ(I − T) y,   y = x − μ,   T = L (Lᵀ Σ L)^{-½} Lᵀ,

        with the pseudo-inverse where Σ is singular. With P = U S Vᵀ, the rows p of √(n − 1) P are
        Lᵀy, and yᵀTy = p V S⁻¹ Vᵀ pᵀ; where n < d, that is (n − 1) Σₖ Uᵢₖ² Sₖ, for which V is not
        needed. sd(ψ)/√n is the distance's standard error, and sd(ψ_a − ψ_b)/√n that of a
        difference on paired samples.
        """
        mean, centred = self._centred(features)
        n, d = centred.shape
        squares = torch.cat([part.square().sum(1) for part in torch.split(centred, _ROWS)])
        along = centred @ (mean - self.mean) * (n - 1) ** 0.5
        projected = centred @ self.factor
        del centred
        if n < d:
            w, u = torch.linalg.eigh(_gram(projected))
            root = w.clamp(min=0).sqrt()
            quadratic = (n - 1) * (u.square() @ root)
        else:
            w, v = torch.linalg.eigh(_gram(projected))
            root = w.clamp(min=0).sqrt()
            tolerance = root.max() * (d * torch.finfo(root.dtype).eps) ** 0.5
            inverse = torch.where(root > tolerance, root, torch.inf).reciprocal()
            half = v * inverse.sqrt()
            parts = [(part @ half).square().sum(1) for part in torch.split(projected, _ROWS)]
            quadratic = (n - 1) * torch.cat(parts)
        distance = self._assemble(mean, squares.sum(), root.sum())
        psi = 2 * along + (n - 1) * squares - quadratic
        return distance, (psi - psi.mean()).cpu()

    def _centred(self, features: Features) -> tuple[Tensor, Tensor]:
        """μ, and the centred rows Y, divided by √(n − 1)."""
        centred = as_features(features, self.device, copy=True)
        self.check_width(centred.shape[1])
        mean = centred.mean(0)
        centred.sub_(mean).div_((len(centred) - 1) ** 0.5)
        return mean, centred

    def _assemble(self, mean: Tensor, trace: Tensor, cross: Tensor) -> float:
        difference = mean - self.mean
        return float(difference @ difference + trace + self.cov.trace() - 2 * cross)

    def check_width(self, width: int) -> None:
        """Raises LambdaSearchError for features of another width."""
        if width != self.dim:
            raise LambdaSearchError(
                f"The features are {width} wide and the reference is {self.dim} wide.",
                "Use a reference that was made with the same extractor.",
            )


def _gram(projected: Tensor) -> Tensor:
    """PPᵀ or PᵀP of P [n, d], the smaller one; its lower triangle."""
    n, d = projected.shape
    wide = projected if n < d else projected.T
    return _lower(wide, wide.T)


def _lower(a: Tensor, b: Tensor) -> Tensor:
    """The lower triangle of a symmetric product, which is all that `eigh` reads."""
    product = a.new_zeros(len(a), len(a))
    for start in range(0, len(a), _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        product[start:, columns] = a[start:] @ b[:, columns]
    return product


def frechet_distance(a: Moments | Features, b: Moments | Features) -> float:
    """The Fréchet distance between two sets: `Moments`, or feature arrays [n, d].

    To measure many sets against one, keep a `FrechetReference`.
    """
    reference = b if isinstance(b, Moments) else Moments.from_features(b)
    return FrechetReference(reference.mean, reference.cov).distance(a)
