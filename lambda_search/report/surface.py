"""The gain over the plane (mean, slope), fitted to a study's evaluations, with its uncertainty.

What is fitted is y = log FID(λ)/FID(1), which is 0 at λ = 1 by definition. Measured landscapes
are smooth valleys, nearly quadratic in it, so a Gaussian process has a quadratic trend without
constant in (mean − 1, slope), under a wide normal prior, and a smooth rest:

    cov(p, q) = w²·h(p)·h(q) + τ²·exp(−|p − q|²/2ℓ²),

with the evaluations' own paired standard errors as noise (Rasmussen & Williams, *Gaussian
Processes for Machine Learning*, 2006, §2.7). τ and ℓ maximise the likelihood on a small grid:
where a quadratic is enough, τ is small, and where it is not, the uncertainty says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lambda_search.records import Evaluation
from lambda_search.records import Trial

__all__ = ["PLAUSIBLE", "Surface", "fit_surface"]

Array = NDArray[np.float64]
Range = tuple[float, float]

_TREND = 10.0
"""w: wide, as log FID changes by less than this over a range's width."""

_SIZES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_LENGTHS = (0.25, 0.5, 1.0)
"""τ, and ℓ in widths of the ranges."""

_COEFFICIENTS = {1: 2, 2: 5}
"""Of the trend, by the number of ranges that have a width."""

_LEAST_ERROR = 1e-3
"""In y: two evaluations on the same noise are not better known than this."""

_MOST = 200
"""Evaluations that are fitted; of more, those on the most images."""

_CELLS = 49

PLAUSIBLE = 1.645
"""The shortfall up to which a schedule may still be the best, at 95 % (one-sided)."""


@dataclass(frozen=True)
class Surface:
    """The fit on a grid over the ranges.

    Arguments:
        means [m], slopes [s]: the grid; a range without width has one value.
        gain, error: fitted FID(1) − FID(λ) and its standard error, [s, m].
        best: mean and slope of the highest fitted gain on the grid.
        best_gain, best_error: the fit there.
        shortfall: by how many standard errors of the difference it is higher there, [s, m].
        evaluations: how many were fitted.
    """

    means: Array
    slopes: Array
    gain: Array
    error: Array
    best: tuple[float, float]
    best_gain: float
    best_error: float
    shortfall: Array
    evaluations: int

    @property
    def edges(self) -> tuple[str, ...]:
        """The ends of the ranges that the best lies on."""
        found = []
        for name, value, grid in (
            ("mean", self.best[0], self.means),
            ("slope", self.best[1], self.slopes),
        ):
            if len(grid) > 1 and value in (grid[0], grid[-1]):
                found.append(f"{'lower' if value == grid[0] else 'upper'} end of the {name}")
        return tuple(found)


def fit_surface(
    trials: Sequence[Trial], evaluations: Sequence[Evaluation], mean: Range, slope: Range
) -> Surface | None:
    """The surface of a study, or None if it has too few scored trials to fit one.

    Arguments:
        trials, evaluations: the study's.
        mean, slope: the ranges that it is drawn over.
    """
    places = {trial.number: (trial.mean, trial.slope) for trial in trials}
    told = (one for one in evaluations if one.trial in places and one.trial and not one.is_copy)
    used = sorted(told, key=lambda one: -one.n)[:_MOST]
    ranges = sum(high > low for low, high in (mean, slope))
    points = {places[one.trial] for one in used} - {(1.0, 0.0)}
    if not ranges or len(points) <= _COEFFICIENTS[ranges]:
        return None
    at_one = max((one for one in evaluations if not one.through), key=lambda one: one.n)
    level = at_one.corrected + at_one.gain
    gains = np.array([one.gain for one in used])
    errors = np.array([one.gain_standard_error for one in used])
    as_log = level > 0 and float(gains.max()) < level
    if not as_log:  # too few images for a corrected FID above 0
        level = float(np.abs(gains).max()) or 1.0
    y = np.log1p(-gains / level) if as_log else -gains / level
    spread = errors / (level - gains if as_log else level)

    known = np.array([(1.0, 0.0), *(places[one.trial] for one in used)]) - (1.0, 0.0)
    reach = np.abs(known).max(0)
    scale = np.array(
        [mean[1] - mean[0] or reach[0] or 1.0, slope[1] - slope[0] or reach[1] or 1.0]
    )
    process = _fitted(
        known / scale,
        np.concatenate([[0.0], y]),
        np.concatenate([[_LEAST_ERROR / 10], np.hypot(spread, _LEAST_ERROR)]),
    )
    means, slopes = _grid(mean), _grid(slope)
    grid = np.array([(m - 1.0, s) for s in slopes for m in means]) / scale
    fitted, error, with_best, best = process.over(grid)
    shape = len(slopes), len(means)
    difference = np.sqrt(np.maximum(error**2 + error[best] ** 2 - 2 * with_best, 1e-12))
    value = level * (-np.expm1(fitted) if as_log else -fitted)
    steepness = level * np.exp(fitted) if as_log else np.full_like(fitted, level)
    return Surface(
        means=means,
        slopes=slopes,
        gain=value.reshape(shape),
        error=(steepness * error).reshape(shape),
        best=(float(means[best % len(means)]), float(slopes[best // len(means)])),
        best_gain=float(value[best]),
        best_error=float(steepness[best] * error[best]),
        shortfall=((fitted - fitted[best]) / difference).reshape(shape),
        evaluations=len(used),
    )


@dataclass(frozen=True)
class _Process:
    """A Gaussian process that was told y at `points` [n, 2]; `factor` is Cholesky's of cov(y)."""

    points: Array
    size: float
    length: float
    factor: Array
    y: Array

    def over(self, grid: Array) -> tuple[Array, Array, Array, int]:
        """Mean, standard error, covariance with the lowest, and the lowest's place, on `grid`."""
        across = np.linalg.solve(
            self.factor, _covariance(self.points, grid, self.size, self.length)
        )
        mean = across.T @ np.linalg.solve(self.factor, self.y)
        own = _TREND**2 * (_trend(grid) ** 2).sum(1) + self.size**2
        best = int(mean.argmin())
        prior = _covariance(grid[best : best + 1], grid, self.size, self.length)[0]
        with_best = prior - across[:, best] @ across
        return mean, np.sqrt(np.maximum(own - (across**2).sum(0), 0.0)), with_best, best


def _fitted(points: Array, y: Array, errors: Array) -> _Process:
    """The process of the greatest likelihood."""
    found: list[tuple[float, _Process]] = []
    for size, length in product(_SIZES, _LENGTHS):
        covariance = _covariance(points, points, size, length) + np.diag(errors**2)
        factor: Array = np.linalg.cholesky(covariance).astype(np.float64, copy=False)
        white = np.linalg.solve(factor, y)
        likelihood = -0.5 * float(white @ white) - float(np.log(np.diag(factor)).sum())
        found.append((likelihood, _Process(points, size, length, factor, y)))
    return max(found, key=lambda one: one[0])[1]


def _covariance(p: Array, q: Array, size: float, length: float) -> Array:
    distance = ((p[:, None] - q[None]) ** 2).sum(2)
    smooth: Array = size**2 * np.exp(-distance / (2 * length**2))
    return _TREND**2 * _trend(p) @ _trend(q).T + smooth


def _trend(points: Array) -> Array:
    """h: what a quadratic without constant is made of, [n, 5]."""
    m, s = points.T
    return np.stack([m, s, m * m, m * s, s * s], axis=1)


def _grid(limits: Range) -> Array:
    return np.linspace(*limits, _CELLS) if limits[1] > limits[0] else np.array([limits[0]])
