"""The studies of a store as Optuna sees studies: a storage that can be read, and not written.

Optuna's dashboard, its plots and `optuna.load_study` read it. Nothing is copied, so nothing can
fall behind, and Optuna's own tables, if the database has some, are left alone.

A trial's value is FID(λ) − FID(1), bias-corrected, on its own number of images (lower is better);
its intermediate values are the same by rung. Trials that were stopped early are PRUNED, diverged
ones FAIL, open ones RUNNING.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from typing import NoReturn

from optuna.distributions import BaseDistribution
from optuna.distributions import FloatDistribution
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from lambda_search.errors import UsageError
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.spec import StudySpec
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store

__all__ = ["METRIC_NAME", "OptunaView", "ReadOnly", "optuna_storage"]

METRIC_NAME = "FID(λ) − FID(1), bias-corrected"

_TRIALS = 1_000_000
"""More than a study may have: a trial's id is study·10⁶ + number."""

_STATES = {
    "proposed": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
}


class ReadOnly(OptunaError):
    """Something tried to write; studies are changed with lambda-search alone."""


def optuna_storage(store: Store | str | None = None) -> OptunaView:
    """A read-only Optuna storage over the studies of `store`.

    `optuna.load_study(study_name=…, storage=optuna_storage())` and Optuna's plots take it.

    Arguments:
        store: a store or its URL; the default store unless given.
    """
    return OptunaView(store if isinstance(store, Store) else Store(store))


class OptunaView(BaseStorage):
    """Reads studies and trials; every method that writes raises `ReadOnly`.

    Arguments:
        store: what is shown.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # Studies

    def get_all_studies(self) -> list[FrozenStudy]:
        studies = sorted(self._store.studies(), key=lambda study: study.id)
        return [self._frozen_study(study) for study in studies]

    def get_study_id_from_name(self, study_name: str) -> int:
        try:
            return self._store.study(study_name).id
        except UsageError as error:
            raise KeyError(error.cause) from error

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        self._study(study_id)
        return [StudyDirection.MINIMIZE]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return _user_attributes(self._study(study_id), self._row(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return _system_attributes(self._study(study_id), self._row(study_id))

    def _frozen_study(self, study: Study) -> FrozenStudy:
        row = self._row(study.id)
        return FrozenStudy(
            study.name,
            StudyDirection.MINIMIZE,
            _user_attributes(study, row),
            _system_attributes(study, row),
            study.id,
        )

    def _study(self, study_id: int) -> Study:
        for study in self._store.studies():
            if study.id == study_id:
                return study
        raise KeyError(f"there is no study with the id {study_id}")

    def _row(self, study_id: int) -> Row | None:
        return next(reversed(self._store.rows(study_id)), None)

    # Trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        study = self._study(study_id)
        [spec] = parse_specs(study.spec)
        rungs: dict[int, dict[int, float]] = defaultdict(dict)
        for evaluation in self._store.evaluations(study_id):
            if evaluation.phase == "search":
                rungs[evaluation.trial][evaluation.n] = -evaluation.gain
        found = [
            _frozen_trial(study, spec, trial, rungs[trial.number])
            for trial in self._store.trials(study_id)
        ]
        return [trial for trial in found if states is None or trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        study_id, number = divmod(trial_id, _TRIALS)
        for trial in self.get_all_trials(study_id):
            if trial.number == number:
                return trial
        raise KeyError(f"there is no trial with the id {trial_id}")

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self.get_trial(study_id * _TRIALS + trial_number)._trial_id

    # What is refused

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        _refuse()

    def delete_study(self, study_id: int) -> None:
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        _refuse()

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        _refuse()

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        _refuse()

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise ReadOnly("The studies of lambda_search can only be read here.")


def _frozen_trial(
    study: Study, spec: StudySpec, trial: Trial, by_rung: dict[int, float]
) -> FrozenTrial:
    values = {"mean": trial.mean, "slope": trial.slope}
    ranges = {"mean": spec.search.mean, "slope": spec.slope_range(study.steps)}
    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(ranges[name][0], value), max(ranges[name][1], value))
        for name, value in values.items()
    }
    state = _STATES[trial.state]
    finished = state.is_finished()
    return FrozenTrial(
        number=trial.number,
        trial_id=study.id * _TRIALS + trial.number,
        state=state,
        value=None if trial.gain is None else -trial.gain,
        datetime_start=_local(trial.created),
        datetime_complete=_local(trial.finished) if finished else None,
        params=values,
        distributions=distributions,
        user_attrs={
            name: value
            for name, value in {
                "b": trial.schedule.b,
                "k": trial.schedule.k,
                "n": trial.n,
                "fid": trial.fid,
                "reason": trial.reason or None,
            }.items()
            if value is not None
        },
        system_attrs={},
        intermediate_values=by_rung,
    )


def _user_attributes(study: Study, row: Row | None) -> dict[str, Any]:
    told: dict[str, Any] = {"state": study.state}
    if study.setting is not None:
        setting = study.setting
        told |= {
            "model": setting.model,
            "sampler": setting.sampler,
            "steps": study.steps,
            "extractor": setting.extractor,
            "reference": setting.reference,
        }
    if row is not None:
        told |= {
            "row": row.id[:12],
            "row status": row.status,
            "λ(i)": str(row.schedule),
            "verdict": row.verdict,
        }
    return told


def _system_attributes(study: Study, row: Row | None) -> dict[str, Any]:
    """The metric's name, and a note in the dashboard's own words."""
    lines = [f"**{study.state}** {study.message}".strip()]
    if row is not None:
        lines.append(f"λ(i) = **{row.schedule}**: {row.status}, {row.verdict} (row {row.id[:12]})")
    lines.append("Values are FID(λ) − FID(1), bias-corrected, on each trial's own images.")
    return {
        "study:metric_names": [METRIC_NAME],
        "dashboard:note_ver": 1,
        "dashboard:note_str:0": "\n\n".join(lines),
    }


def _local(moment: datetime | None) -> datetime | None:
    """Optuna's times are local and have no zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
