"""What a study needs and this machine has not: weights, extractor, reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

import torch

from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.base import Described
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.extractors.registry import known_extractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.load import Reference
from lambda_search.metrics.references.load import load_reference
from lambda_search.models.base import Model
from lambda_search.models.base import check_sampler
from lambda_search.models.base import check_site
from lambda_search.models.registry import framework_of
from lambda_search.paths import references_folder
from lambda_search.search.plan import Plan
from lambda_search.search.resolving import about
from lambda_search.search.resolving import assemble
from lambda_search.setting import own_network
from lambda_search.setting import own_steps
from lambda_search.spec import MeasureSpec
from lambda_search.spec import StudySpec
from lambda_search.work.own import own_reference
from lambda_search.work.own import with_own_samples
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import OwnNetwork

__all__ = ["KnownMeasure", "Missing", "look_at", "outline"]

_UNKNOWN = "missing"


@dataclass(frozen=True)
class Missing:
    """Something that a study needs and that is not here.

    Arguments:
        what: `weights`, `extractor` or `reference`.
        cause: what is not there.
        hint: how to get it.
        fetched: whether a launch fetches it.
    """

    what: str
    cause: str
    hint: str
    fetched: bool = False

    @classmethod
    def of(cls, what: str, error: UsageError) -> Missing:
        """What an error says."""
        return cls(what, error.cause, error.hint, isinstance(error, NotFetched))


@dataclass(frozen=True)
class KnownMeasure:
    """A measure as far as it is known.

    Arguments:
        measure: its fingerprints are "" and its width is 0 where they are not known.
        reference: None where it is not here.
        missing: what is not here of it.
    """

    measure: Measure
    reference: Reference | None
    missing: tuple[Missing, ...]


def look_at(spec: MeasureSpec, model: Model | None = None) -> KnownMeasure:
    """The extractor and the reference, as far as they are here; nothing is fetched, nothing run.

    Arguments:
        spec: what the study says.
        model: the study's, where it is here and its own network is the extractor.

    Raises:
        UsageError: for one that does not exist, that is here and cannot be used, or that does not
            belong to the other.
    """
    if own_network(spec.extractor) is not None:
        return _by_model(spec, model)
    missing: list[Missing] = []
    extractor: Described
    try:
        extractor = load_extractor(spec.extractor, torch.device("cpu"), fetch=False, run=False)
    except MissingFile as error:
        missing.append(Missing.of("extractor", error))
        extractor = known_extractor(spec.extractor)
    reference, dim = None, extractor.dim
    if own_steps(spec.reference) is not None:  # it is told with the model, and is never missing
        found = "" if missing else extractor.fingerprint
        bare = Measure(spec.extractor, found, spec.reference, "", dim)
        return KnownMeasure(bare, None, tuple(missing))
    try:
        reference = load_reference(
            spec.reference, extractor, cache=references_folder(), fetch=False
        )
        dim = dim or reference.dim
    except MissingFile as error:
        missing.append(Missing.of("reference", error))
    known = (
        ("", "")
        if missing or reference is None
        else (extractor.fingerprint, reference.fingerprint)
    )
    measure = Measure(spec.extractor, known[0], spec.reference, known[1], dim)
    return KnownMeasure(measure, reference, tuple(missing))


def _by_model(spec: MeasureSpec, model: Model | None) -> KnownMeasure:
    """A measure by the model's own network, of which nothing is known without the model."""
    bare = Measure(spec.extractor, "", spec.reference, "")
    if model is None:
        return KnownMeasure(bare, None, ())
    found = OwnNetworkExtractor(spec.extractor, model)
    found.check_reference(spec.reference)
    bare = replace(
        bare,
        extractor_fingerprint=found.fingerprint,
        width=found.dim,
        network=OwnNetwork(found.summary),
    )
    if own_steps(spec.reference) is not None:
        return KnownMeasure(bare, None, ())
    try:
        reference = load_reference(spec.reference, found, cache=references_folder(), fetch=False)
    except MissingFile as error:
        return KnownMeasure(bare, None, (Missing.of("reference", error),))
    measure = replace(bare, reference_fingerprint=reference.fingerprint)
    return KnownMeasure(measure, reference, ())


def outline(spec: StudySpec, model: Model | None, looked: Sequence[KnownMeasure]) -> Plan:
    """The plan as far as it is known without what is missing: it can be shown, not run.

    Arguments:
        spec: the study.
        model: its model, where the weights are here.
        looked: its measures.

    Raises:
        UsageError: for a sampling that the framework, or the model, cannot do.
    """
    sampling, steps = spec.sampler.sampling, spec.sampler.steps
    if model is None:
        framework = spec.model.framework
        check_sampler(framework, framework_of(framework).samplers, sampling.sampler)
        check_site(sampling)
    else:
        model.check_decoder()
        sampling = model.resolve(sampling)
        steps = len(model.grid(sampling))
    weights = (_UNKNOWN, _UNKNOWN) if model is None else (model.sha256, model.definition)
    measures, references = [], []
    for one in looked:
        measure, reference = one.measure, one.reference
        own = own_steps(measure.reference)
        if own is not None:
            measure = with_own_samples(measure, own, spec.sampler.sampling, model)
            reference = own_reference(measure, model)
        measures.append(measure)
        references += [] if reference is None else [reference]
    plan = assemble(spec, sampling, steps, weights, tuple(measures))
    return about(plan, references, model)
