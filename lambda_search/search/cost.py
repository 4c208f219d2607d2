"""What studies cost before they are run: images, network evaluations, time, disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.files import close_to_others
from lambda_search.files import private_folder
from lambda_search.machine import cores
from lambda_search.models.base import Model
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import default_labels
from lambda_search.records import network_evaluations
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.missing import Missing
from lambda_search.search.missing import look_at
from lambda_search.search.missing import outline
from lambda_search.search.plan import MissingWeights
from lambda_search.search.plan import Plan
from lambda_search.search.plan import model_of
from lambda_search.search.plan import with_models
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec

__all__ = ["check_disk", "describe", "outlines"]


def check_disk(plans: Sequence[Plan], folder: Path) -> None:
    """Raises LambdaSearchError if the features of `plans` have no room in `folder`."""
    needed = sum(plan.most_feature_bytes() for plan in plans) + 64 * 2**20
    try:
        close_to_others(private_folder(folder))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise LambdaSearchError(
            f"The data folder {folder} cannot be used: {error.strerror}.",
            "Choose another place with LAMBDA_SEARCH_HOME.",
        ) from error
    if free < needed:
        raise LambdaSearchError(
            f"The studies need {needed / 2**20:,.0f} MB in {folder}, and {free / 2**20:,.0f} MB "
            "are free.",
            "Free some space, or move the data folder with LAMBDA_SEARCH_HOME.",
        )


def outlines(specs: Sequence[StudySpec]) -> Iterator[tuple[Plan, list[Missing]]]:
    """Each study's plan, with what is missing; what several studies share is looked at once."""
    look = cache(look_at)
    for spec, model in with_models(specs, _model):
        looked = [look(measure) for measure in spec.metric.measures]
        missing = [item for one in looked for item in one.missing]
        if isinstance(model, Missing):
            yield outline(spec, None, looked), [model, *missing]
        else:
            yield outline(spec, model, looked), missing


def _model(spec: ModelSpec) -> Model | Missing:
    try:
        return model_of(spec)
    except MissingWeights as error:
        return Missing.of("weights", error)


def describe(plan: Plan, missing: list[Missing], workers: int | None) -> dict[str, Any]:
    """A plan and its cost in words and numbers, for people and JSON."""
    spec, setting = plan.spec, plan.setting
    images = plan.most_images()
    evaluations = images * network_evaluations(setting.solver, plan.space.steps)
    helpful = spec.search.parallel * plan.shards(plan.rungs[-1])
    without_weights = any(item.what == "weights" for item in missing)
    low, high = (
        LambdaSchedule.from_mean(mean, slope, plan.space.steps)
        for mean, slope in zip(plan.space.mean, plan.space.slope, strict=True)
    )
    return {
        "study": spec.name,
        "model": f"{setting.model} ({setting.framework}, weights {setting.weights[:12]})",
        "sampler": _sampler(plan)
        + (", the rest as its authors have it" if without_weights else ""),
        "metric": f"{setting.metric}, {setting.extractor}, {setting.reference}",
        "reference": "; ".join(plan.reference_notes) or None,
        "also": ", ".join(m.extractor_label for m in plan.recipe.measures[1:]) or None,
        "mean": f"{plan.space.mean[0]:g} to {plan.space.mean[1]:g}",
        "slope": f"{plan.space.slope[0]:.4g} to {plan.space.slope[1]:.4g}"
        f"  (λ(i) from {low} to {high})",
        "trials": spec.search.trials,
        "rungs": ", ".join(f"{n:,}" for n in plan.rungs) + _assumed(plan),
        "confirmation": f"{spec.confirm.top} candidates and λ = 1, "
        f"{spec.confirm.samples:,} images each",
        "images": images,
        "network_evaluations": evaluations,
        "workers_that_help": f"at most {helpful:,}",
        "estimate": None if without_weights else _estimate(plan, evaluations, helpful, workers),
        "cautions": list(plan.cautions()),
        "missing": [asdict(item) for item in missing],
    }


def _assumed(plan: Plan) -> str:
    """What rungs stand on that follow from a width which only running the extractor tells."""
    known = plan.spec.metric.rungs or plan.recipe.measures[0].width
    return "" if known else " (for features as wide as Inception's; a launch knows their width)"


def _sampler(plan: Plan) -> str:
    setting = plan.setting
    options = {"guidance": setting.guidance} | setting.options.model_dump()
    words = [f"{name} {value}" for name, value in options.items() if value is not None]
    return ", ".join([setting.solver, f"{plan.space.steps} steps", *words])


def _estimate(plan: Plan, evaluations: int, helpful: int, workers: int | None) -> str:
    count = workers or (torch.cuda.device_count() or cores())
    useful = min(count, helpful)
    rate = _forwards_per_second(plan)
    return (
        f"{_duration(evaluations / (rate * useful))} on {useful} workers "
        f"({rate:,.0f} network evaluations/s each, measured here on the CPU)"
    )


def _forwards_per_second(plan: Plan) -> float:
    """Network evaluations per second on one thread of this machine's CPU, by trying one batch."""
    recipe, sampling = plan.recipe, plan.recipe.sampling
    model = load_model(recipe.framework, recipe.checkpoint, recipe.config)
    noisiest = model.grid(sampling).level(plan.space.steps - 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.zeros(recipe.batch, *model.shape, dtype=model.dtype)
    labels = default_labels(model, range(len(x)))
    few = None if labels is None else labels[:2]
    options = sampling.options.model_copy(update={"kernels": None})  # not to be compiled here
    with torch.inference_mode(), model.running(options):
        model.predict(x[:2], noisiest, few, sampling)
        start = time.perf_counter()
        model.predict(x, noisiest, labels, sampling)
        seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    return len(x) / seconds


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
