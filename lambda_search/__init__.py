"""lambda_search: finds, proves and serves the best Epsilon Scaling schedule λ(t) = b + k·t.

Importing it is light: torch, ray and optuna are loaded by the functions that need them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    __version__: str

    from lambda_search.errors import EpsilonScalingWarning
    from lambda_search.errors import LambdaSearchError
    from lambda_search.errors import NoScheduleFound
    from lambda_search.errors import UsageError
    from lambda_search.exchange import export_rows
    from lambda_search.exchange import import_rows
    from lambda_search.integrations.diffusers import scale_epsilon
    from lambda_search.launching import launch
    from lambda_search.metrics.frechet import frechet_distance
    from lambda_search.metrics.moments import Moments
    from lambda_search.models.registry import load_model
    from lambda_search.models.sampling import sample
    from lambda_search.proving import confirm
    from lambda_search.records import Diagnosis
    from lambda_search.records import Evidence
    from lambda_search.records import Match
    from lambda_search.records import Row
    from lambda_search.schedule import LambdaSchedule
    from lambda_search.search.diagnosing import diagnose
    from lambda_search.store.lookup import best
    from lambda_search.store.lookup import nearest
    from lambda_search.store.lookup import row
    from lambda_search.store.optuna_view import optuna_storage
    from lambda_search.studies import submit
    from lambda_search.work.evaluate import evaluate

__all__ = [
    "Diagnosis",
    "EpsilonScalingWarning",
    "Evidence",
    "LambdaSchedule",
    "LambdaSearchError",
    "Match",
    "Moments",
    "NoScheduleFound",
    "Row",
    "UsageError",
    "__version__",
    "best",
    "confirm",
    "diagnose",
    "evaluate",
    "export_rows",
    "frechet_distance",
    "import_rows",
    "launch",
    "load_model",
    "nearest",
    "optuna_storage",
    "row",
    "sample",
    "scale_epsilon",
    "submit",
]

_HOMES = {
    "Diagnosis": "records",
    "EpsilonScalingWarning": "errors",
    "Evidence": "records",
    "LambdaSchedule": "schedule",
    "LambdaSearchError": "errors",
    "Match": "records",
    "Moments": "metrics.moments",
    "NoScheduleFound": "errors",
    "Row": "records",
    "UsageError": "errors",
    "best": "store.lookup",
    "confirm": "proving",
    "diagnose": "search.diagnosing",
    "evaluate": "work.evaluate",
    "export_rows": "exchange",
    "frechet_distance": "metrics.frechet",
    "import_rows": "exchange",
    "launch": "launching",
    "load_model": "models.registry",
    "nearest": "store.lookup",
    "optuna_storage": "store.optuna_view",
    "row": "store.lookup",
    "sample": "models.sampling",
    "scale_epsilon": "integrations.diffusers",
    "submit": "studies",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("lambda-search")
    if name not in _HOMES:
        raise AttributeError(f"module 'lambda_search' has no attribute {name!r}")
    value = getattr(import_module(f"lambda_search.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
