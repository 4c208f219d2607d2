"""From results to the records that keep them."""

from __future__ import annotations

import getpass
import platform
import socket
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
from typing import Any

from lambda_search.metrics.evidence import Score
from lambda_search.records import Candidate
from lambda_search.records import Evaluation
from lambda_search.records import Figures
from lambda_search.records import Identity
from lambda_search.records import Origin
from lambda_search.records import OtherCandidate
from lambda_search.records import OtherMeasure
from lambda_search.records import Phase
from lambda_search.records import Provenance
from lambda_search.records import Row
from lambda_search.records import Terms
from lambda_search.records import Trial
from lambda_search.records import Worth
from lambda_search.search.confirm import Confirmation
from lambda_search.search.plan import Plan
from lambda_search.work.evaluator import Result

__all__ = ["as_evaluation", "as_row"]

_DISTRIBUTION = "lambda-search"


def as_evaluation(
    trial: Trial,
    phase: Phase,
    first: int,
    result: Result,
    name: str,
    terms: Terms | None = None,
) -> Evaluation:
    """What is kept of one scored schedule."""
    score, against = result.score, result.against
    return Evaluation(
        trial=trial.number,
        phase=phase,
        first=first,
        n=score.n,
        fid=score.fid,
        corrected=score.corrected,
        standard_error=score.standard_error,
        gain=against.gain,
        raw_gain=against.raw_gain,
        gain_standard_error=against.standard_error,
        correlation=against.correlation,
        fingerprint=name,
        picture=result.picture,
        terms=terms,
    )


def as_row(
    outcome: Confirmation,
    baseline: Result,
    candidates: Sequence[tuple[Trial, Result]],
    plan: Plan,
    first: int,
    identity: Identity,
    preview: str,
    cautions: Sequence[str] = (),
    worth: Worth | None = None,
) -> Row:
    """The entry of the lookup table that a confirmation makes.

    Arguments:
        outcome: what was settled.
        baseline: λ = 1, on every measure.
        candidates: what was compared with it.
        plan: the study.
        first: index of the first image.
        identity: what the numbers depend on besides the setting.
        preview: name of the pictures kept for people.
        cautions: what makes the row weaker than its numbers look.
        worth: what k is worth, if that was asked.
    """
    at_one, model = baseline.score, plan.named or plan.spec.model
    return Row(
        schedule=outcome.schedule,
        lambdas=tuple(outcome.schedule.values(plan.space.steps)),
        setting=plan.setting,
        status=outcome.status,
        verdict=outcome.verdict + _meant(plan),
        n=at_one.n,
        fid=outcome.score.fid,
        fid_interval=outcome.score.interval(),
        baseline_fid=at_one.fid,
        baseline_interval=at_one.interval(),
        gain=outcome.gain,
        gain_interval=outcome.interval,
        provenance=Provenance(
            study=plan.spec.name,
            framework=plan.recipe.framework,
            checkpoint=model.checkpoint,
            config=model.config,
            extractor=plan.setting.extractor,
            reference=plan.setting.reference,
            seed=plan.recipe.seed,
            rungs=plan.rungs,
            confirm_indices=(first, first + at_one.n),
            looks=outcome.looks,
            baseline=_figures(at_one),
            candidates=tuple(_candidate(*one) for one in candidates),
            trial=outcome.best.trial,
            worth=worth,
            also=_other_measures(baseline, candidates, plan),
            identity=identity,
            versions=_versions(),
            preview=preview,
            cautions=tuple(cautions),
        ),
        origin=_origin(),
        created=datetime.now(UTC),
        levels=plan.levels,
    )


def _meant(plan: Plan) -> str:
    """What the distance means, where it is not to real images in the field's eyes."""
    ranking, said = plan.recipe.measures[0], ""
    if ranking.network is not None:
        said += f"; its features are {ranking.network.summary}"
    if ranking.own is not None:
        said += (
            "; the distance measures agreement with the model's own samples of "
            f"{ranking.own.steps} steps ({ranking.own.n:,} of them), not quality"
        )
    return said


def _figures(score: Score) -> Figures:
    extras = score.extras
    return Figures(
        score.fid,
        score.corrected,
        None if extras is None else extras.fid_at_infinity,
        None if extras is None else extras.kid,
    )


def _candidate(trial: Trial, result: Result) -> Candidate:
    return Candidate(b=trial.schedule.b, k=trial.schedule.k, **_compared(trial, result))


def _compared(trial: Trial, result: Result) -> dict[str, Any]:
    """What both kinds of candidates say of a trial."""
    against = result.against
    return asdict(_figures(result.score)) | {
        "trial": trial.number,
        "gain": against.gain,
        "raw_gain": against.raw_gain,
        "gain_standard_error": against.standard_error,
        "correlation": against.correlation,
    }


def _other_measures(
    baseline: Result, candidates: Sequence[tuple[Trial, Result]], plan: Plan
) -> tuple[OtherMeasure, ...]:
    return tuple(
        OtherMeasure(
            extractor=measure.extractor_label,
            reference=measure.reference_label,
            baseline=_figures(at_one.score),
            candidates=tuple(
                OtherCandidate(**_compared(trial, result.also[place]))
                for trial, result in candidates
            ),
        )
        for place, (measure, at_one) in enumerate(
            zip(plan.recipe.measures[1:], baseline.also, strict=True)
        )
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (_DISTRIBUTION, "torch", "diffusers", "numpy", "optuna"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _origin() -> Origin:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = ""
    return Origin(f"{user}@{socket.gethostname()}", f"{_DISTRIBUTION} {version(_DISTRIBUTION)}")
