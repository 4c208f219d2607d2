"""What studies cost before they are run: images, network evaluations, time, disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.files import close_to_others
from lambda_search.files import private_folder
from lambda_search.machine import cores
from lambda_search.models.base import Model
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import default_labels
from lambda_search.paths import features_url
from lambda_search.paths import folder_of
from lambda_search.paths import home
from lambda_search.records import network_evaluations
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.missing import Missing
from lambda_search.search.missing import look_at
from lambda_search.search.missing import outline
from lambda_search.search.plan import Plan
from lambda_search.search.weights import MissingWeights
from lambda_search.search.weights import model_of
from lambda_search.search.weights import with_models
from lambda_search.setting import own_network
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec
from lambda_search.work.own import unmade
from lambda_search.work.recipe import OwnSamples
from lambda_search.work.storage import storage_at

__all__ = ["check_disk", "check_proof_disk", "describe", "outlines"]


def check_disk(plans: Sequence[Plan], features: str | None = None) -> None:
    """Raises LambdaSearchError if the features of `plans` have no room where they are kept.

    Arguments:
        plans: of all studies together.
        features: where; see `features_url`.
    """
    _check_room(sum(plan.most_feature_bytes() for plan in plans), features)


def check_proof_disk(plan: Plan, features: str | None = None) -> None:
    """The same for the features of one more proof of a study that is done."""
    widths = sum(measure.width for measure in plan.recipe.measures)
    _check_room(4 * widths * (plan.confirm_images() + plan.own_images()), features)


def _check_room(size: int, features: str | None) -> None:
    """Raises LambdaSearchError if so many bytes have no room; an object store always has."""
    place, needed = features_url(features), size + 64 * 2**20
    storage_at(place)  # an address that cannot be one is told now
    try:
        close_to_others(private_folder(home()))
    except OSError as error:
        raise LambdaSearchError(
            f"The data folder {home()} cannot be used: {error.strerror}.",
            "Choose another place with LAMBDA_SEARCH_HOME.",
        ) from error
    folder = folder_of(place)
    if folder is None:
        return
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise LambdaSearchError(
            f"The features need {needed / 2**20:,.0f} MB in {folder}, and {free / 2**20:,.0f} MB "
            "are free.",
            "Free some space, or name another place with --features or LAMBDA_SEARCH_FEATURES.",
        )


def outlines(specs: Sequence[StudySpec]) -> Iterator[tuple[Plan, list[Missing]]]:
    """Each study's plan, with what is missing; what several studies share is looked at once."""
    look = cache(look_at)
    for spec, model in with_models(specs, _model):
        there = None if isinstance(model, Missing) else model
        looked = [
            look(one) if own_network(one.extractor) is None else look_at(one, there)
            for one in spec.metric.measures
        ]
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
    own = unmade(plan.recipe.measures)
    evaluations = (images - plan.own_images()) * network_evaluations(
        setting.solver, plan.space.steps
    ) + sum(one.n * network_evaluations(setting.solver, one.steps) for one in own)
    helpful = plan.widest_shards()
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
        **_ways(plan),
        "confirmation": _confirmation(plan),
        "own_samples": _own(plan, own),
        "images": images,
        "expected_images": _expected(plan),
        "network_evaluations": evaluations,
        "workers_that_help": f"at most {helpful:,}",
        "estimate": None if without_weights else _estimate(plan, evaluations, helpful, workers),
        "cautions": list(plan.cautions()),
        "missing": [asdict(item) for item in missing],
    }


def _own(plan: Plan, missing: Sequence[OwnSamples]) -> str | None:
    """What the model's own samples, that it is measured against, still cost."""
    if all(measure.own is None for measure in plan.recipe.measures):
        return None
    counted = " and ".join(f"{one.n:,} of {one.steps} steps" for one in missing)
    return f"{counted}, before the search" if counted else "kept on this machine"


def _confirmation(plan: Plan) -> str:
    """Who is confirmed, on how many images."""
    confirm, looks = plan.spec.confirm, plan.looks(plan.most_comparisons)
    words = f"{plan.candidates} candidates and λ = 1, {confirm.samples:,} images each"
    if confirm.precision is None:
        return words
    return (
        f"{words} at most, in up to {looks.most} looks from {looks.first:,} on, until the gain is "
        f"known to ±{100 * confirm.precision:g} % (about {looks.expected:,} on a model like the "
        "bundled one)"
    )


def _expected(plan: Plan) -> int | None:
    """About how many images it will be if the confirmation ends before its last look."""
    looks = plan.looks(plan.most_comparisons)
    if looks.precision is None:
        return None
    return plan.most_images() - plan.confirm_images() + plan.confirm_images(looks.expected)


def _ways(plan: Plan) -> dict[str, str]:
    """How schedules are compared: at rungs, or in rounds."""
    if plan.kg is None:
        return {"rungs": ", ".join(f"{n:,}" for n in plan.rungs) + _assumed(plan)}
    first, later = plan.kg.first_images, plan.kg.allowance.later_images
    return {
        "rounds": f"{first:,} images, then {later:,} each, {plan.kg.most_images:,} in all at most"
        + _ranking(plan)
        + _assumed(plan)
    }


def _ranking(plan: Plan) -> str:
    """What its rounds rank by, where that is not the FID."""
    if plan.components is None:
        return ""
    return f", ranked by the projected distance ({plan.components} components)"


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
