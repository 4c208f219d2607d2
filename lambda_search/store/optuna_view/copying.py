"""Copies of studies in an Optuna storage of the user's own.

A copy can be changed, and then it is the user's: it is never overwritten. One that is as it was
written is written anew when its study has gone on. A study that is no copy of ours is never
touched, and nothing is written into a database that holds a store of lambda_search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Literal
from typing import TypeAlias

from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.setting import fingerprint
from lambda_search.store.optuna_view.artifacts import PREFIX
from lambda_search.store.optuna_view.artifacts import Pictures
from lambda_search.store.optuna_view.storage import OptunaView
from lambda_search.store.optuna_view.targets import open_target
from lambda_search.store.store import Store

__all__ = ["Copied", "copy_studies"]

_MARK = "lambda_search:copy"
"""The system attribute that says of which study a study is a copy, and what was written."""

Outcome: TypeAlias = Literal["written", "written anew", "unchanged"]


@dataclass(frozen=True)
class Copied:
    """What became of a study in the target: it was new there, was replaced, or is up to date."""

    name: str
    trials: int
    outcome: Outcome


def copy_studies(
    store: Store, names: Sequence[str], to: str, artifacts: Path | None = None
) -> list[Copied]:
    """Copies studies of `store` into the Optuna storage at `to`, under their own names.

    Arguments:
        store: where they are.
        names: which.
        to: a database's URL, or the path of a journal file, as in `open_target`.
        artifacts: a folder for the trials' pictures (`optuna-dashboard --artifact-dir`).

    Raises:
        UsageError: if one of them is missing, or something else has its name in the target;
            nothing is written then.
        LambdaSearchError: if the target cannot be read or written.
    """
    origins = {name: store.study(name).created.isoformat() for name in names}
    view = OptunaView(store)
    by_name = {study.study_name: study for study in view.get_all_studies()}
    sources = [
        _Source(view, by_name[name], origin, artifacts is not None)
        for name, origin in origins.items()
    ]
    target = open_target(to)
    with _in_words():
        there = {study.study_name: study for study in target.get_all_studies()}
        for source in sources:
            if source.name in there:
                _check_ours(source, target, there[source.name])
        if artifacts is not None:
            _copy_pictures(store, sources, artifacts)
        return [_copy(source, target, there.get(source.name)) for source in sources]


class _Source:
    """A study as it is to be written.

    Arguments:
        view: where it is read.
        study: what it says of itself.
        origin: which study of all stores it is.
        pictured: whether its pictures go along.
    """

    def __init__(self, view: OptunaView, study: FrozenStudy, origin: str, pictured: bool) -> None:
        self.name = study.study_name
        self.directions = study.directions
        self.user_attrs = study.user_attrs
        self.system_attrs = _kept(study.system_attrs, pictured)
        self.trials = view.get_all_trials(study._study_id)
        for trial in self.trials:
            trial._system_attrs = _kept(trial._system_attrs, pictured)
        self.digest = _digest(self.user_attrs, self.system_attrs, self.trials)
        self.origin = origin

    @property
    def mark(self) -> dict[str, str]:
        return {"origin": self.origin, "digest": self.digest}

    @property
    def artifacts(self) -> list[str]:
        """The ids of its pictures."""
        told = [self.system_attrs, *(trial._system_attrs for trial in self.trials)]
        return [key.removeprefix(PREFIX) for one in told for key in one if key.startswith(PREFIX)]


def _copy(source: _Source, target: BaseStorage, there: FrozenStudy | None) -> Copied:
    outcome: Outcome = "written"
    if there is not None:
        if there.system_attrs[_MARK].get("digest") == source.digest:
            return Copied(source.name, len(source.trials), "unchanged")
        target.delete_study(there._study_id)
        outcome = "written anew"
    made = target.create_new_study(source.directions, source.name)
    target.set_study_system_attr(made, _MARK, {"origin": source.origin})  # unfinished, but ours
    for name, value in source.system_attrs.items():
        target.set_study_system_attr(made, name, value)
    for name, value in source.user_attrs.items():
        target.set_study_user_attr(made, name, value)
    for trial in source.trials:
        target.create_new_trial(made, template_trial=trial)
    target.set_study_system_attr(made, _MARK, source.mark)
    return Copied(source.name, len(source.trials), outcome)


def _check_ours(source: _Source, target: BaseStorage, there: FrozenStudy) -> None:
    """Raises UsageError unless the study in the target is a copy of `source`, left as it was."""
    mark = there.system_attrs.get(_MARK)
    hint = "Name another storage with --to, or remove that study with Optuna's own tools."
    if not isinstance(mark, dict) or mark.get("origin") != source.origin:
        whose = "a copy of another study" if isinstance(mark, dict) else "not from lambda_search"
        raise UsageError(
            f"There is a study '{source.name}' already that is {whose}; it stays as it is.", hint
        )
    if "digest" not in mark:  # a copy that was interrupted
        return
    own = {name: value for name, value in there.system_attrs.items() if name != _MARK}
    found = _digest(there.user_attrs, own, target.get_all_trials(there._study_id))
    if found != mark["digest"] and mark["digest"] != source.digest:
        raise UsageError(
            f"The copy of '{source.name}' was changed there since it was written (trials, "
            "attributes or a note were added), and the study has gone on; it stays as it is.",
            hint,
        )


def _copy_pictures(store: Store, sources: Sequence[_Source], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pictures, files = Pictures(store), FileSystemArtifactStore(folder)
    for source in sources:
        for name in source.artifacts:
            if not (folder / name).exists():
                files.write(name, pictures.open_reader(name))


def _kept(attributes: Mapping[str, Any], pictured: bool) -> dict[str, Any]:
    """System attributes without pictures that are not there."""
    return {
        name: value
        for name, value in attributes.items()
        if pictured or not name.startswith(PREFIX)
    }


def _digest(
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
    trials: Sequence[FrozenTrial],
) -> str:
    """Of all that a copy says, whatever storage it lies in."""
    told = [dict(user_attrs), dict(system_attrs), [_told(trial) for trial in trials]]
    # −0 is 0 once it was in a database
    plain = json.loads(json.dumps(told), parse_float=lambda digits: float(digits) + 0.0)
    return fingerprint(plain)


def _told(trial: FrozenTrial) -> list[Any]:
    times = trial.datetime_start, trial.datetime_complete
    return [
        trial.number,
        trial.state.name,
        trial.values,
        trial.params,
        {name: repr(one) for name, one in sorted(trial.distributions.items())},
        trial.user_attrs,
        trial._system_attrs,
        {str(step): value for step, value in trial.intermediate_values.items()},
        [None if time is None else time.isoformat(timespec="seconds") for time in times],
    ]


@contextmanager
def _in_words() -> Iterator[None]:
    """Says what a storage that fails says."""
    try:
        yield
    except LambdaSearchError:
        raise
    except (OptunaError, SQLAlchemyError, OSError, RuntimeError) as error:
        raise LambdaSearchError(
            f"The Optuna storage cannot be written: {first_line(error)}.",
            "Mend that and export again; a copy that is not whole is written anew.",
        ) from error
