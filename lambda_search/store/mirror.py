"""A mirror of the trials in Optuna's own tables, for its dashboard; `ls_` is the record."""

from __future__ import annotations

import warnings
from collections import defaultdict
from itertools import takewhile

import optuna
from optuna.distributions import BaseDistribution
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from lambda_search.spec import StudySpec
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.store.tables import Trial

__all__ = ["mirror"]

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", message=r".*set_metric_names is experimental")

METRIC_NAME = "FID(λ) − FID(1), bias-corrected"


def mirror(store: Store, name: str) -> int:
    """Adds the closed trials of study `name` that Optuna's tables lack; returns how many.

    Trials go in order, so that both count them alike.

    A trial's value is FID(λ) − FID(1) on its own number of images, lower is better; its
    intermediate values are the same by rung.
    """
    study = store.study(name)
    spec = parse_specs(study.spec)[0]
    mirrored = optuna.create_study(
        study_name=name, storage=RDBStorage(store.url), direction="minimize", load_if_exists=True
    )
    mirrored.set_metric_names([METRIC_NAME])
    there = {trial.user_attrs.get("number") for trial in mirrored.get_trials(deepcopy=False)}
    rungs: dict[int, dict[int, float]] = defaultdict(dict)
    for evaluation in store.evaluations(study.id):
        if evaluation.phase == "search":
            rungs[evaluation.trial][evaluation.n] = -evaluation.gain
    missing = [
        _frozen(trial, rungs[trial.number], spec)
        for trial in takewhile(lambda trial: trial.finished is not None, store.trials(study.id))
        if trial.number not in there
    ]
    mirrored.add_trials(missing)
    return len(missing)


def _frozen(trial: Trial, by_rung: dict[int, float], spec: StudySpec) -> FrozenTrial:
    ranges = {"mean": (spec.search.mean, trial.mean), "slope": (spec.slope_range(), trial.slope)}
    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(limits[0], value), max(limits[1], value))
        for name, (limits, value) in ranges.items()
    }
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        value=-(trial.gain or 0.0),
        params={"mean": trial.mean, "slope": trial.slope},
        distributions=distributions,
        user_attrs={
            "number": trial.number,
            "b": trial.b,
            "k": trial.k,
            "n": trial.n,
            "fid": trial.fid,
            "state": trial.state,
        },
        intermediate_values=by_rung,
    )
