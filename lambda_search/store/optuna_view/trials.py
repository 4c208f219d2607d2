"""Trials in Optuna's own words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from lambda_search.records import Evaluation
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.records import steps_of
from lambda_search.spec import stored_spec

__all__ = ["StudyTrials", "study_of_trial", "trial_id"]

_TRIALS = 1_000_000
"""More than a study may have: a trial's id is study·10⁶ + number."""

_NORMAL = 1.96
"""Standard errors on either side of a 95 % interval."""


def trial_id(study_id: int, number: int) -> int:
    """The id of a trial, unique in a store."""
    return study_id * _TRIALS + number


def study_of_trial(trial_id: int) -> tuple[int, int]:
    """The id of a trial's study, and its number there."""
    return divmod(trial_id, _TRIALS)


@dataclass(frozen=True)
class StudyTrials:
    """The trials of a study, with what is known of them.

    Arguments:
        study: theirs.
        driven: whether a living driver is at work on it.
        trials, evaluations: all of the study.
        attributes: system attributes by trial number.
    """

    study: Study
    driven: bool
    trials: Sequence[Trial]
    evaluations: Iterable[Evaluation]
    attributes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def frozen(self) -> list[FrozenTrial]:
        """All of them, in order."""
        searched: dict[int, list[Evaluation]] = defaultdict(list)
        confirmed: dict[int, Evaluation] = {}
        for one in self.evaluations:
            if one.phase == "search":
                searched[one.trial].append(one)
            else:
                confirmed[one.trial] = one
        scored = {trial: {one.n: one for one in steps_of(own)} for trial, own in searched.items()}
        most = max((n for by_rung in scored.values() for n in by_rung), default=0)
        if any(one.first for own in searched.values() for one in own):
            most = 0  # rounds: each trial has as many images as it was given
        distributions = self._distributions()
        return [
            self._frozen(
                trial,
                dict(sorted(scored.get(trial.number, {}).items())),
                confirmed.get(trial.number),
                most,
                distributions,
            )
            for trial in self.trials
        ]

    def _frozen(
        self,
        trial: Trial,
        by_rung: dict[int, Evaluation],
        confirmed: Evaluation | None,
        most: int,
        distributions: dict[str, BaseDistribution],
    ) -> FrozenTrial:
        last = next(reversed(by_rung.values()), None)
        if last is None and trial.state == "complete":  # a candidate that the search never sampled
            last = confirmed
        state = self._state(trial, last, most)
        ended = state.is_finished()
        told = last is not None and ended and state != TrialState.FAIL
        return FrozenTrial(
            number=trial.number,
            trial_id=trial_id(self.study.id, trial.number),
            state=state,
            value=_difference(last) if told and last is not None else None,
            datetime_start=None if state == TrialState.WAITING else _local(self._begin(trial)),
            datetime_complete=_local(trial.finished) if ended else None,
            params={"mean": trial.mean, "slope": trial.slope},
            distributions=dict(distributions),
            user_attrs=_user_attributes(trial, last, confirmed),
            system_attrs=dict(self.attributes.get(trial.number, {})),
            intermediate_values={n: _difference(one) for n, one in by_rung.items()},
        )

    def _state(self, trial: Trial, last: Evaluation | None, most: int) -> TrialState:
        """COMPLETE are those at the last rung, on as many images as any, or in rounds.

        Rungs may have changed: what ended at a last rung of fewer images counts as stopped early,
        and what was stopped early may have been scored at the last rung later.
        """
        if trial.is_open or (last is None and trial.state == "complete"):
            return TrialState.RUNNING if self.driven else TrialState.WAITING
        if trial.state == "diverged" or last is None:
            return TrialState.FAIL
        went_on = trial.state == "complete" or last.n > (trial.n or 0)
        return TrialState.COMPLETE if went_on and last.n >= most else TrialState.PRUNED

    def _begin(self, trial: Trial) -> datetime | None:
        """When it was asked for, or when the driver that went on with it took the study over."""
        if trial.created is None:
            return None
        end = trial.finished
        taken = [one.began for one in self.study.attempts if end is None or one.began <= end]
        return max([trial.created, *taken])

    def _distributions(self) -> dict[str, BaseDistribution]:
        """One for all: the ranges of the study's file, widened to λ = 1 and to all trials.

        Optuna's plots leave out what has another distribution in every trial.
        """
        means = [1.0, *(trial.mean for trial in self.trials)]
        slopes = [0.0, *(trial.slope for trial in self.trials)]
        spec = stored_spec(self.study.spec)
        if spec is not None:
            means += spec.search.mean
            slopes += spec.slope_range(self.study.steps)
        return {
            "mean": FloatDistribution(min(means), max(means)),
            "slope": FloatDistribution(min(slopes), max(slopes)),
        }


def _user_attributes(
    trial: Trial, last: Evaluation | None, confirmed: Evaluation | None
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "b": trial.schedule.b,
        "k": trial.schedule.k,
        "generation": trial.generation,
    }
    if last is not None:
        told |= {"n": last.n, "fid": last.fid, "interval": _interval(last)}
    if confirmed is not None:
        told |= {
            "confirmed": _difference(confirmed),
            "confirmed n": confirmed.n,
            "confirmed interval": _interval(confirmed),
        }
    return told | ({"reason": trial.reason} if trial.reason else {})


def _interval(found: Evaluation) -> list[float]:
    """The 95 % interval of FID(λ) − FID(1)."""
    middle, half = _difference(found), _NORMAL * found.gain_standard_error
    return [float(f"{end:.6g}") for end in (middle - half, middle + half)]


def _difference(found: Evaluation) -> float:
    """FID(λ) − FID(1), corrected; of λ = 1 itself 0, and not −0."""
    return 0.0 - found.gain


def _local(moment: datetime | None) -> datetime | None:
    """Optuna's times are local and have no zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
