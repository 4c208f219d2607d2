r"""How good a schedule is, and how sure that is.

On n images the Fréchet distance is biased upwards by about c/n, and c depends on the model and on
λ (Chong & Forsyth 2020, arXiv:1911.07023), so a common n does not cancel it. Two interleaved
halves measure it without further images:

    corrected = 2·FID_n − ½(FID_even + FID_odd),

which removes the 1/n term. The uncertainty follows from influence functions: the distance moves
with image i by ψᵢ, the corrected one by 2ψᵢ(all) − ψᵢ(its half). Candidates and λ = 1 share
indices and noise, so a difference has the standard error sd(ψᵢ(λ) − ψᵢ(1))/√n, far below that of
either distance alone.

**Which score ranks.** The corrected one: in a simulated world with known truth (`bench_ranking`,
`scripts/results/ranking.md`) the schedule that it puts first is nearer to the best one than the
plain score's, and trials that stopped at different n can be compared by it alone. Well below n = d
it ranks changes of contrast or sharpness wrongly too: rungs begin at d images, and rounds of wide
features rank by the projected distance (`metrics.projection`). Both are kept in every evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.extrapolation import fid_at_infinity
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.metrics.moments import Features
from lambda_search.records import Extras
from lambda_search.records import Interval

__all__ = [
    "Comparison",
    "Score",
    "check_count",
    "compare",
    "correlation",
    "enough_images",
    "extras",
    "paired",
    "score",
]

_ENOUGH = 4
"""Images per feature from which on the corrected gain's bias is small against its error."""
_KID_IMAGES = 5000
_COLUMNS = 256
"""Features that are correlated at a time, so that float64 copies stay small."""


def enough_images(width: int) -> int:
    """The images from which on a gain can be confirmed, 4d."""
    return _ENOUGH * width


@dataclass(frozen=True)
class Score:
    """The FID of one schedule on n images.

    Arguments:
        n: number of images.
        fid: the plain Fréchet distance, as the field reports it at this n.
        standard_error: of `fid`.
        corrected: the distance with the half-split correction.
        influence: ψᵢ of `corrected`, float64 [n], in index order.
        extras: what was computed beside it, on confirmation and by `evaluate`.
        width: d, of the features; 0 where it is not known.
    """

    n: int
    fid: float
    standard_error: float
    corrected: float
    influence: Tensor
    extras: Extras | None = None
    width: int = 0

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


def check_count(n: int) -> None:
    """Raises LambdaSearchError for fewer images than can be scored."""
    if n < 8:
        raise LambdaSearchError(f"{n} images cannot be scored.", "Take at least 8; 500 is usual.")


class Target(Protocol):
    """What features are measured against: a `FrechetReference`, or a part of one."""

    @property
    def dim(self) -> int:
        """d, the width of the features."""
        ...

    def analyse(self, features: Features) -> tuple[float, Tensor]:
        """The distance to features [n, d], and the influence [n] of each of them."""
        ...


def score(features: Features, reference: Target) -> Score:
    """Scores features [n, d] of images in index order.

    Raises:
        LambdaSearchError: for fewer than 8 images, features of another width, or NaN.
    """
    n = len(features)
    check_count(n)
    fid, plain = reference.analyse(features)
    psi, corrected = 2 * plain, 2 * fid
    for parity in (0, 1):
        half_fid, half_psi = reference.analyse(features[parity::2])
        corrected -= half_fid / 2
        psi[parity::2] -= half_psi
    error = float(plain.std()) / n**0.5
    return Score(n, fid, error, corrected, psi, width=reference.dim)


def extras(
    features: Features, reference: FrechetReference, kernel: KernelReference | None
) -> Extras:
    """What is told beside the FID of features [n, d]; KID of the first 5,000 at most."""
    kid = None if kernel is None else kernel.distance(features[:_KID_IMAGES])
    return Extras(fid_at_infinity(features, reference), kid)


def compare(
    candidate: Score, baseline: Score, candidate_features: Features, baseline_features: Features
) -> Comparison:
    """Compares two scores of the same indices and noise; features give the correlation."""
    return paired(candidate, baseline, correlation(candidate_features, baseline_features))


def paired(candidate: Score, baseline: Score, correlation: float) -> Comparison:
    """The same where the `correlation` of the paired features is known; NaN where it is not."""
    if candidate.n != baseline.n:
        raise ValueError(f"a pair needs one n, not {candidate.n} and {baseline.n}")
    difference = candidate.influence - baseline.influence
    return Comparison(
        gain=baseline.corrected - candidate.corrected,
        raw_gain=baseline.fid - candidate.fid,
        standard_error=float(difference.std()) / candidate.n**0.5,
        correlation=correlation,
    )


def correlation(candidate: Features, baseline: Features) -> float:
    """Pearson correlation per feature over the pairs, averaged over the features that vary.

    Raises:
        ValueError: if there are not as many of both.
    """
    if len(candidate) != len(baseline):
        raise ValueError(f"a pair needs one n, not {len(candidate)} and {len(baseline)}")
    a, b = torch.as_tensor(candidate), torch.as_tensor(baseline)
    found = []
    for left, right in zip(torch.split(a, _COLUMNS, 1), torch.split(b, _COLUMNS, 1), strict=True):
        x, y = (part.to(torch.float64, copy=True) for part in (left, right))
        x -= x.mean(0)
        y -= y.mean(0)
        norms = (x.square().sum(0) * y.square().sum(0)).sqrt()
        varies = norms > 0
        found.append((x * y).sum(0)[varies] / norms[varies])
    each = torch.cat(found)
    return float(each.mean()) if len(each) else 0.0
