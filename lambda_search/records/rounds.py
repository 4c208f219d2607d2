"""A round of a search by the knowledge gradient: what was measured together, and what it said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from typing import TypeAlias

__all__ = ["Ending", "Judgement", "Round"]

Ending: TypeAlias = Literal["found", "no gain", "budget", "trials"]


@dataclass(frozen=True)
class Judgement:
    """What all scores up to a round say.

    Arguments:
        mean, slope: of the schedule of the lowest expected FID, which may never have been sampled.
        regret: the probability that another one is better by more than the tolerance.
        gain: the probability that λ = 1 is worse than some by more than the tolerance.
        tolerance: a share of the FID.
        terms: digest of the ranges and the tolerance that this holds for.
        ending: why the search ended there: a better one was unlikely (`found`), even over λ = 1
            (`no gain`), or the images (`budget`) or schedules (`trials`) were spent. None while
            it goes on.
    """

    mean: float
    slope: float
    regret: float
    gain: float
    tolerance: float
    terms: str
    ending: Ending | None = None


@dataclass(frozen=True)
class Round:
    """Trials that are measured on one block of images.

    Arguments:
        number: from 0 on.
        first, n: which sample indices; no other round has one of them.
        trials: their numbers, λ = 1 first; some may have been measured before.
        covariance: of the influences (`metrics.evidence`) of the trials that made finite images,
            in order, [m][m]; None while it is open.
        judgement: what was known after it; None until it was judged.
    """

    number: int
    first: int
    n: int
    trials: tuple[int, ...]
    covariance: tuple[tuple[float, ...], ...] | None = None
    judgement: Judgement | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is still to be measured."""
        return self.covariance is None

    @property
    def images(self) -> int:
        """How many images it makes."""
        return len(self.trials) * self.n
