"""Measuring one schedule against λ = 1, without a search."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lambda_search.diffusion.samplers import Site
from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Interval
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import compare
from lambda_search.metrics.evidence import score
from lambda_search.metrics.features import load_extractor
from lambda_search.metrics.reference import load_reference
from lambda_search.models.base import Model
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import sampler_options
from lambda_search.models.sampling import to_uint8
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.evaluator import Evaluator
from lambda_search.search.plan import Plan
from lambda_search.search.plan import confirm_start
from lambda_search.store.paths import references_folder

__all__ = ["Evidence", "evaluate", "evaluate_plan", "scores_of"]


@dataclass(frozen=True)
class Evidence:
    """What makes a schedule believable.

    Arguments:
        schedule: λ(i) = b + k·i.
        n: images behind each FID.
        fid, fid_interval: at λ, as the field reports it, with its 95 % sampling interval.
        baseline_fid, baseline_interval: the same at λ = 1, on the same indices and noise.
        gain, gain_interval: bias-corrected FID(1) − FID(λ), with its paired 95 % interval.
        correlation: of the paired features, −1 to 1.
    """

    schedule: LambdaSchedule
    n: int
    fid: float
    fid_interval: Interval
    baseline_fid: float
    baseline_interval: Interval
    gain: float
    gain_interval: Interval
    correlation: float

    @classmethod
    def of(
        cls, schedule: LambdaSchedule, found: Score, baseline: Score, against: Comparison
    ) -> Evidence:
        """Evidence from two scores and their comparison."""
        return cls(
            schedule,
            found.n,
            found.fid,
            found.interval(),
            baseline.fid,
            baseline.interval(),
            against.gain,
            against.interval(),
            against.correlation,
        )

    def __str__(self) -> str:
        return (
            f"FID {self.fid:.2f} ± {self.fid_interval.half_width:.2f} "
            f"(λ = 1: {self.baseline_fid:.2f} ± {self.baseline_interval.half_width:.2f}; "
            f"gain {self.gain:.2f} ± {self.gain_interval.half_width:.2f}, N = {self.n:,})"
        )


def evaluate(
    model: Model,
    sampler: str,
    steps: int,
    schedule: LambdaSchedule,
    *,
    n: int,
    extractor: str,
    reference: str,
    seed: int = 0,
    first: int | None = None,
    guidance: float | None = None,
    site: Site = "full",
    options: Mapping[str, Any] | None = None,
) -> Evidence:
    """Samples n images at `schedule` and at λ = 1 in this process and compares their FIDs.

    Arguments:
        model, sampler, steps, schedule, guidance, site, options, seed: as in `sample`.
        n: images for each of the two.
        extractor, reference: names, as in a study file.
        first: first sample index; from 10⁶ on, where searches never look, unless given.
    """
    extract = load_extractor(extractor, model.device)
    frechet = load_reference(reference, extract, cache=references_folder()).frechet()
    batch = model.resolve(sampler, steps, sampler_options(options)).batch
    start = confirm_start(batch) if first is None else first

    def features(candidate: LambdaSchedule) -> torch.Tensor:
        parts = []
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
            parts.append(extract(to_uint8(images)))
        return torch.cat(parts)

    at_lambda, at_one = features(schedule), features(LambdaSchedule())
    found, baseline = score(at_lambda, frechet), score(at_one, frechet)
    return Evidence.of(schedule, found, baseline, compare(found, baseline, at_lambda, at_one))


def evaluate_plan(plan: Plan, schedule: LambdaSchedule, n: int, evaluator: Evaluator) -> Evidence:
    """The same for a study's setting, on a pool of workers."""
    first = confirm_start(plan.batch)
    (baseline, _), (found, against) = scores_of(evaluator, [LambdaSchedule(), schedule], first, n)
    return Evidence.of(schedule, found, baseline, against)


def scores_of(
    evaluator: Evaluator, schedules: Sequence[LambdaSchedule], first: int, n: int
) -> list[tuple[Score, Comparison]]:
    """Scores of `schedules` on n images from index `first` on, each compared with λ = 1."""
    baseline, *scored = evaluator.scores([LambdaSchedule(), *schedules], first, n)
    return [
        (one.score, compare(one.score, baseline.score, one.features, baseline.features))
        for one in scored
    ]
