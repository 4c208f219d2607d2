"""From scores to the rows that keep them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from lambda_search.search.confirm import Confirmation
from lambda_search.search.confirm import Contender
from lambda_search.search.plan import Plan
from lambda_search.store.tables import Evaluation
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import Study
from lambda_search.store.tables import Trial
from lambda_search.work.evaluator import Result

__all__ = ["as_evaluation", "as_row"]


def as_evaluation(trial: Trial, phase: str, first: int, result: Result, name: str) -> Evaluation:
    """What is kept of one scored schedule."""
    score, against = result.score, result.against
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
    scored: Sequence[Result],
    contenders: Sequence[Contender],
    plan: Plan,
    study: Study,
    first: int,
    identity: Mapping[str, object],
    preview: str,
) -> ScheduleRow:
    """The entry of the lookup table that a confirmation makes.

    Arguments:
        outcome: what was settled.
        scored: λ = 1, then each of `contenders`, on every measure.
        contenders, plan, study: what was confirmed.
        first: index of the first image.
        identity: what the numbers depend on besides the setting.
        preview: name of the images kept for people.
    """
    baseline = scored[0].score
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
        provenance=_provenance(scored, contenders, plan, first, identity) | {"preview": preview},
    )


def _provenance(
    scored: Sequence[Result],
    contenders: Sequence[Contender],
    plan: Plan,
    first: int,
    identity: Mapping[str, object],
) -> dict[str, Any]:
    baseline, *candidates = scored
    return {
        "study": plan.spec.name,
        "framework": plan.recipe.framework,
        "checkpoint": plan.spec.model.checkpoint,
        "config": plan.spec.model.config,
        "seed": plan.recipe.seed,
        "search_images": list(plan.spec.metric.rungs),
        "confirm_indices": [first, first + plan.spec.confirm.samples],
        "baseline": _figures(baseline),
        "candidates": [
            {"trial": c.trial, "b": c.schedule.b, "k": c.schedule.k} | _figures(one, True)
            for c, one in zip(contenders, candidates, strict=True)
        ],
        "also": [
            {
                "extractor": measure.extractor_label,
                "reference": measure.reference_label,
                "baseline": _figures(at_one),
                "candidates": [
                    {"trial": c.trial} | _figures(one.also[place], True)
                    for c, one in zip(contenders, candidates, strict=True)
                ],
            }
            for place, (measure, at_one) in enumerate(
                zip(plan.recipe.measures[1:], baseline.also, strict=True)
            )
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


def _figures(found: Result, compared: bool = False) -> dict[str, Any]:
    """A score in numbers; against λ = 1 where that is wanted."""
    score = found.score
    figures: dict[str, Any] = {"fid": score.fid, "corrected": score.corrected}
    if score.extras is not None:
        figures |= asdict(score.extras)
    if compared:
        against = found.against
        figures |= {
            "gain": against.gain,
            "raw_gain": against.raw_gain,
            "gain_standard_error": against.standard_error,
            "correlation": against.correlation,
        }
    return figures
