"""The trials of a study: which of them count, and their scores in the search."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_search.errors import Diverged
from lambda_search.records import Evaluation
from lambda_search.records import Trial
from lambda_search.search.plan import Plan
from lambda_search.search.publish import as_evaluation
from lambda_search.search.record import Record
from lambda_search.work.evaluator import Evaluator

__all__ = ["Scoring"]


class Scoring:
    """Scores the trials of a study.

    Arguments:
        plan: the study.
        record: what is known of it.
        evaluator: scores schedules.
    """

    def __init__(self, plan: Plan, record: Record, evaluator: Evaluator) -> None:
        self._plan = plan
        self._record = record
        self._evaluator = evaluator

    def counts(self, trial: Trial) -> bool:
        """Whether a trial takes part: λ = 1, and what lies in the present ranges and is measured.

        In a search by rounds what is in one of these, wherever it lies.
        """
        if self._plan.kg is not None:
            return any(trial.number in one.trials for one in self._record.rounds)
        return not trial.is_unmeasured and (not trial.number or self._plan.space.contains(trial))

    def score(self, trials: Sequence[Trial], n: int) -> tuple[list[Evaluation], dict[int, str]]:
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
                new.append(as_evaluation(trial, "search", 0, result, self.name(trial, 0, n)))
        return new, reasons

    def name(self, trial: Trial, first: int, n: int) -> str:
        """Under which a trial's evaluation is kept."""
        return f"{trial.number:05d}{self._evaluator.name(trial.schedule, first, n)[:59]}"
