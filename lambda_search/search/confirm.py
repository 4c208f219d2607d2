"""The proof: the best candidates and λ = 1 on images that the search has not seen.

A gain is confirmed when the interval of the bias-corrected gain, at level 1 − 0.05/candidates
(Bonferroni), lies above zero. Otherwise the row says so and recommends λ = 1.

On fewer than 4d images (d is the features' width) nothing is confirmed: there the distance's bias,
which differs between schedules, exceeds its error, and intervals that do not contain it lie. Such
a row recommends λ = 1 too, shows its best candidate, and says how many images would do.

The gain of the best of several is picked, and so a little too high on average; its interval, at a
level for all of them together, holds. The verdict says by how much it may be too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import enough_images
from lambda_search.records import Interval
from lambda_search.records import RowStatus
from lambda_search.schedule import LambdaSchedule

__all__ = ["Confirmation", "Contender", "level_for", "optimism", "settle"]

NO_GAIN = "no significant gain"


@dataclass(frozen=True)
class Contender:
    """A candidate with its score on the confirmation's indices, beside λ = 1's."""

    trial: int
    schedule: LambdaSchedule
    score: Score
    against_baseline: Comparison


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
    """

    schedule: LambdaSchedule
    status: RowStatus
    verdict: str
    score: Score
    gain: float
    interval: Interval
    best: Contender


def level_for(candidates: int) -> float:
    """The level of each interval so that all hold together at 95 %."""
    return 1 - 0.05 / max(candidates, 1)


def settle(baseline: Score, contenders: Sequence[Contender]) -> Confirmation:
    """Picks the contender with the largest significant gain, or λ = 1 where none is."""
    level = level_for(len(contenders))

    def rank(contender: Contender) -> tuple[bool, float, int]:
        against = contender.against_baseline
        return against.interval(level).low > 0, against.gain, -contender.trial

    best = max(contenders, key=rank)
    interval = best.against_baseline.interval(level)
    gain = best.against_baseline.gain
    enough = enough_images(baseline.width)
    if interval.low > 0 and baseline.n >= enough:
        verdict = f"gain confirmed on {baseline.n:,} images that the search has not seen"
        if len(contenders) > 1:
            high = optimism(len(contenders)) * best.against_baseline.standard_error
            verdict += f"; as the best of {len(contenders)} it may be {high:.2g} too high"
        return Confirmation(best.schedule, "confirmed", verdict, best.score, gain, interval, best)
    if baseline.n < enough:
        verdict = (
            f"{baseline.n:,} images are too few to confirm a gain with features of width "
            f"{baseline.width:,}: take {enough:,} or more; use λ = 1"
        )
    else:
        verdict = f"{NO_GAIN}; use λ = 1"
    return Confirmation(LambdaSchedule(), "measured", verdict, baseline, gain, interval, best)


def optimism(candidates: int) -> float:
    """About how far the best of equal candidates' gains lies above the truth, in standard errors.

    The mean of the largest of K normal numbers, Φ⁻¹(0.5264^(1/K)) (Chen & Tyler 1999); of one, 0.
    """
    return NormalDist().inv_cdf(0.5264 ** (1 / candidates)) if candidates > 1 else 0.0
