"""The driver of one study: ask, score, tell, confirm; everything is committed before it is used.

Restarting is replaying. The record holds the generations and every closed rung, the feature files
every finished shard, so a driver that starts again walks the same road and computes only what is
missing. Nothing depends on timing: trials are proposed in generations, rungs close in order. A
search by the knowledge gradient goes in rounds instead (`rounds`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lambda_search.events import Events
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.records import TrialState
from lambda_search.search.confirming import Confirming
from lambda_search.search.families import propose_next
from lambda_search.search.knowledge import Knowledge
from lambda_search.search.plan import Plan
from lambda_search.search.progress import Tracker
from lambda_search.search.progress import describe
from lambda_search.search.proposals import observations
from lambda_search.search.ranking import as_begun
from lambda_search.search.record import Record
from lambda_search.search.relatives import warmed
from lambda_search.search.rounds import Rounds
from lambda_search.search.rungs import promoted
from lambda_search.search.scoring import Scoring
from lambda_search.search.space import Point
from lambda_search.store.leases import Lease
from lambda_search.store.store import Store
from lambda_search.work.evaluator import Evaluator

__all__ = ["Driver"]


class Driver:
    """Runs one study under a lease.

    Arguments:
        plan: the study.
        study: its record.
        lease: the right to write to it.
        store: where it is kept.
        evaluator: scores schedules.
        tracker: is kept up to date.
        events: are told what happens.
    """

    def __init__(
        self,
        plan: Plan,
        study: Study,
        lease: Lease,
        store: Store,
        evaluator: Evaluator,
        tracker: Tracker,
        events: Events,
    ) -> None:
        plan = warmed(as_begun(plan, store.rounds(study.id)), study, lease, store)
        self._plan = plan
        self._evaluator = evaluator
        self._tracker = tracker
        self._events = events
        self._record = Record(study, lease, store)
        self._scoring = Scoring(plan, self._record, evaluator)

    def run(self) -> Row:
        """Searches, confirms and publishes; returns the new row.

        Raises:
            Diverged: if λ = 1 makes images that are not finite.
            LambdaSearchError: if no candidate makes finite ones, and for all else that fails.
        """
        for caution in self._plan.cautions():
            self._events.say("warning", caution)
        for line in self._plan.reference_notes:
            self._events.say("note", line)
        if self._plan.spec.search.warm_start and not self._record.trials:
            self._events.say("note", self._beginning())
        self._evaluator.prepare(partial(self._events.say, "note"))
        self._tracker.stage = "search"
        self._search()
        self._tracker.confirm(self._plan.confirm_images())
        row = Confirming(
            self._plan,
            self._record,
            self._evaluator,
            self._scoring,
            self._tracker,
            self._events,
        ).run()
        self._tracker.stage = "done"
        self._events.say("row", f"row {row.id[:12]}: λ(i) = {row.schedule}, {row.status}")
        return row

    def _beginning(self) -> str:
        """Where the search begins that asks what is best for a relative."""
        if (start := self._plan.warm_start) is None:
            return "no relative's λ is known to begin at: it begins as any search does"
        schedule = self._plan.space.schedule(Point(start.mean, start.slope))
        return f"it begins at λ = {schedule}, of {start.words}"

    def _search(self) -> None:
        ended = [trial for trial in self._record.trials if not trial.is_open]
        self._tracker.closed([trial for trial in ended if self._scoring.counts(trial)])
        self._tracker.leads(self._record.best)
        if self._record.is_asked_anew:  # then it is done, and has searched
            return
        going_on = f", going on after {len(ended)} finished trials" if ended else ""
        self._events.say("search", f"searching{going_on}")
        if (model := self._plan.kg) is not None:
            Rounds(
                Knowledge(model, self._plan, self._record),
                self._plan.components,
                self._record,
                self._scoring,
                self._evaluator,
                self._tracker,
                self._events,
            ).run()
            return
        generation = 0
        while members := self._record.members(generation) or self._propose(generation):
            if any(trial.is_open for trial in members):
                self._run_generation(members)
            generation += 1

    def _propose(self, generation: int) -> list[Trial]:
        """Asks for a generation and commits it; empty when the budget is spent.

        Trials outside of the ranges, which were other ones then, take no part of the budget, nor
        do those that were never measured.
        """
        search, space, trials = self._plan.spec.search, self._plan.space, self._record.trials
        left = search.trials - sum(self._scoring.counts(trial) for trial in trials)
        points = propose_next(
            search,
            space,
            generation,
            observations(trials),
            len(trials),
            max(0, min(search.parallel, left)),
            self._plan.begin,
        )
        members = [
            Trial(number, generation, space.schedule(point), point.mean, point.slope)
            for number, point in enumerate(points, start=len(trials))
        ]
        self._record.propose(members)
        self._record.commit()
        return members

    def _run_generation(self, members: Sequence[Trial]) -> None:
        """Takes a generation up the rungs."""
        alive, last, before = list(members), members[-1].number, None
        rungs = self._plan.rungs
        rivals = {trial.number for trial in self._record.trials if self._scoring.counts(trial)}
        for n in rungs:
            new, reasons = self._scoring.score(alive, n)
            gains = self._record.gains(n) | {one.trial: one.gain for one in new}
            gains |= dict.fromkeys([*reasons, *self._diverged_at(n, before, last)], -math.inf)
            gains = {one: gain for one, gain in gains.items() if one <= last and one in rivals}
            numbers = [trial.number for trial in alive if trial.number in gains]
            going_on = set(promoted(gains, numbers)) if n != rungs[-1] else set()
            by_trial = {one.trial: one for one in new}
            ended = []
            for trial in alive:
                if not trial.is_open or trial.number in going_on:
                    continue
                reason = reasons.get(trial.number)
                if reason is not None:
                    ended.append(replace(trial, state="diverged", reason=reason))
                    continue
                found = by_trial.get(trial.number) or self._record.evaluation(trial, n)
                assert found is not None
                state: TrialState = "complete" if n == rungs[-1] else "stopped"
                ended.append(replace(trial, state=state, n=n, gain=found.gain, fid=found.fid))
            self._record.close(new, ended)
            if n != rungs[-1]:  # else with what is proposed next
                self._record.commit()
            self._tracker.closed([trial for trial in ended if self._scoring.counts(trial)])
            for trial in ended:
                self._events.say("trial", describe(trial))
            alive, before = [trial for trial in alive if trial.number in going_on], n

    def _diverged_at(self, n: int, before: int | None, last: int) -> list[int]:
        """The trials up to `last` that diverged at the rung n, the one after `before`."""
        return [
            trial.number
            for trial in self._record.trials
            if trial.state == "diverged"
            and trial.number <= last
            and self._record.evaluation(trial, n) is None
            and (before is None or self._record.evaluation(trial, before) is not None)
        ]
