"""The driver of one study: ask, score, tell, confirm; everything is committed before it is used.

Restarting is replaying. The `ls_` tables hold the generations and every closed rung, the feature
files every finished shard, so a driver that starts again walks the same road and computes only
what is missing. Nothing depends on timing: trials are proposed in generations, rungs close in
order.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

from lambda_search.errors import Diverged
from lambda_search.paths import previews_folder
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import settle
from lambda_search.search.plan import Plan
from lambda_search.search.progress import Progress
from lambda_search.search.proposals import Told
from lambda_search.search.proposals import propose
from lambda_search.search.publish import as_evaluation
from lambda_search.search.publish import as_row
from lambda_search.search.rungs import promoted
from lambda_search.search.space import Point
from lambda_search.store.leases import Lease
from lambda_search.store.previews import save_preview
from lambda_search.store.store import Store
from lambda_search.store.tables import Evaluation
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import Study
from lambda_search.store.tables import Trial
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
        study: its row in the store.
        lease: the right to write to it.
        store: the record.
        evaluator: scores schedules.
        progress: is told what happens.
    """

    def __init__(
        self,
        plan: Plan,
        study: Study,
        lease: Lease,
        store: Store,
        evaluator: Evaluator,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._study = study
        self._lease = lease
        self._store = store
        self._evaluator = evaluator
        self._progress = progress
        self._known = {e.fingerprint: e for e in store.evaluations(study.id)}

    def run(self) -> ScheduleRow:
        """Searches, confirms and publishes; returns the new row."""
        self._evaluator.prepare()
        trials = self._search()
        self._progress.phase = "confirm"
        row = self._confirm(trials)
        self._progress.phase = "done"
        return row

    # Search

    def _search(self) -> list[Trial]:
        trials = self._store.trials(self._study.id)
        finished = [trial for trial in trials if trial.finished is not None]
        self._progress.restore(finished)
        generation = 0
        while True:
            members = [trial for trial in trials if trial.generation == generation]
            if not members:
                members = self._propose(trials, generation)
                if not members:
                    return trials
                trials.extend(members)
            if any(trial.finished is None for trial in members):
                self._run_generation(members)
            generation += 1

    def _propose(self, trials: Sequence[Trial], generation: int) -> list[Trial]:
        """Asks for a generation and commits it; empty when the budget is spent."""
        search, space = self._plan.spec.search, self._plan.space
        history = [Told(_point(trial), -trial.gain) for trial in trials if trial.gain is not None]
        points = propose(
            space,
            search.proposals,
            search.trials,
            search.seed,
            generation,
            history,
            min(search.parallel, search.trials - len(trials)),
        )
        members = []
        for number, point in enumerate(points, start=len(trials)):
            schedule = space.schedule(point)
            members.append(
                Trial(
                    study_id=self._study.id,
                    number=number,
                    generation=generation,
                    b=schedule.b,
                    k=schedule.k,
                    mean=point.mean,
                    slope=point.slope,
                    state="proposed",
                )
            )
        if members:
            self._store.propose(self._lease, members)
        return members

    def _run_generation(self, members: Sequence[Trial]) -> None:
        """Takes a generation up the rungs."""
        alive = list(members)
        numbers = {trial.number for trial in members}
        rungs = self._plan.spec.metric.rungs
        for n in rungs:
            new = self._evaluate(alive, n)
            gains = {
                e.trial: e.gain
                for e in self._known.values()
                if e.phase == "search" and e.n == n and e.trial <= max(numbers)
            }
            going_on = set(promoted(gains, [t.number for t in alive])) if n != rungs[-1] else set()
            ended = [trial for trial in alive if trial.number not in going_on]
            finished = [trial for trial in ended if trial.finished is None]
            for trial in finished:
                evaluation = self._known[self._name(trial, 0, n)]
                trial.state = "complete" if n == rungs[-1] else "stopped"
                trial.n, trial.gain, trial.fid = n, evaluation.gain, evaluation.fid
            self._store.close_rung(self._lease, new, finished)
            self._progress.closed(finished)
            alive = [trial for trial in alive if trial.number in going_on]

    # Confirmation

    def _confirm(self, trials: Sequence[Trial]) -> ScheduleRow:
        first, n = self._confirm_range()
        confirmed = [trials[0], *self._candidates(trials)]
        schedules = [LambdaSchedule(trial.b, trial.k) for trial in confirmed]
        scored = self._results([_BASELINE, *schedules[1:]], first, n, whole=True)
        baseline = scored[0]
        contenders = [
            Contender(trial.number, schedule, result.score, result.against)
            for trial, schedule, result in zip(confirmed, schedules, scored, strict=True)
        ][1:]
        outcome = settle(baseline.score, contenders)
        preview = self._preview(outcome.best.schedule, first, n)
        evaluations = self._fresh(
            as_evaluation(trial, "confirm", first, result, self._name(trial, first, n))
            for trial, result in zip(confirmed, scored, strict=True)
        )
        row = as_row(
            outcome,
            scored,
            contenders,
            self._plan,
            self._study,
            first,
            self._evaluator.identity.to_json(),
            preview,
        )
        return self._store.publish(self._lease, row, evaluations)

    def _preview(self, schedule: LambdaSchedule, first: int, n: int) -> str:
        """Keeps a few images at λ = 1 and at `schedule`, for the report; returns their name."""
        name = self._evaluator.name(schedule, first, n)
        images = self._evaluator.preview([_BASELINE, schedule], first, _PREVIEW_IMAGES)
        save_preview(previews_folder(), name, *images)
        return name

    def _candidates(self, trials: Sequence[Trial]) -> list[Trial]:
        """The best trials at the highest rung that any of them reached, λ = 1 apart."""
        others = [t for t in trials if (t.b, t.k) != (1.0, 0.0) and t.gain is not None]
        reached = max((t.n or 0) for t in others)
        best = sorted(
            (t for t in others if t.n == reached), key=lambda t: (-(t.gain or 0.0), t.number)
        )
        distinct: dict[tuple[float, float], Trial] = {}
        for trial in best:
            distinct.setdefault((trial.b, trial.k), trial)
        return list(distinct.values())[: self._plan.spec.confirm.top]

    def _confirm_range(self) -> tuple[int, int]:
        return confirm_start(self._plan.batch), self._plan.spec.confirm.samples

    # Scores

    def _evaluate(self, trials: Sequence[Trial], n: int) -> list[Evaluation]:
        """Scores those of `trials` that have no evaluation at the rung n; returns the new ones."""
        missing = [trial for trial in trials if self._name(trial, 0, n) not in self._known]
        if not missing:
            return []
        schedules = [LambdaSchedule(trial.b, trial.k) for trial in missing]
        return self._fresh(
            as_evaluation(trial, "search", 0, result, self._name(trial, 0, n))
            for trial, result in zip(missing, self._results(schedules, 0, n), strict=True)
        )

    def _results(
        self, schedules: Sequence[LambdaSchedule], first: int, n: int, whole: bool = False
    ) -> list[Result]:
        found = []
        for result in self._evaluator.results(schedules, first, n, whole):
            if isinstance(result, Diverged):
                raise result
            found.append(result)
        return found

    def _fresh(self, evaluations: Iterable[Evaluation]) -> list[Evaluation]:
        """Those of `evaluations` that the record does not have; from now on they are known."""
        new = [e for e in evaluations if e.fingerprint not in self._known]
        self._known |= {e.fingerprint: e for e in new}
        return new

    def _name(self, trial: Trial, first: int, n: int) -> str:
        schedule = LambdaSchedule(trial.b, trial.k)
        return f"{trial.number:05d}{self._evaluator.name(schedule, first, n)[:59]}"


def _point(trial: Trial) -> Point:
    return Point(trial.mean, trial.slope)
