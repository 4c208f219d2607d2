"""Measuring one schedule against λ = 1, without a search."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from typing import TypeAlias

import torch

from lambda_search.errors import Diverged
from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import check_count
from lambda_search.metrics.evidence import compare
from lambda_search.metrics.evidence import extras
from lambda_search.metrics.evidence import score
from lambda_search.metrics.extractors.own_network import extracted
from lambda_search.metrics.extractors.own_network import reads_states
from lambda_search.metrics.references.doubts import doubts
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import to_uint8
from lambda_search.records import Evidence
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Site
from lambda_search.work.context import resolve_measure
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.evaluator import Result
from lambda_search.work.own_making import Say
from lambda_search.work.own_making import make_here
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import confirm_start

__all__ = ["evaluate", "evaluate_on"]

_Line: TypeAlias = tuple[Measure, Score, Score, Comparison]
"""A measure, the scores by it at λ and at λ = 1, and their comparison."""


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
    say: Say | None = None,
) -> Evidence:
    """Samples n images at `schedule` and at λ = 1 in this process and compares their FIDs.

    Arguments:
        model, sampler, steps, schedule, guidance, site, options, seed: as in `sample`.
        n: images for each of the two, 8 or more.
        extractor, reference: names, as in a study file.
        also: further (extractor, reference) to measure the same images with.
        first: first sample index; from 10⁶ on, where searches never look, unless given.
        say: is told when a reference of the model's own samples has to be made first.

    Warns:
        UserWarning: of a reference of few images, or of others than the model makes.

    Raises:
        UsageError: for an extractor or a reference that cannot be used, before any sampling.
        LambdaSearchError: for too few images, or images or features that are NaN.
    """
    check_count(n)
    asked = sampling_of(sampler, steps, guidance, site, options)
    used = [
        resolve_measure(*pair, model.device, model, asked)
        for pair in ((extractor, reference), *also)
    ]
    shape = model.image_shape()
    for doubt in dict.fromkeys(doubt for _, _, one in used for doubt in doubts(one, shape)):
        warnings.warn(doubt, stacklevel=2)
    extractors = {measure.extractor_fingerprint: extract for measure, extract, _ in used}
    make_here(model, [measure for measure, _, _ in used], extractors, say)
    targets = [(one.frechet(model.device), one.kernel(model.device)) for _, _, one in used]
    of_states = any(reads_states(one) for one in extractors.values())
    of_images = not all(reads_states(one) for one in extractors.values())
    if of_images:
        model.check_decoder()
    batch = model.resolve(asked).options.batch
    start = confirm_start(batch) if first is None else first

    def features(candidate: LambdaSchedule) -> dict[str, torch.Tensor]:
        parts: dict[str, list[torch.Tensor]] = {name: [] for name in extractors}
        for begin in range(start, start + n, batch):
            indices = range(begin, min(begin + batch, start + n))
            states = sample(
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
                decode=not of_states,
            )
            images = states
            if of_images:
                images = to_uint8(model.decode(states) if of_states else states)
            for name, extract in extractors.items():
                parts[name].append(extracted(extract, states, images))
        return {name: torch.cat(part) for name, part in parts.items()}

    at_lambda, at_one = features(schedule), features(LambdaSchedule())
    lines: list[_Line] = []
    for (measure, _, _), (frechet, kernel) in zip(used, targets, strict=True):
        found, baseline = (
            one[measure.extractor_fingerprint].numpy() for one in (at_lambda, at_one)
        )
        here, there = (
            replace(score(one, frechet), extras=extras(one, frechet, kernel))
            for one in (found, baseline)
        )
        lines.append((measure, here, there, compare(here, there, found, baseline)))
    return _evidence(schedule, lines)


def evaluate_on(evaluator: Evaluator, schedule: LambdaSchedule, n: int) -> Evidence:
    """The same by a study's recipe, on a pool of workers."""
    check_count(n)
    evaluator.prepare()
    recipe, schedules = evaluator.recipe, [LambdaSchedule(), schedule]
    first = confirm_start(recipe.batch)
    each: list[tuple[Result, ...]] = []
    for result in evaluator.results(schedules, first, n, whole=True):
        if isinstance(result, Diverged):
            raise result
        each.append((result, *result.also))
    lines = [
        (measure, found.score, baseline.score, found.against)
        for measure, baseline, found in zip(recipe.measures, *each, strict=True)
    ]
    return _evidence(schedule, lines)


def _evidence(schedule: LambdaSchedule, lines: Sequence[_Line]) -> Evidence:
    """Evidence of the distance that ranks, with the others beside it."""
    ranking, *others = (
        Evidence(
            schedule,
            measure.extractor_label,
            measure.reference_label,
            found.n,
            found.fid,
            found.interval(),
            baseline.fid,
            baseline.interval(),
            found.corrected,
            baseline.corrected,
            against.gain,
            against.interval(),
            against.raw_gain,
            against.correlation,
            found.extras,
            baseline.extras,
        )
        for measure, found, baseline, against in lines
    )
    return replace(ranking, also=tuple(others))
