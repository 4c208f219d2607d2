"""From a study file to its plan: the model read, every option resolved."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import replace

import torch

from lambda_search.metrics.references.doubts import doubts
from lambda_search.metrics.references.load import Reference
from lambda_search.models.base import Model
from lambda_search.records import NoiseLevel
from lambda_search.search.plan import Plan
from lambda_search.search.proposals import check_candidates
from lambda_search.search.ranking import components_of
from lambda_search.search.space import Space
from lambda_search.search.terms import check_budget
from lambda_search.search.weights import model_of
from lambda_search.search.weights import with_models
from lambda_search.setting import Sampling
from lambda_search.setting import Setting
from lambda_search.spec import StudySpec
from lambda_search.work.contents import libraries_of
from lambda_search.work.context import resolve_measure
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import ModelFile
from lambda_search.work.recipe import Recipe

__all__ = ["about", "assemble", "resolve", "resolve_all"]


def resolve(spec: StudySpec, model: Model | None = None) -> Plan:
    """Reads the model, the extractor and the reference, and resolves every open option.

    Arguments:
        spec: the study.
        model: its model, if it is loaded already.

    Raises:
        UsageError: if any of them is missing, unreadable, or cannot do what the study asks.
    """
    model = model or model_of(spec.model)
    model.check_decoder()
    sampling = model.resolve(spec.sampler.sampling)
    grid = model.grid(sampling)
    cpu = torch.device("cpu")
    written = spec.sampler.sampling
    used = [
        resolve_measure(one.extractor, one.reference, cpu, model, written)
        for one in spec.metric.measures
    ]
    measures = tuple(measure for measure, _, _ in used)
    libraries = libraries_of(model, *(extractor for _, extractor, _ in used))
    weights = model.sha256, model.definition
    plan = assemble(spec, sampling, len(grid), weights, measures, libraries)
    filled = written.model_copy(update={"options": model.filled(written)})
    former = plan.setting.model_copy(update=dict(filled))
    return replace(
        about(plan, [reference for _, _, reference in used], model),
        levels=tuple(
            NoiseLevel(timestep, sigma / alpha if alpha else None)
            for timestep, sigma, alpha in zip(grid.timesteps, grid.sigma, grid.alpha, strict=True)
        ),
        former=None if former == plan.setting else former,
        revision=model.revision,
    )


def about(plan: Plan, references: Sequence[Reference], model: Model | None) -> Plan:
    """`plan` with what is to be told of its references, next to its model if that is here."""
    shape = None if model is None else model.image_shape()
    return replace(
        plan,
        reference_notes=(
            *(
                f"{one.extractor}: {one.network.summary}"
                for one in plan.recipe.measures
                if one.network
            ),
            *(f"{one.name}: {one.summary}" for one in references if one.summary),
        ),
        doubts=tuple(doubt for one in references for doubt in doubts(one, shape)),
    )


def resolve_all(specs: Iterable[StudySpec]) -> list[Plan]:
    """Plans of several studies; a model that several in a row share is read once.

    Raises:
        UsageError: for anything that is wrong with them or missing.
    """
    return [resolve(spec, model) for spec, model in with_models(specs, model_of)]


def assemble(
    spec: StudySpec,
    sampling: Sampling,
    steps: int,
    model: tuple[str, str],
    measures: tuple[Measure, ...],
    libraries: tuple[str, ...] = (),
) -> Plan:
    """The plan of a study.

    Arguments:
        spec: the study.
        sampling: how its images are sampled, as far as it is resolved.
        steps: the real length of its grid.
        model: SHA-256 of its weights and of their definition.
        measures: what its metric names.
        libraries: whose code the model and the extractors run.

    Raises:
        UsageError: if λ reaches zero in the ranges that are searched, or can only be 1.
    """
    setting = Setting(
        **dict(sampling),
        model=spec.model.name or spec.name,
        weights=model[0],
        framework=spec.model.framework,
        definition=model[1],
        metric=spec.metric.name,
        extractor=measures[0].extractor_label,
        reference=measures[0].reference_label,
    )
    file = ModelFile(spec.model.framework, spec.model.checkpoint, spec.model.config, *model)
    recipe = Recipe(
        framework=spec.model.framework,
        checkpoint=spec.model.checkpoint,
        config=spec.model.config,
        weights=model[0],
        definition=model[1],
        sampling=sampling,
        seed=spec.search.seed,
        measures=tuple(one.of(file) for one in measures),
        libraries=libraries,
    )
    search, space = spec.search, Space.of(spec, steps)
    check_candidates(space, search.proposals, search.trials, search.seed)
    components = components_of(search, measures[0].width)
    plan = Plan(spec, setting, recipe, space, components=components)
    check_budget(search, plan.kg)
    return plan
