r"""A smooth surface through noisy scores: what they tell of every schedule of the plane.

A Gaussian process on y = log score in scaled coordinates x = (u, v): a quadratic trend whose
coefficients have a normal prior, and a squared-exponential residual,

    k(x, x') = s² φ(x)ᵀφ(x') + τ² exp(−|x − x'|²/2ℓ²),   φ = (1, u, v, u², uv, v²),

φ about another place too where the lowest is likely to lie there, with noise of a full covariance
N, that of the logs. To N are added a bias that is linear in x from λ = 1 on and falls with n, as
the half-split score's does, and, for scores that lie high on a wall, a part of their height, since
the form holds near the lowest. Heights are told beside the first schedule of each block that was
measured before (the best so far in a search): the level that a block's images share is no height.
Conditioned on the scores it is

    μ(x) = k(x, X)(K + N)⁻¹ y,   C(x, x') = k(x, x') − k(x, X)(K + N)⁻¹ k(X, x')

(Rasmussen & Williams 2006, eq. 2.23–2.24). s, τ and ℓ are not picked: the posteriors of a few
are weighted by their marginal likelihoods (eq. 2.30), and of this mixture mean and covariance are
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from lambda_search.search.noise import Array
from lambda_search.search.noise import Measurement
from lambda_search.search.noise import blocks
from lambda_search.search.noise import noise_covariance

__all__ = ["BIAS", "Gaussian", "Kernel", "Surface", "kernels_about"]

_JITTER = 1e-9
BIAS = 0.02
"""Of log scores at n = d, a unit from λ = 1, unless told; it falls as (d/n)^1.5."""
_MISFIT = 0.2
"""Standard deviation of what the form leaves over, a unit above the lowest log score."""
_SLOPES = np.array([0.15, 0.08])
"""Standard deviations of the slopes of log scores, a unit, where a relative has its lowest: across
the valley, whose walls are steep, and along it (`axes`)."""
_NEARER = (0.3, 0.1)
"""How large they are beside that where the lowest may lie nearer to it."""
_LEAST = 0.01
"""Kernels of less weight are left out of covariances."""


@dataclass(frozen=True)
class Kernel:
    """One choice of s, τ and ℓ.

    Arguments:
        trend, residual, length: these.
        about: where the trend is nearly flat; nowhere, if that is open.
        slopes: how steep it may be there, in `_SLOPES`.
    """

    trend: float
    residual: float
    length: float
    about: tuple[float, float] | None = None
    slopes: float = 1.0

    def __call__(self, a: Array, b: Array) -> Array:
        """Prior covariance [p, q] of the surface at `a` [p, 2] and `b` [q, 2]."""
        apart = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        residual = self.residual**2 * np.exp(-apart / (2 * self.length**2))
        found: Array = self._basis(a) @ self._basis(b).T + residual
        return found

    def variance(self, at: Array) -> Array:
        """Prior variances [p] at `at` [p, 2]."""
        found: Array = (self._basis(at) ** 2).sum(1) + self.residual**2
        return found

    def _basis(self, at: Array) -> Array:
        """s·φ [p, 6] at `at` [p, 2]; where it is flat somewhere, with little slope there."""
        if self.about is None:
            return self.trend * _quadratic(at)
        off = at - self.about
        found = self.trend * _quadratic(off)
        found[:, 1:3] = off * (self.slopes * _SLOPES)
        return found


_Part: TypeAlias = tuple[Kernel, Array, Array]
"""A kernel, the inverse of the Cholesky factor of K + N, and (K + N)⁻¹ y."""

KERNELS = (Kernel(0.5, 0.007, 0.75), Kernel(0.5, 0.03, 0.75), Kernel(0.5, 0.1, 0.75))
"""From a valley that is all but a quadratic to one that is not.

These, `BIAS` and `_MISFIT` were chosen on landscapes that `scripts/bench_search.py` emulates, with
other seeds than its tables have.
"""


def kernels_about(
    about: tuple[float, float] | None = None, is_trusted: bool = False
) -> tuple[Kernel, ...]:
    """The choices to weigh: twice as many where a lowest point may lie near `about`.

    Whether it does the scores say, by the evidence of either half. If it `is_trusted`, three of
    four have it near there, two of these nearer.
    """
    if about is None:
        return KERNELS
    slopes = (1.0, *_NEARER) if is_trusted else (1.0,)
    return (*KERNELS, *(replace(k, about=about, slopes=one) for one in slopes for k in KERNELS))


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A joint normal distribution of log scores: mean [q], covariance [q, q]."""

    mean: Array
    covariance: Array

    def draws(self, normals: Array) -> Array:
        """Draws [r, q] from standard normals [r, q]."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        found: Array = self.mean + normals @ root.T
        return found


class Surface:
    """The posterior of log scores, given `measured`.

    Arguments:
        measured: scores, all above zero, in the order of asking.
        features: d of the scores, which decides their bias at n; 0 if they have none.
        kernels: the choices to weigh.
        bias: of log scores at n = d, a unit from λ = 1.
        at_one: where λ = 1 lies.
    """

    def __init__(
        self,
        measured: Sequence[Measurement],
        features: int = 0,
        kernels: Sequence[Kernel] = KERNELS,
        bias: float = BIAS,
        at_one: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        scores = np.array([one.score for one in measured])
        self.at = np.array([one.at for one in measured])
        self._level = float(np.log(scores).mean())
        y = np.log(scores) - self._level
        noise = noise_covariance(measured) / np.outer(scores, scores)
        noise += _JITTER * np.eye(len(y)) + bias**2 * _biases(measured, features, at_one)
        noise += np.diag((_MISFIT * _heights(measured, y)) ** 2)
        self._parts: list[_Part] = []
        evidence = []
        for kernel in kernels:
            whiten = np.linalg.inv(np.linalg.cholesky(kernel(self.at, self.at) + noise))
            white = whiten @ y
            evidence.append(np.log(np.diag(whiten)).sum() - white @ white / 2)
            self._parts.append((kernel, whiten, whiten.T @ white))
        self.evidence = np.array(evidence)
        weights = np.exp(self.evidence - self.evidence.max())
        self.weights: Array = weights / weights.sum()

    def mean(self, at: Array) -> Array:
        """The posterior mean [q] at `at` [q, 2]."""
        means = [kernel(at, self.at) @ alpha for kernel, _, alpha in self._parts]
        found: Array = self._level + self.weights @ np.array(means)
        return found

    def spread(self, at: Array) -> Array:
        """The posterior standard deviation [q] at `at` [q, 2]."""
        mean = self.mean(at) - self._level
        variance = np.zeros(len(at))
        for weight, (kernel, whiten, alpha) in self._heavy():
            cross = kernel(at, self.at)
            own = kernel.variance(at) - ((whiten @ cross.T) ** 2).sum(0)
            variance += weight * (own + (cross @ alpha - mean) ** 2)
        return np.sqrt(np.maximum(variance, 0.0))

    def posterior(self, at: Array) -> Gaussian:
        """The joint posterior at `at` [q, 2]."""
        mean = self.mean(at) - self._level
        covariance = np.zeros((len(at), len(at)))
        for weight, (kernel, whiten, alpha) in self._heavy():
            cross = kernel(at, self.at)
            off = cross @ alpha - mean
            half = whiten @ cross.T
            covariance += weight * (kernel(at, at) - half.T @ half + np.outer(off, off))
        return Gaussian(mean + self._level, (covariance + covariance.T) / 2)

    def quadratic(self, about: Array, span: float) -> tuple[Array, Array]:
        """Gradient [2] and second derivatives [2, 2] of the quadratic nearest to the mean.

        Arguments:
            about: where, [2].
            span: how far around it along each axis.
        """
        ends = np.linspace(-span, span, 5)
        offsets = np.stack(np.meshgrid(ends, ends, indexing="ij"), axis=-1).reshape(-1, 2)
        u, v = offsets.T
        design = np.column_stack([np.ones(len(u)), u, v, u * u / 2, u * v, v * v / 2])
        fitted = np.linalg.lstsq(design, self.mean(about + offsets), rcond=None)[0]
        _, *slope, uu, uv, vv = fitted.tolist()
        return np.array(slope), np.array([[uu, uv], [uv, vv]])

    def _heavy(self) -> list[tuple[float, _Part]]:
        """The parts of the mixture that count."""
        pairs = zip(self.weights.tolist(), self._parts, strict=True)
        return [(weight, part) for weight, part in pairs if weight > _LEAST]


def _biases(measured: Sequence[Measurement], features: int, at_one: tuple[float, float]) -> Array:
    """How the scores' biases at their n go together, for one of 1 at n = d a unit from λ = 1."""
    off = np.array([one.at for one in measured]) - at_one
    share = np.array([min((features / one.n) ** 1.5, 2.0) for one in measured])
    found: Array = np.outer(share, share) * (off @ off.T)
    return found


def _heights(measured: Sequence[Measurement], y: Array) -> Array:
    """How far above the lowest the log scores `y` [m] lie, each block's beside one of its own.

    That is the first which an earlier block has too, with the height that it had there.
    """
    found, seen = np.empty_like(y), dict[tuple[float, float], float]()
    for places in blocks(measured):
        linked = (place for place in places if measured[place].at in seen)
        beside = next(linked, places[0])
        found[places] = y[places] - y[beside] + seen.get(measured[beside].at, 0.0)
        for place in places:
            seen.setdefault(measured[place].at, float(found[place]))
    found -= found.min()
    return found


def _quadratic(at: Array) -> Array:
    u, v = at.T
    return np.column_stack([np.ones(len(at)), u, v, u * u, u * v, v * v])
