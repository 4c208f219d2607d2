"""The view itself: what Optuna asks of a storage."""

from __future__ import annotations

from collections.abc import Container
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from lambda_search.errors import UsageError
from lambda_search.records import Study
from lambda_search.store.optuna_view.artifacts import artifacts_of_rows
from lambda_search.store.optuna_view.artifacts import artifacts_of_trials
from lambda_search.store.optuna_view.read_only import ReadOnly
from lambda_search.store.optuna_view.trials import StudyTrials
from lambda_search.store.optuna_view.trials import study_of_trial
from lambda_search.store.optuna_view.trials import trial_id
from lambda_search.store.optuna_view.words import system_attributes
from lambda_search.store.optuna_view.words import user_attributes
from lambda_search.store.store import Store

__all__ = ["OptunaView", "optuna_storage"]


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
        rows, warnings = self._store.latest_rows(), self._store.warnings()
        pictures = artifacts_of_rows(self._store, rows.values())
        return [
            FrozenStudy(
                study.name,
                StudyDirection.MINIMIZE,
                user_attributes(study, row),
                system_attributes(study, row, warnings.get(study.id, []))
                | (pictures.get(row.id, {}) if row is not None else {}),
                study.id,
            )
            for study in studies
            for row in [rows.get(study.id)]
        ]

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
        return self._frozen(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._frozen(study_id).system_attrs

    def _frozen(self, study_id: int) -> FrozenStudy:
        for study in self.get_all_studies():
            if study._study_id == study_id:
                return study
        raise KeyError(f"there is no study with the id {study_id}")

    def _study(self, study_id: int) -> Study:
        for study in self._store.studies():
            if study.id == study_id:
                return study
        raise KeyError(f"there is no study with the id {study_id}")

    # Trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        study = self._study(study_id)
        found = StudyTrials(
            study,
            self._store.is_driven(study),
            self._store.trials(study_id),
            self._store.evaluations(study_id),
            artifacts_of_trials(self._store, study_id),
        )
        return [one for one in found.frozen() if states is None or one.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        study_id, number = study_of_trial(trial_id)
        for trial in self.get_all_trials(study_id):
            if trial.number == number:
                return trial
        raise KeyError(f"there is no trial with the id {trial_id}")

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self.get_trial(trial_id(study_id, trial_number))._trial_id

    # What is refused

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        if any(study.name == study_name for study in self._store.studies()):
            raise DuplicatedStudyError  # Optuna loads it then, if load_if_exists allows it
        raise ReadOnly

    def delete_study(self, study_id: int) -> None:
        raise ReadOnly

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise ReadOnly

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        raise ReadOnly

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        raise ReadOnly

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        raise ReadOnly

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        raise ReadOnly

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        raise ReadOnly

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise ReadOnly

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise ReadOnly
