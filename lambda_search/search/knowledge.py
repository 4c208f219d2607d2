"""What a study's record tells the model of its rounds, and what the model says of it.

The scores of a round's trials are in its evaluations, the noise that they share in the round's
covariance, so that nothing has to be sampled or scored again to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lambda_search.records import Judgement
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.allowance import Block
from lambda_search.search.allowance import Spent
from lambda_search.search.edges import left_open
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Measurement
from lambda_search.search.noise import condensed
from lambda_search.search.plan import Plan
from lambda_search.search.record import Record
from lambda_search.search.space import Placed
from lambda_search.search.space import Point
from lambda_search.search.terms import tolerance_of
from lambda_search.setting import fingerprint

__all__ = ["Knowledge"]

_SURE = ("found", "no gain")
"""Endings that stand once they are recorded."""


class Knowledge:
    """What is known of a study that goes in rounds.

    Arguments:
        model: who decides on these (`Plan.kg`).
        plan: the study.
        record: what is known of it.
    """

    def __init__(self, model: KnowledgeGradient, plan: Plan, record: Record) -> None:
        self._model = model
        self._plan = plan
        self._record = record

    def next(self) -> Block:
        """What to measure next."""
        rounds = self._record.rounds
        if not rounds:
            return self._model.opening()
        return self._model.next(self._measured(), self._spent(), self._lost())

    def judgement(self) -> Judgement:
        """What is known after the last round: as it was recorded, where it holds for the file.

        What ended by itself stays ended, and what ended by a budget that was left open, though its
        proof is to be another now; whether else it ends depends on the budget and the trials that
        the file has now.
        """
        last, tolerance = self._record.rounds[-1], tolerance_of(self._plan.spec.search)
        told, space = last.judgement, self._plan.space
        both = {"family": "both"} if self._plan.spec.search.family == "both" else {}
        terms = fingerprint({"ranges": [space.mean, space.slope], "tolerance": tolerance} | both)
        known = self._measured(), self._spent(), self._lost()
        if told is not None and told.terms == terms:
            spent = told.ending == "budget" and self._model.allowance.was_enough(self._spent())
            if spent or told.ending in _SURE:
                return told
            ending = self._model.ending(told.regret, told.gain, *known)
            if ending != "no gain":  # whose leader is λ = 1
                return replace(told, ending=ending)
        found = self._model.verdict(*known)
        at = found.leader.mean, found.leader.slope
        best = self._standing_for(found.leader)
        return Judgement(
            *at,
            found.regret,
            found.gain,
            tolerance,
            terms,
            best,
            found.ending,
            found.expected,
        )

    def candidates(self) -> list[Trial]:
        """Whom to confirm, the best first; one that was never sampled becomes a trial."""
        points = self._model.candidates(
            self._measured(), self._plan.spec.confirm.top, self._lost()
        )
        known = {trial.number for trial in self._record.trials}
        found = [
            trial if trial.number in known else replace(trial, state="complete")
            for trial in self.trials(points, len(self._record.rounds))
        ]
        self._record.propose([trial for trial in found if trial.number not in known])
        self._record.commit()
        return found

    def trials(self, points: list[Point], generation: int) -> list[Trial]:
        """The trials at `points`, without those that diverged; new ones are not recorded.

        Of several with one schedule, as older studies have them, the first.
        """
        known = {trial.schedule: trial for trial in reversed(self._record.trials)}
        found, number = [], len(self._record.trials)
        for point in points:
            schedule = self._plan.space.schedule(point)
            trial = known.get(schedule)
            if trial is None:
                trial = Trial(number, generation, schedule, point.mean, point.slope)
                number += 1
            if trial.state != "diverged":
                found.append(trial)
        return found

    def leader(self, told: Judgement) -> LambdaSchedule:
        """The schedule that leads by a judgement."""
        return self._plan.space.schedule(Point(told.mean, told.slope))

    def is_beyond(self, trial: Trial) -> bool:
        """Whether a trial lies outside of the file's ranges, λ = 1 apart."""
        return trial.number > 0 and not self._plan.space.contains(trial)

    def cautions(self, best: Placed, as_constant: bool = False) -> tuple[str, ...]:
        """What the search leaves open: if it was cut off, and a best at an edge of what it saw.

        With `as_constant` the edges are those of the line k = 0.
        """
        last = self._record.rounds[-1]
        told = last.judgement
        cut_off = told is not None and told.ending in ("budget", "trials")
        ended = (last.words,) if cut_off else ()
        space, trials = self._model.reach(self._measured(), best), self._record.trials
        asked = self._plan.space
        if as_constant:
            space, trials = space.constants, [one for one in trials if not one.slope]
            asked = asked.constants
        return (*ended, *left_open(space, trials, best, asked))

    def _spent(self) -> Spent:
        rounds = self._record.rounds
        tried = {number for one in rounds for number in one.trials}
        return Spent(len(rounds), sum(one.images for one in rounds), len(tried))

    def _standing_for(self, leader: Point) -> int:
        """The number of the trial with a score that lies nearest to `leader`."""
        trials, rounds = self._record.trials, self._record.rounds
        tried = {number for one in rounds for number in one.trials}
        scored = [trials[number] for number in sorted(tried) if trials[number].gain is not None]
        return min(scored, key=lambda one: self._model.distance(leader, one)).number

    def _measured(self) -> list[Measurement]:
        return [one for number in range(len(self._record.rounds)) for one in self._of(number)]

    def _of(self, number: int) -> Iterator[Measurement]:
        """The scores of a round, without those of trials that diverged in it or later."""
        told = self._record.rounds[number]
        if told.covariance is None:
            return
        trials = [self._record.trials[one] for one in told.trials]
        scored = [
            (trial, known)
            for trial in trials
            if (known := self._record.evaluation(trial, told.n, "search", told.first))
        ]
        influences = condensed(np.array(told.covariance), told.n)
        scores = told.scores or [known.corrected for _, known in scored]
        for (trial, _), score, influence in zip(scored, scores, influences, strict=True):
            if trial.state != "diverged":
                at = Point(trial.mean, trial.slope)
                yield self._model.measurement(at, told.first, score, influence, told.n)

    def _lost(self) -> list[Point]:
        return [
            Point(trial.mean, trial.slope)
            for trial in self._record.trials
            if trial.state == "diverged"
        ]
