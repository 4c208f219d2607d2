"""The proof: the best candidates and λ = 1 on images that the search has not seen.

A gain is confirmed when the interval of the bias-corrected gain, at level 1 − 0.05/candidates
(Bonferroni), lies above zero. Otherwise the row says so and recommends λ = 1.

On fewer than 4d images (d is the features' width) nothing is confirmed: there the distance's bias,
which differs between schedules, exceeds its error, and intervals that do not contain it lie. Such
a row recommends λ = 1 too, shows its best candidate, and says how many images would do.

The gain of the best of several is picked, and so a little too high on average; its interval, at a
level for all of them together, holds. The verdict says by how much it may be too high.

Where a precision is asked for, the interval is that of the last of several looks (`search.looks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import enough_images
from lambda_search.records import Interval
from lambda_search.records import Looks
from lambda_search.records import RowStatus
from lambda_search.schedule import LambdaSchedule

__all__ = [
    "Confirmation",
    "Contender",
    "Proof",
    "interval_of",
    "level_for",
    "optimism",
    "settle",
]

NO_GAIN = "no significant gain"


@dataclass(frozen=True)
class Contender:
    """A candidate with its score on the confirmation's indices, beside λ = 1's."""

    trial: int
    schedule: LambdaSchedule
    score: Score
    against_baseline: Comparison


@dataclass(frozen=True)
class Proof:
    """Looks that have ended.

    Arguments:
        level: of each interval, at all looks together.
        boundary: half its width at the last look, in standard errors.
        made: images at each look.
        planned: how many looks there might have been.
        precision: what was asked for, as a share of FID(1).
        is_precise: whether that was reached.
    """

    level: float
    boundary: float
    made: tuple[int, ...]
    planned: int
    precision: float
    is_precise: bool

    def interval(self, against: Comparison) -> Interval:
        """The repeated confidence interval of a gain."""
        half = self.boundary * against.standard_error
        return Interval(against.gain - half, against.gain + half, self.level)

    @property
    def words(self) -> str:
        """How exact it is."""
        return f"{'' if self.is_precise else 'not yet '}to ±{100 * self.precision:g} %"

    def told(self, proven: bool, luck: float) -> Looks:
        """What a row keeps of it."""
        ended: Literal["proven", "precise"] = "proven" if proven else "precise"
        return Looks(
            self.precision,
            self.planned,
            self.made,
            self.boundary,
            ended if self.is_precise else "samples",
            luck,
        )


@dataclass(frozen=True)
class Confirmation:
    """The outcome.

    Arguments:
        schedule: what is recommended.
        status: `confirmed`, or `measured` where no gain is significant.
        verdict: the same in words.
        score: of the recommended schedule.
        gain: of the best candidate over λ = 1, bias-corrected.
        interval: of `gain`, at the corrected level.
        best: the candidate with the largest gain, whether significant or not.
        looks: how it came to this, if it looked several times.
    """

    schedule: LambdaSchedule
    status: RowStatus
    verdict: str
    score: Score
    gain: float
    interval: Interval
    best: Contender
    looks: Looks | None = None


def level_for(comparisons: int) -> float:
    """The level of each interval so that all hold together at 95 %."""
    return 1 - 0.05 / max(comparisons, 1)


def interval_of(against: Comparison, proof: Proof | None, level: float) -> Interval:
    """That of a difference: at `level`, or as the looks have it that led to it."""
    return against.interval(level) if proof is None else proof.interval(against)


def settle(
    baseline: Score,
    contenders: Sequence[Contender],
    proof: Proof | None = None,
    comparisons: int | None = None,
) -> Confirmation:
    """Picks the contender with the largest significant gain, or λ = 1 where none is.

    Arguments:
        baseline: λ = 1.
        contenders: what is compared with it.
        proof: the looks that led to these scores; None if this was the only one.
        comparisons: how many intervals are to hold together; one a contender unless given.
    """
    level = level_for(comparisons or len(contenders))

    def rank(contender: Contender) -> tuple[bool, float, int]:
        against = contender.against_baseline
        return interval_of(against, proof, level).low > 0, against.gain, -contender.trial

    best = max(contenders, key=rank)
    interval = interval_of(best.against_baseline, proof, level)
    gain = best.against_baseline.gain
    enough = enough_images(baseline.width)
    luck = optimism(len(contenders)) * best.against_baseline.standard_error
    proven = interval.low > 0 and baseline.n >= enough
    looks = None if proof is None else proof.told(proven, luck)
    exact = "" if proof is None else f", {proof.words}"
    if proven:
        verdict = f"gain confirmed on {baseline.n:,} images that the search has not seen{exact}"
        if len(contenders) > 1:
            verdict += f"; as the best of {len(contenders)} it may be {luck:.2g} too high"
        return Confirmation(
            best.schedule, "confirmed", verdict, best.score, gain, interval, best, looks
        )
    if baseline.n < enough:
        verdict = (
            f"{baseline.n:,} images are too few to confirm a gain with features of width "
            f"{baseline.width:,}: take {enough:,} or more; use λ = 1"
        )
    else:
        verdict = f"{NO_GAIN}{exact}; use λ = 1"
    return Confirmation(
        LambdaSchedule(), "measured", verdict, baseline, gain, interval, best, looks
    )


def optimism(candidates: int) -> float:
    """About how far the best of equal candidates' gains lies above the truth, in standard errors.

    The mean of the largest of K normal numbers, Φ⁻¹(0.5264^(1/K)) (Chen & Tyler 1999); of one, 0.
    """
    return NormalDist().inv_cdf(0.5264 ** (1 / candidates)) if candidates > 1 else 0.0
