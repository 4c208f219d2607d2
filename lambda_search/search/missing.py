"""What a study needs and this machine has not: weights, extractor, reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lambda_search.errors import MissingFile
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.load import IMAGES
from lambda_search.metrics.references.load import load_reference
from lambda_search.models.base import Model
from lambda_search.models.base import check_sampler
from lambda_search.models.base import check_site
from lambda_search.models.checkpoints import locate
from lambda_search.models.registry import framework_of
from lambda_search.paths import references_folder
from lambda_search.search.plan import Plan
from lambda_search.search.plan import assemble
from lambda_search.spec import MeasureSpec
from lambda_search.spec import StudySpec
from lambda_search.work.recipe import Measure

__all__ = ["Missing", "missing_metric", "outline"]

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


def missing_metric(spec: MeasureSpec) -> list[Missing]:
    """What of the extractor and the reference is not here; nothing is fetched.

    Raises:
        UsageError: for one that does not exist, or is here and cannot be used.
    """
    try:
        extractor = load_extractor(spec.extractor, torch.device("cpu"), fetch=False)
    except MissingFile as error:
        missing = [Missing("extractor", error.cause, error.hint)]
        if locate(spec.reference.removeprefix(IMAGES)) is None:
            cause = f"The reference {spec.reference} cannot be looked at without the extractor."
            missing.append(Missing("reference", cause, ""))
        return missing
    try:
        load_reference(spec.reference, extractor, cache=references_folder(), fetch=False)
    except MissingFile as error:
        return [Missing("reference", error.cause, error.hint)]
    return []


def outline(spec: StudySpec, model: Model | None) -> Plan:
    """The plan as far as it is known without what is missing: it can be shown, not run.

    Arguments:
        spec: the study.
        model: its model, where the weights are here.

    Raises:
        UsageError: for a sampling that the framework, or the model, cannot do.
    """
    sampling, steps = spec.sampler.sampling, spec.sampler.steps
    if model is None:
        framework = spec.model.framework
        check_sampler(framework, framework_of(framework).samplers, sampling.sampler)
        check_site(sampling)
    else:
        sampling = model.resolve(sampling)
        steps = len(model.grid(sampling))
    weights = (_UNKNOWN, _UNKNOWN) if model is None else (model.sha256, model.definition)
    measures = tuple(Measure(m.extractor, "", m.reference, "") for m in spec.metric.measures)
    return assemble(spec, sampling, steps, weights, measures)
