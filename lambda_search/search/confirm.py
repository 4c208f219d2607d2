"""The proof: the best candidates and λ = 1 on images that the search has not seen.

A gain is confirmed when the interval of the bias-corrected gain, at level 1 − 0.05/candidates
(Bonferroni), lies above zero. Otherwise the row says so and recommends λ = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.records import Interval
from lambda_search.schedule import LambdaSchedule

__all__ = ["Confirmation", "Contender", "level_for", "settle"]

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
        trial: the winner's number; 0 is λ = 1.
        schedule: what is recommended.
        status: `confirmed`, or `measured` where no gain is significant.
        verdict: the same in words.
        score: of the recommended schedule.
        gain: of the best candidate over λ = 1, bias-corrected.
        interval: of `gain`, at the corrected level.
        best: the candidate with the largest gain, whether significant or not.
    """

    trial: int
    schedule: LambdaSchedule
    status: str
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

    winner = max(contenders, key=rank)
    interval = winner.against_baseline.interval(level)
    gain = winner.against_baseline.gain
    if interval.low > 0:
        verdict = f"gain confirmed on {baseline.n:,} images that the search has not seen"
        return Confirmation(
            winner.trial,
            winner.schedule,
            "confirmed",
            verdict,
            winner.score,
            gain,
            interval,
            winner,
        )
    return Confirmation(
        0, LambdaSchedule(), "measured", f"{NO_GAIN}; use λ = 1", baseline, gain, interval, winner
    )
