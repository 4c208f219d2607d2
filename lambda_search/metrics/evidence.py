r"""How good a schedule is, and how sure that is.

On n images the Fréchet distance is biased upwards by about c/n, and c depends on the model and on
λ (Chong & Forsyth 2020, arXiv:1911.07023), so a common n does not cancel it. Two interleaved
halves measure it without further images:

    corrected = 2·FID_n − ½(FID_even + FID_odd),

which removes the 1/n term. The uncertainty follows from influence functions: the corrected
distance moves with image i by ψᵢ = 2ψᵢ(all) − ψᵢ(its half). Candidates and λ = 1 share indices and
noise, so a difference has the standard error sd(ψᵢ(λ) − ψᵢ(1))/√n, far below that of either
distance alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Features
from lambda_search.metrics.moments import as_features

__all__ = ["Comparison", "Interval", "Score", "compare", "score"]


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval at `level` (0.95 = 95 %)."""

    low: float
    high: float
    level: float = 0.95

    @classmethod
    def around(cls, value: float, standard_error: float, level: float = 0.95) -> Interval:
        """Value ± z·standard_error, normal."""
        half = NormalDist().inv_cdf(0.5 + level / 2) * standard_error
        return cls(value - half, value + half, level)

    @property
    def half_width(self) -> float:
        """Half the distance between the ends: the number behind ±."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Score:
    """The FID of one schedule on n images.

    Arguments:
        n: number of images.
        fid: the plain Fréchet distance, as the field reports it at this n.
        corrected: the distance with the half-split correction.
        standard_error: of `corrected`.
        influence: ψᵢ of `corrected`, float64 [n], in index order.
    """

    n: int
    fid: float
    corrected: float
    standard_error: float
    influence: Tensor

    def interval(self, level: float = 0.95) -> Interval:
        """The confidence interval of `fid` (sampling error only; it does not contain the bias)."""
        return Interval.around(self.fid, self.standard_error, level)


@dataclass(frozen=True)
class Comparison:
    """A schedule against λ = 1 on the same indices and noise.

    Arguments:
        gain: FID(1) − FID(λ), bias-corrected; positive = the schedule is better.
        raw_gain: the same without the correction.
        standard_error: of `gain`.
        correlation: mean correlation of the paired features, −1 to 1; how much the pairing helps.
    """

    gain: float
    raw_gain: float
    standard_error: float
    correlation: float

    def interval(self, level: float = 0.95) -> Interval:
        """The paired confidence interval of `gain`."""
        return Interval.around(self.gain, self.standard_error, level)


def score(features: Features, reference: FrechetReference) -> Score:
    """Scores features [n, d] of images in index order.

    Raises:
        LambdaSearchError: for fewer than 8 images, features of another width, or NaN.
    """
    x = as_features(features)
    n = len(x)
    if n < 8:
        raise LambdaSearchError(f"{n} images cannot be scored.", "Take at least 8; 500 is usual.")
    fid, psi = reference.analyse(x)
    psi = 2 * psi
    corrected = 2 * fid
    for parity in (0, 1):
        half_fid, half_psi = reference.analyse(x[parity::2])
        corrected -= half_fid / 2
        psi[parity::2] -= half_psi
    return Score(n, fid, corrected, float(psi.std()) / n**0.5, psi)


def compare(
    candidate: Score, baseline: Score, candidate_features: Features, baseline_features: Features
) -> Comparison:
    """Compares two scores of the same indices and noise; features give the correlation."""
    if candidate.n != baseline.n:
        raise ValueError(f"a pair needs one n, not {candidate.n} and {baseline.n}")
    difference = candidate.influence - baseline.influence
    return Comparison(
        gain=baseline.corrected - candidate.corrected,
        raw_gain=baseline.fid - candidate.fid,
        standard_error=float(difference.std()) / candidate.n**0.5,
        correlation=_mean_correlation(
            as_features(candidate_features), as_features(baseline_features)
        ),
    )


def _mean_correlation(a: Tensor, b: Tensor) -> float:
    """Pearson correlation per feature over the pairs, averaged over the features that vary."""
    a, b = a - a.mean(0), b - b.mean(0)
    norms = (a.square().sum(0) * b.square().sum(0)).sqrt()
    varies = norms > 0
    if not varies.any():
        return 0.0
    return float(((a * b).sum(0)[varies] / norms[varies]).mean())
