"""A round of a search by the knowledge gradient: what was measured together, and what it said."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from typing import TypeAlias

__all__ = ["Ending", "Judgement", "Round", "told_of_rounds"]

Ending: TypeAlias = Literal["found", "no gain", "budget", "trials"]

_ENDINGS: Mapping[Ending, str] = {
    "found": "it found its best",
    "no gain": "λ = 1 is about the best",
    "budget": "its images were spent",
    "trials": "its trials were spent",
}


@dataclass(frozen=True)
class Judgement:
    """What all scores up to a round say.

    Arguments:
        mean, slope: of the schedule of the lowest expected FID, which may never have been sampled.
        regret: the probability that another one is better by more than the tolerance.
        gain: the probability that λ = 1 is worse than some by more than the tolerance.
        tolerance: a share of the FID.
        terms: digest of the ranges and the tolerance that this holds for.
        best: number of the trial with a score that lies nearest to that schedule.
        ending: why the search ended there: a better one was unlikely (`found`), even over λ = 1
            (`no gain`), or the images (`budget`) or schedules (`trials`) were spent. None while
            it goes on.
        expected: the gain of that schedule by the model of all scores, a share of the score of
            λ = 1; an earlier release kept none.
    """

    mean: float
    slope: float
    regret: float
    gain: float
    tolerance: float
    terms: str
    best: int
    ending: Ending | None = None
    expected: float | None = None

    def words(self, is_projected: bool = False) -> str:
        """Why the search ended, and how sure it is, by the FID or the projected distance."""
        share = f"{100 * self.tolerance:g} %"
        if is_projected:
            share += " of the projected distance"
        if self.ending == "no gain":
            doubt = f"a schedule that gains more than {share} has a probability of {self.gain:.1%}"
        else:
            doubt = (
                f"a schedule better than the best by more than {share} has a probability of "
                f"{self.regret:.1%}"
            )
        if self.ending is None:
            return doubt
        return f"the search ended as {_ENDINGS[self.ending]}: {doubt}"


@dataclass(frozen=True)
class Round:
    """Trials that are measured on one block of images.

    Arguments:
        number: from 0 on.
        first, n: which sample indices; no other round has one of them.
        trials: their numbers; beside the first, λ = 1 or the best so far, the others are compared.
            Some may have been measured before.
        covariance: of the influences (`metrics.evidence`) of the trials that made finite images,
            in order, [m][m]; None while it is open.
        judgement: what was known after it; None until it was judged.
        components: of the projected distance (`metrics.projection`) that ranks its trials, and
            that is judged; None: the FID does.
        scores: that distance, corrected, of the trials that made finite images, in order; None of
            the FID, which their evaluations have.
    """

    number: int
    first: int
    n: int
    trials: tuple[int, ...]
    covariance: tuple[tuple[float, ...], ...] | None = None
    judgement: Judgement | None = None
    components: int | None = None
    scores: tuple[float, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is still to be measured."""
        return self.covariance is None

    @property
    def images(self) -> int:
        """How many images it makes."""
        return len(self.trials) * self.n

    @property
    def words(self) -> str:
        """Its judgement; "" until there is one."""
        return "" if self.judgement is None else self.judgement.words(self.components is not None)


def told_of_rounds(rounds: Sequence[Round]) -> str:
    """How many rounds there were, on how many images, and how they ended, in words."""
    several = "round" if len(rounds) == 1 else "rounds"
    counts = sorted({one.n for one in rounds})
    extent = " to ".join(f"{n:,}" for n in dict.fromkeys([counts[0], counts[-1]]))
    words = f"{len(rounds)} {several} on {extent} images of each schedule"
    if (components := rounds[-1].components) is not None:
        words += f", ranked by the projected distance ({components} components)"
    return "; ".join(one for one in (words, rounds[-1].words) if one)
