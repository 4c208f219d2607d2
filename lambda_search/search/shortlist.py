"""Who is confirmed: the best of a study's trials, λ = 1 apart, and what the search leaves open."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_search.errors import LambdaSearchError
from lambda_search.events import Events
from lambda_search.records import Trial
from lambda_search.search.candidates import best_of
from lambda_search.search.candidates import unscored_leaders
from lambda_search.search.edges import left_open
from lambda_search.search.knowledge import Knowledge
from lambda_search.search.plan import Plan
from lambda_search.search.record import Record
from lambda_search.search.scoring import Scoring

__all__ = ["Shortlist", "nothing_finite"]

_UNTOLD = "no constant was tried, so that what k is worth is not told: raise search.trials"


class Shortlist:
    """Chooses the candidates of a confirmation.

    Arguments:
        plan: the study.
        record: what is known of it.
        scoring: the trials of its search.
        events: are told what happens.
    """

    def __init__(self, plan: Plan, record: Record, scoring: Scoring, events: Events) -> None:
        self._plan = plan
        self._record = record
        self._scoring = scoring
        self._events = events
        self._knowledge = None if plan.kg is None else Knowledge(plan.kg, plan, record)

    def candidates(self) -> list[Trial]:
        """The best; of both families those with a slope, then the best constant.

        A best constant that is λ = 1 is none of them.

        Raises:
            LambdaSearchError: if no candidate makes finite images.
        """
        best = self._best() if self._knowledge is None else self._knowledge.candidates()
        if not best:
            raise nothing_finite()
        return best

    def prefers_one(self, candidates: Sequence[Trial]) -> bool:
        """Whether no constant is a candidate since λ = 1 is better than those that were tried."""
        if any(one.schedule.k == 0 for one in candidates):
            return False
        return self._knowledge is not None or bool(self._constants())

    def left_open(self, best: Trial, as_constant: bool = False) -> tuple[str, ...]:
        """What the search leaves open, a sentence each.

        Arguments:
            best: who is told about.
            as_constant: whether as the best constant, beside one with a slope.
        """
        if self._knowledge is not None:
            return self._knowledge.cautions(best, as_constant)
        space, trials = self._plan.space, self._record.trials
        if as_constant:
            return left_open(space.constants, [one for one in trials if not one.slope], best)
        untold = self._plan.spec.search.family == "both" and not self._constants()
        return (*left_open(space, trials, best), *([_UNTOLD] if untold else []))

    def _constants(self) -> list[Trial]:
        """The constants that were measured, λ = 1 apart."""
        return [one for one in self._closed() if one.schedule.k == 0]

    def _closed(self) -> list[Trial]:
        return [
            trial
            for trial in self._record.trials
            if trial.gain is not None
            and not trial.schedule.is_identity
            and self._scoring.counts(trial)
        ]

    def _best(self) -> list[Trial]:
        """The best at the last rung and in the ranges."""
        top = self._plan.spec.confirm.top
        closed = self._closed()
        if self._plan.spec.search.family != "both":
            return self._best_of(closed, top)
        linear = self._best_of([one for one in closed if one.schedule.k != 0], top)
        constant = self._best_of([one for one in closed if one.schedule.k == 0], 1)
        gains = self._record.gains(self._plan.rungs[-1])
        better = [one for one in constant if gains[one.number] > 0]
        return [*linear, *better] or constant

    def _best_of(self, closed: Sequence[Trial], top: int) -> list[Trial]:
        last = self._plan.rungs[-1]
        leaders = unscored_leaders(closed, self._record.gains(last), self._plan.rungs, top)
        new, reasons = self._scoring.score(leaders, last)
        self._record.close(new)
        self._record.commit()
        for number, reason in reasons.items():
            self._events.say("warning", f"trial {number} diverged on {last:,} images: {reason}")
        return best_of(closed, self._record.gains(last))[:top]


def nothing_finite() -> LambdaSearchError:
    """The error that no candidate makes finite images."""
    return LambdaSearchError(
        "No candidate makes finite images.",
        "Narrow search.mean and search.slope towards λ = 1, or take precision fp32.",
    )
