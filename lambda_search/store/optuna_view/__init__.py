"""The studies of a store as Optuna sees studies: to be read, and not written.

Optuna's dashboard, its plots and `optuna.load_study` read them. Nothing is copied, so nothing can
fall behind, and Optuna's own tables, if the database has some, are left alone.

A trial's value is FID(λ) − FID(1), bias-corrected, on its own number of images (lower is better);
its intermediate values are the same by rung, or of all its rounds so far. Trials that were stopped
early are PRUNED, diverged ones FAIL; open ones are RUNNING while their study is driven, and
WAITING while it is not.

Who wants studies that can be changed copies them (`copying`).
"""

from __future__ import annotations

from lambda_search.store.optuna_view.read_only import ReadOnly
from lambda_search.store.optuna_view.storage import OptunaView
from lambda_search.store.optuna_view.storage import optuna_storage
from lambda_search.store.optuna_view.words import METRIC_NAME

__all__ = ["METRIC_NAME", "OptunaView", "ReadOnly", "optuna_storage"]
