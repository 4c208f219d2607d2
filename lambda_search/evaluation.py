"""Measuring one schedule against λ = 1, without a search."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import check_count
from lambda_search.metrics.evidence import extras
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import to_uint8
from lambda_search.records import Evidence
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.plan import Plan
from lambda_search.search.plan import confirm_start
from lambda_search.search.plan import resolve_measure
from lambda_search.setting import Site
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.evaluator import Scored
from lambda_search.work.tasks import Measure

__all__ = ["evaluate", "evaluate_plan", "scores_of"]


def evaluate(
    model: Model,
    sampler: str,
    steps: int,
    schedule: LambdaSchedule,
    *,
    n: int,
    extractor: str,
    reference: str,
    also: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    first: int | None = None,
    guidance: float | None = None,
    site: Site = "full",
    options: Mapping[str, Any] | None = None,
) -> Evidence:
    """Samples n images at `schedule` and at λ = 1 in this process and compares their FIDs.

    Arguments:
        model, sampler, steps, schedule, guidance, site, options, seed: as in `sample`.
        n: images for each of the two, 8 or more.
        extractor, reference: names, as in a study file.
        also: further (extractor, reference) to measure the same images with.
        first: first sample index; from 10⁶ on, where searches never look, unless given.

    Raises:
        UsageError: for an extractor or a reference that cannot be used, before any sampling.
        LambdaSearchError: for too few images, or images or features that are NaN.
    """
    check_count(n)
    used = [resolve_measure(*pair, model.device) for pair in ((extractor, reference), *also)]
    targets = [(one.frechet(model.device), one.kernel(model.device)) for _, _, one in used]
    extractors = {measure.extractor_fingerprint: extract for measure, extract, _ in used}
    asked = sampling_of(sampler, steps, guidance, site, options)
    batch = model.resolve(asked).options.batch
    start = confirm_start(batch) if first is None else first

    def scored(candidate: LambdaSchedule) -> Scored:
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in extractors}
        for begin in range(start, start + n, batch):
            indices = range(begin, min(begin + batch, start + n))
            images = sample(
                model,
                sampler,
                steps,
                candidate,
                indices,
                seed,
                None,
                guidance,
                site,
                options=options,
            )
            quantised = to_uint8(images)
            for name, extract in extractors.items():
                parts[name].append(extract(quantised))
        features = {name: torch.cat(part) for name, part in parts.items()}
        ranking, *others = (
            _scored(features[measure.extractor_fingerprint], *target)
            for (measure, _, _), target in zip(used, targets, strict=True)
        )
        return replace(ranking, also=tuple(others))

    found, baseline = scored(schedule), scored(LambdaSchedule())
    return evidence_of(schedule, [measure for measure, _, _ in used], found, baseline)


def _scored(
    features: torch.Tensor, frechet: FrechetReference, kernel: KernelReference | None
) -> Scored:
    found = replace(score(features, frechet), extras=extras(features, frechet, kernel))
    return Scored(found, features.numpy())


def evaluate_plan(plan: Plan, schedule: LambdaSchedule, n: int, evaluator: Evaluator) -> Evidence:
    """The same for a study's setting, on a pool of workers."""
    check_count(n)
    evaluator.prepare()
    schedules = [schedule, LambdaSchedule()]
    found, baseline = evaluator.scores(schedules, confirm_start(plan.batch), n, whole=True)
    return evidence_of(schedule, plan.recipe.measures, found, baseline)


def scores_of(
    evaluator: Evaluator, schedules: Sequence[LambdaSchedule], first: int, n: int
) -> list[tuple[Score, Comparison]]:
    """Scores of `schedules` on n images from index `first` on, each compared with λ = 1."""
    baseline, *scored = evaluator.scores([LambdaSchedule(), *schedules], first, n)
    return [(one.score, one.against(baseline)) for one in scored]


def evidence_of(
    schedule: LambdaSchedule, measures: Sequence[Measure], found: Scored, baseline: Scored
) -> Evidence:
    """Evidence from two scores by the same measures."""
    against = found.against(baseline)
    return Evidence(
        schedule,
        measures[0].extractor_label,
        measures[0].reference_label,
        found.score.n,
        found.score.fid,
        found.score.interval(),
        baseline.score.fid,
        baseline.score.interval(),
        found.score.corrected,
        baseline.score.corrected,
        against.gain,
        against.interval(),
        against.raw_gain,
        against.correlation,
        found.score.extras,
        baseline.score.extras,
        tuple(
            evidence_of(schedule, [measure], one, other)
            for measure, one, other in zip(measures[1:], found.also, baseline.also, strict=True)
        ),
    )
