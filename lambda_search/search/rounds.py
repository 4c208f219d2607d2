"""A search by rounds of a few schedules, each on a block of images, until it may end.

A round's scores, its judgement and the round that follows are one transaction, committed before
that one's first shard runs. A driver that starts again finds all of it in the record, and what it
was at in between in features that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lambda_search.errors import Diverged
from lambda_search.events import Events
from lambda_search.records import Evaluation
from lambda_search.records import Round
from lambda_search.records import Trial
from lambda_search.records import TrialState
from lambda_search.records import steps_of
from lambda_search.search.knowledge import Knowledge
from lambda_search.search.noise import covariances
from lambda_search.search.progress import Tracker
from lambda_search.search.progress import describe
from lambda_search.search.publish import as_evaluation
from lambda_search.search.record import Record
from lambda_search.search.scoring import Scoring
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.evaluator import Result

__all__ = ["Rounds"]


class Rounds:
    """Searches in rounds.

    Arguments:
        knowledge: what the record tells.
        components: of the projected distance by which they rank; None: by the FID.
        record: what is known of the study.
        scoring: names its evaluations.
        evaluator: scores schedules.
        tracker: is kept up to date.
        events: are told what happens.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        components: int | None,
        record: Record,
        scoring: Scoring,
        evaluator: Evaluator,
        tracker: Tracker,
        events: Events,
    ) -> None:
        self._knowledge = knowledge
        self._components = components
        self._record = record
        self._scoring = scoring
        self._evaluator = evaluator
        self._tracker = tracker
        self._events = events

    def run(self) -> None:
        """Goes on from the record until the search may end."""
        while True:
            rounds = self._record.rounds
            if rounds and rounds[-1].is_open:
                self._measure(rounds[-1])
                continue
            if rounds and self._has_ended(rounds[-1]):
                self._close_others()
                return
            self._begin(len(rounds))

    def _close_others(self) -> None:
        """Ends what another search left open, with the scores that it has."""
        own = {number for one in self._record.rounds for number in one.trials}
        left = [one for one in self._record.trials if one.is_open and one.number not in own]
        self._record.close(
            (), [_with(trial, self._record.searched(trial), "stopped") for trial in left]
        )

    def _begin(self, number: int) -> None:
        block = self._knowledge.next()
        trials = self._knowledge.trials(list(block.points), number)
        if number and not (trials and self._record.in_rounds(trials[0])):  # whose gain is known
            trials = [self._record.trials[0], *(one for one in trials if one.number)]
        known = {trial.number for trial in self._record.trials}
        new = [trial for trial in trials if trial.number not in known]
        numbers = tuple(trial.number for trial in trials)
        begun = Round(number, block.first, block.n, numbers, components=self._components)
        self._record.begin(begun, new)
        self._record.commit()
        beyond = [str(one.schedule) for one in new if self._knowledge.is_beyond(one)]
        if beyond:
            self._events.say(
                "note",
                f"a better λ may lie beyond the ranges: λ = {' and '.join(beyond)} is tried",
            )

    def _measure(self, told: Round) -> None:
        """Scores a round's trials, and records what is known of them now."""
        trials = [self._record.trials[number] for number in told.trials]
        beside, several, results = self._compared(told, trials)
        known = self._record.in_rounds(beside) if beside.number else []
        scored: list[tuple[Evaluation, Result]] = []
        now: list[Trial] = []
        for trial, result in zip(several, results, strict=True):
            if isinstance(result, Diverged):
                lost = replace(trial, n=None, gain=None, fid=None, reason=result.cause)
                now.append(replace(lost, state="diverged"))
                continue
            name = self._scoring.name(trial, told.first, told.n)
            found = as_evaluation(trial, "search", told.first, result, name)
            if known:
                found = found.beside(steps_of(known)[-1])
            scored.append((found, result))
            now.append(_with(trial, [*self._record.in_rounds(trial), found]))
        ranking = [result.projected or result.score for _, result in scored]
        matrix = covariances([one.influence.numpy().astype(np.float64) for one in ranking])
        numbers = tuple(trial.number for trial in several)
        rows = tuple(tuple(row) for row in matrix.tolist())
        closed = replace(told, trials=numbers, covariance=rows)
        if told.components is not None:
            closed = replace(closed, scores=tuple(one.corrected for one in ranking))
        self._record.end(closed, [found for found, _ in scored], now)
        self._tracker.closed(now)
        for trial in now:
            self._events.say("trial", describe(trial))

    def _compared(
        self, told: Round, trials: Sequence[Trial]
    ) -> tuple[Trial, Sequence[Trial], list[Result | Diverged]]:
        """Which of a round's trials the others are compared with, all of them, and their results.

        That is λ = 1 where it is one of them, else the first. If the first diverges on these
        images, λ = 1 becomes one of them.

        Raises:
            Diverged: if λ = 1 does.
        """
        at_one = self._record.trials[0]
        beside = at_one if 0 in told.trials else trials[0]
        try:
            return beside, trials, self._results(told, trials, beside)
        except Diverged:
            if beside is at_one:
                raise
        trials = [at_one, *trials]
        return at_one, trials, self._results(told, trials, at_one)

    def _results(
        self, told: Round, trials: Sequence[Trial], beside: Trial
    ) -> list[Result | Diverged]:
        schedules = [trial.schedule for trial in trials]
        return self._evaluator.results(
            schedules,
            told.first,
            told.n,
            components=told.components,
            beside=beside.schedule,
        )

    def _has_ended(self, last: Round) -> bool:
        """Judges the last round, unless that is recorded, and says so."""
        told = self._knowledge.judgement()
        if told != last.judgement:
            judged = replace(last, judgement=told)
            self._record.end(judged)
            self._tracker.leads(told.best)
            leader = self._knowledge.leader(told)
            self._events.say("note", f"round {last.number}: best λ about {leader}; {judged.words}")
        return told.ending is not None


def _with(trial: Trial, scored: Sequence[Evaluation], state: TrialState = "complete") -> Trial:
    """A trial with what all its evaluations say together, if there are some."""
    if not scored:
        return replace(trial, state=state)
    known = steps_of(scored)[-1]
    return replace(trial, state=state, n=known.n, gain=known.gain, fid=known.fid)
