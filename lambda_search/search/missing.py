"""What a study needs and this machine has not: weights, extractor, reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lambda_search.errors import UsageError
from lambda_search.metrics.features import load_extractor
from lambda_search.metrics.reference import load_reference
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import locate
from lambda_search.models.registry import frameworks
from lambda_search.models.registry import load_model
from lambda_search.search.plan import Plan
from lambda_search.search.space import Space
from lambda_search.search.tasks import Recipe
from lambda_search.setting import Setting
from lambda_search.spec import MetricSpec
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec

__all__ = ["Missing", "MissingWeights", "missing_metric", "model_of", "outline"]

_UNKNOWN = "missing"


@dataclass(frozen=True)
class Missing:
    """Something that a study needs and that is not here.

    Arguments:
        what: `weights`, `extractor` or `reference`.
        cause: what is not there.
        hint: how to get it.
    """

    what: str
    cause: str
    hint: str


class MissingWeights(UsageError):
    """A model's weights are not on this machine; the hint says where its authors publish them."""


def model_of(spec: ModelSpec) -> Model:
    """The model of a study file.

    Raises:
        MissingWeights: if its checkpoint is not here.
        UsageError: for all else that `load_model` refuses.
    """
    try:
        return load_model(spec.framework, spec.checkpoint, spec.config)
    except UsageError as error:
        if spec.framework not in frameworks() or locate(spec.checkpoint) is not None:
            raise
        raise MissingWeights(
            f"The weights {spec.checkpoint} are not on this machine.", _advice(spec) or error.hint
        ) from error


def missing_metric(spec: MetricSpec) -> list[Missing]:
    """What of the extractor and the reference is not here.

    Raises:
        UsageError: for a reference that is here and cannot be used.
    """
    here = locate(spec.reference.removeprefix("images:")) is not None
    try:
        extractor = load_extractor(spec.extractor, torch.device("cpu"))
    except UsageError as error:
        missing = [Missing("extractor", error.cause, error.hint)]
        if not here:
            cause = f"The reference {spec.reference} cannot be looked at without the extractor."
            missing.append(Missing("reference", cause, ""))
        return missing
    try:
        load_reference(spec.reference, extractor)
    except UsageError as error:
        if here:
            raise
        return [Missing("reference", error.cause, error.hint)]
    return []


def outline(spec: StudySpec, model: Model | None) -> Plan:
    """The plan as far as it is known without what is missing: it can be shown, not run.

    Arguments:
        spec: the study.
        model: its model, where the weights are here.
    """
    sampler, options, steps = spec.sampler, spec.sampler.options, spec.sampler.steps
    if model is not None:
        options = model.resolve(sampler.name, steps, options)
        steps = len(model.grid(sampler.name, steps, options))
    weights = _UNKNOWN if model is None else model.sha256
    definition = _UNKNOWN if model is None else model.definition
    setting = Setting(
        model=spec.model.name or spec.name,
        weights=weights,
        framework=spec.model.framework,
        definition=definition,
        sampler=sampler.name,
        options=options,
        steps=sampler.steps,
        guidance=sampler.guidance,
        site=sampler.site,
        metric=spec.metric.name,
        extractor=spec.metric.extractor,
        reference=spec.metric.reference,
    )
    recipe = Recipe(
        framework=spec.model.framework,
        checkpoint=spec.model.checkpoint,
        config=spec.model.config,
        weights=weights,
        definition=definition,
        sampler=sampler.name,
        steps=sampler.steps,
        options=options,
        site=sampler.site,
        guidance=sampler.guidance,
        seed=spec.search.seed,
        extractor=spec.metric.extractor,
        extractor_fingerprint=_UNKNOWN,
        reference=spec.metric.reference,
        reference_fingerprint=_UNKNOWN,
    )
    return Plan(spec, setting, recipe, Space.of(spec, steps), width=0)


def _advice(spec: ModelSpec) -> str:
    """Where to get the weights, as far as the study file says it."""
    if spec.source is None:
        return ""
    source = spec.source
    note = f"; {source.note}" if source.note else ""
    return f"Their authors publish them at {source.url}, licence {source.licence}{note}."
