"""The driver of one study: ask, score, tell, confirm; everything is committed before it is used.

Restarting is replaying. The record holds the generations and every closed rung, the feature files
every finished shard, so a driver that starts again walks the same road and computes only what is
missing. Nothing depends on timing: trials are proposed in generations, rungs close in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from lambda_search.errors import Diverged
from lambda_search.errors import LambdaSearchError
from lambda_search.events import Events
from lambda_search.records import Evaluation
from lambda_search.records import Image
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.records import TrialState
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.candidates import best_of
from lambda_search.search.candidates import unscored_leaders
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import settle
from lambda_search.search.edges import left_open
from lambda_search.search.plan import Plan
from lambda_search.search.progress import Tracker
from lambda_search.search.progress import describe
from lambda_search.search.proposals import observations
from lambda_search.search.proposals import propose
from lambda_search.search.publish import as_evaluation
from lambda_search.search.publish import as_row
from lambda_search.search.record import Record
from lambda_search.search.rungs import promoted
from lambda_search.store.leases import Lease
from lambda_search.store.store import Store
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.evaluator import Result
from lambda_search.work.recipe import confirm_start

__all__ = ["Driver"]

_BASELINE = LambdaSchedule()
_PREVIEW_IMAGES = 32


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
        self._plan = plan
        self._evaluator = evaluator
        self._tracker = tracker
        self._events = events
        self._record = Record(study, lease, store)

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
        self._evaluator.prepare()
        self._tracker.stage = "search"
        self._search()
        self._tracker.confirm(self._plan.confirm_images())
        row = self._confirm()
        self._tracker.stage = "done"
        self._events.say("row", f"row {row.id[:12]}: λ(i) = {row.schedule}, {row.status}")
        return row

    # Search

    def _search(self) -> None:
        ended = [trial for trial in self._record.trials if not trial.is_open]
        self._tracker.closed([trial for trial in ended if self._counts(trial)])
        going_on = f", going on after {len(ended)} finished trials" if ended else ""
        self._events.say("search", f"searching{going_on}")
        generation = 0
        while members := self._record.members(generation) or self._propose(generation):
            if any(trial.is_open for trial in members):
                self._run_generation(members)
            generation += 1

    def _propose(self, generation: int) -> list[Trial]:
        """Asks for a generation and commits it; empty when the budget is spent.

        Trials outside of the ranges, which were other ones then, take no part of the budget.
        """
        search, space, trials = self._plan.spec.search, self._plan.space, self._record.trials
        left = search.trials - sum(self._counts(trial) for trial in trials)
        points = propose(
            space,
            search.proposals,
            search.trials,
            search.seed,
            generation,
            observations(trials),
            max(0, min(search.parallel, left)),
        )
        members = [
            Trial(number, generation, space.schedule(point), point.mean, point.slope)
            for number, point in enumerate(points, start=len(trials))
        ]
        self._record.propose(members)
        return members

    def _counts(self, trial: Trial) -> bool:
        """Whether a trial is λ = 1 or lies in the ranges as they are now."""
        return not trial.number or self._plan.space.contains(trial)

    def _run_generation(self, members: Sequence[Trial]) -> None:
        """Takes a generation up the rungs."""
        alive, last, before = list(members), members[-1].number, None
        rungs = self._plan.rungs
        rivals = {trial.number for trial in self._record.trials if self._counts(trial)}
        for n in rungs:
            new, reasons = self._score(alive, n)
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
            self._tracker.closed([trial for trial in ended if self._counts(trial)])
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

    def _score(self, trials: Sequence[Trial], n: int) -> tuple[list[Evaluation], dict[int, str]]:
        """Scores those of `trials` that have no evaluation at the rung n.

        Returns what is new, and why others diverged, by number.
        """
        missing = [
            trial
            for trial in trials
            if trial.state != "diverged" and self._record.evaluation(trial, n) is None
        ]
        if not missing:
            return [], {}
        new, reasons = [], {}
        results = self._evaluator.results([trial.schedule for trial in missing], 0, n)
        for trial, result in zip(missing, results, strict=True):
            if isinstance(result, Diverged):
                reasons[trial.number] = result.cause
            else:
                new.append(as_evaluation(trial, "search", 0, result, self._name(trial, 0, n)))
        return new, reasons

    # Confirmation

    def _confirm(self) -> Row:
        candidates = self._candidates()
        for caution in self._left_open(candidates[0]):
            self._events.say("warning", caution)
        first, n = self._round(candidates), self._plan.spec.confirm.samples
        numbers = ", ".join(str(trial.number) for trial in candidates)
        self._events.say("confirm", f"confirming trial {numbers} and λ = 1 on {n:,} images")
        schedules = [_BASELINE, *(trial.schedule for trial in candidates)]
        baseline, *results = self._evaluator.results(schedules, first, n, whole=True)
        assert isinstance(baseline, Result)  # else it would have been raised
        compared: list[tuple[Trial, Result]] = []
        for trial, result in zip(candidates, results, strict=True):
            if isinstance(result, Diverged):
                self._events.say(
                    "warning", f"trial {trial.number} diverged in confirmation: {result.cause}"
                )
            else:
                compared.append((trial, result))
        if not compared:
            raise _nothing_finite()
        outcome = settle(
            baseline.score,
            [
                Contender(trial.number, trial.schedule, result.score, result.against)
                for trial, result in compared
            ],
        )
        best = outcome.best.schedule
        [chosen] = [trial for trial, _ in compared if trial.number == outcome.best.trial]
        preview = self._evaluator.name(best, first, n)
        row = as_row(
            outcome,
            baseline,
            compared,
            self._plan,
            first,
            self._evaluator.identity,
            preview,
            (*self._plan.cautions(), *self._left_open(chosen)),
        )
        evaluations = [
            as_evaluation(trial, "confirm", first, result, self._name(trial, first, n))
            for trial, result in [(self._record.trials[0], baseline), *compared]
            if self._record.evaluation(trial, n, "confirm", first) is None
        ]
        pictures = self._evaluator.preview([_BASELINE, best], first, _PREVIEW_IMAGES)
        captions = "λ = 1", f"λ = {best}"
        images = [Image(*one) for one in zip(captions, pictures, strict=True)]
        return self._record.publish(row, evaluations, images, self._plan.digest())

    def _candidates(self) -> list[Trial]:
        """Whom to confirm: the best at the last rung and in the ranges, λ = 1 apart."""
        last, top = self._plan.rungs[-1], self._plan.spec.confirm.top
        closed = [
            trial
            for trial in self._record.trials
            if trial.gain is not None and not trial.schedule.is_identity and self._counts(trial)
        ]
        leaders = unscored_leaders(closed, self._record.gains(last), self._plan.rungs, top)
        new, reasons = self._score(leaders, last)
        self._record.close(new)
        for number, reason in reasons.items():
            self._events.say("warning", f"trial {number} diverged on {last:,} images: {reason}")
        best = best_of(closed, self._record.gains(last))[:top]
        if not best:
            raise _nothing_finite()
        return best

    def _left_open(self, best: Trial) -> tuple[str, ...]:
        return left_open(self._plan.space, self._record.trials, best)

    def _round(self, candidates: Sequence[Trial]) -> int:
        """The first index of this confirmation, whose images nobody has seen.

        One that only repeats the last one, to measure it otherwise, is on the images of that.
        """
        batch, n = self._plan.batch, self._plan.spec.confirm.samples
        rounds = self._record.confirmations()
        if not rounds:
            return confirm_start(batch)
        first, looked = max(rounds.items())
        numbers = {0, *(trial.number for trial in candidates)}
        same = {one.trial for one in looked} == numbers and all(one.n == n for one in looked)
        if same and not self._record.is_searched_since:
            return first
        after = max(one.first + one.n for many in rounds.values() for one in many)
        return max(confirm_start(batch), -(-after // batch) * batch)

    def _name(self, trial: Trial, first: int, n: int) -> str:
        return f"{trial.number:05d}{self._evaluator.name(trial.schedule, first, n)[:59]}"


def _nothing_finite() -> LambdaSearchError:
    return LambdaSearchError(
        "No candidate makes finite images.",
        "Narrow search.mean and search.slope towards λ = 1, or take precision fp32.",
    )
