"""From scores to the rows that keep them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.search.confirm import Confirmation
from lambda_search.search.confirm import Contender
from lambda_search.search.plan import Plan
from lambda_search.store.tables import Evaluation
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import Study
from lambda_search.store.tables import Trial

__all__ = ["as_evaluation", "as_row"]


def as_evaluation(
    trial: Trial, phase: str, first: int, score: Score, against: Comparison, name: str
) -> Evaluation:
    """What is kept of one scored schedule."""
    return Evaluation(
        study_id=trial.study_id,
        fingerprint=name,
        trial=trial.number,
        phase=phase,
        first_index=first,
        n=score.n,
        fid=score.fid,
        corrected=score.corrected,
        standard_error=score.standard_error,
        gain=against.gain,
        raw_gain=against.raw_gain,
        gain_standard_error=against.standard_error,
        correlation=against.correlation,
    )


def as_row(
    outcome: Confirmation,
    baseline: Score,
    contenders: Sequence[Contender],
    plan: Plan,
    study: Study,
    first: int,
    identity: Mapping[str, object],
    preview: str,
) -> ScheduleRow:
    """The entry of the lookup table that a confirmation makes."""
    fid, at_one = outcome.score.interval(), baseline.interval()
    return ScheduleRow(
        setting_id=study.setting_id,
        study_id=study.id,
        trial=outcome.trial,
        b=outcome.schedule.b,
        k=outcome.schedule.k,
        lambdas=list(outcome.schedule.values(plan.space.steps)),
        status=outcome.status,
        verdict=outcome.verdict,
        n=baseline.n,
        fid=outcome.score.fid,
        fid_low=fid.low,
        fid_high=fid.high,
        baseline_fid=baseline.fid,
        baseline_low=at_one.low,
        baseline_high=at_one.high,
        gain=outcome.gain,
        gain_low=outcome.interval.low,
        gain_high=outcome.interval.high,
        gain_level=outcome.interval.level,
        provenance=_provenance(contenders, plan, first, identity) | {"preview": preview},
    )


def _provenance(
    contenders: Sequence[Contender], plan: Plan, first: int, identity: Mapping[str, object]
) -> dict[str, Any]:
    return {
        "study": plan.spec.name,
        "framework": plan.recipe.framework,
        "checkpoint": plan.spec.model.checkpoint,
        "config": plan.spec.model.config,
        "seed": plan.recipe.seed,
        "search_images": list(plan.spec.metric.rungs),
        "confirm_indices": [first, first + plan.spec.confirm.samples],
        "candidates": [
            {
                "trial": c.trial,
                "b": c.schedule.b,
                "k": c.schedule.k,
                "fid": c.score.fid,
                "corrected": c.score.corrected,
                "gain": c.against_baseline.gain,
                "gain_standard_error": c.against_baseline.standard_error,
                "correlation": c.against_baseline.correlation,
            }
            for c in contenders
        ],
        "identity": dict(identity),
        "versions": {
            "python": platform.python_version(),
            **{
                name: version(name)
                for name in ("lambda-search", "torch", "diffusers", "numpy", "optuna")
            },
        },
    }
