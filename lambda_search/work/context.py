"""What one worker keeps loaded between its tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property
from typing import Any
from typing import TypeVar

import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.machine import cores
from lambda_search.machine import memory
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.metrics.projection import Projection
from lambda_search.metrics.references.load import Reference
from lambda_search.metrics.references.load import load_reference
from lambda_search.models.base import Model
from lambda_search.models.registry import framework_of
from lambda_search.models.registry import load_model
from lambda_search.paths import locate
from lambda_search.paths import references_folder
from lambda_search.setting import Sampling
from lambda_search.setting import own_network
from lambda_search.setting import own_steps
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec
from lambda_search.work.contents import size_of
from lambda_search.work.features import FeatureFiles
from lambda_search.work.features import Place
from lambda_search.work.own import own_reference
from lambda_search.work.own import with_own_samples
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import ModelFile
from lambda_search.work.recipe import OwnNetwork
from lambda_search.work.recipe import Recipe

__all__ = ["LruCache", "WorkerContext", "resolve_measure"]

T = TypeVar("T")

_SHARE = 0.25
"""Of the memory, for the models, and as much for the measures."""

_MEASURES = 8
"""Extractors and references that stay: those of four distances."""


class WorkerContext:
    """One worker's device and what it keeps loaded between tasks.

    Arguments:
        device: where it computes.
        room: bytes that the models may take together, and the measures' networks and references;
            a share of the device's memory, or of a core's share of the host's, unless given. What
            was not used for longest goes first. The model in use stays, however large.
    """

    def __init__(self, device: torch.device, room: int | None = None) -> None:
        room = _room(device) if room is None else room
        self.device = device
        self._models = LruCache(room)
        self._measures = LruCache(room, at_least=_MEASURES)
        self._place: tuple[Place, FeatureFiles] | None = None

    def features(self, place: Place) -> FeatureFiles:
        """The features that lie at `place`; that it is the driver's is looked at once.

        Raises:
            PlaceAway: if this worker does not see it.
        """
        if self._place is None or self._place[0] != place:
            self._place = place, place.open()
        return self._place[1]

    def get_ready(self, study: StudySpec) -> None:
        """Loads a study's model and extractors before its plan is known; nothing is fetched.

        Tasks find them by their hashes, so that a file which was written anew meanwhile is loaded
        again. Raises what loading raises.

        Arguments:
            study: with its files' places.
        """
        told = study.model
        framework_of(told.framework)  # its libraries take longer than most models
        if locate(told.checkpoint) is None:
            return
        model = load_model(told.framework, told.checkpoint, told.config, str(self.device))
        self._models.get(_key(told, model.sha256, model.definition), lambda: model)
        for name in {measure.extractor for measure in study.metric.measures}:
            if own_network(name) is None:
                self._keep(name, load_extractor(name, self.device, fetch=False))

    def _keep(self, name: str, extractor: Extractor) -> None:
        self._measures.get(("extractor", name, extractor.fingerprint), lambda: extractor)

    def model(self, recipe: Recipe | ModelFile) -> Model:
        """The model of a recipe, or of a file, checked against the hashes that the driver saw."""

        def load() -> Model:
            model = load_model(
                recipe.framework, recipe.checkpoint, recipe.config, str(self.device)
            )
            _check(recipe.checkpoint, model.sha256, recipe.weights)
            _check(recipe.checkpoint, model.definition, recipe.definition)
            return model

        return self._models.get(_key(recipe, recipe.weights, recipe.definition), load)

    def extractor(self, measure: Measure) -> Extractor:
        """The measure's extractor on this worker's device.

        The model's own network is kept with the models, not again here.
        """
        if measure.network is not None and measure.network.file is not None:
            model = self.model(measure.network.file)
            own = OwnNetworkExtractor(measure.extractor, model, measure.width)
            _check(measure.extractor, own.fingerprint, measure.extractor_fingerprint)
            return own

        def load() -> Extractor:
            extractor = load_extractor(measure.extractor, self.device)
            _check(measure.extractor, extractor.fingerprint, measure.extractor_fingerprint)
            return extractor

        key = ("extractor", measure.extractor, measure.extractor_fingerprint)
        return self._measures.get(key, load)

    def frechet(self, measure: Measure) -> FrechetReference:
        """The measure's reference on this worker's device, its factor computed once."""
        return self._target(measure).frechet

    def projection(self, measure: Measure, components: int) -> Projection:
        """The measure's reference in its principal components, found once."""
        return self._target(measure).projection(components)

    def kernel(self, measure: Measure) -> KernelReference | None:
        """The reference's features, where it keeps some."""
        return self._target(measure).kernel

    def _target(self, measure: Measure) -> _Target:

        def load() -> _Target:
            if measure.own is not None:  # its moments are there; no network is needed
                return _Target(own_reference(measure), self.device)
            name, extractor = measure.reference, self.extractor(measure)
            reference = load_reference(name, extractor, cache=references_folder())
            _check(name, reference.fingerprint, measure.reference_fingerprint)
            found = reference.statistics  # not what makes them, which may hold a whole model
            return _Target(replace(reference, load=lambda _: found), self.device)

        found = (measure.extractor_fingerprint, measure.reference_fingerprint)
        return self._measures.get(("reference", measure.reference, *found), load)


@dataclass(frozen=True)
class _Target:
    """A reference and what is made of it on a device when first asked for."""

    reference: Reference
    device: torch.device

    @cached_property
    def frechet(self) -> FrechetReference:
        return self.reference.frechet(self.device)

    @cached_property
    def kernel(self) -> KernelReference | None:
        return self.reference.kernel(self.device)

    @cached_property
    def _projections(self) -> dict[int, Projection]:
        return {}

    def projection(self, components: int) -> Projection:
        known = self._projections
        if components not in known:
            known[components] = Projection(self.frechet, components)
        return known[components]


class LruCache:
    """What was loaded, the latest used last.

    Arguments:
        room: bytes of tensors that it may hold.
        at_least: how many things stay, however large; the one in use always does.
    """

    def __init__(self, room: int, at_least: int = 1) -> None:
        self._room = room
        self._at_least = at_least
        self._kept: dict[object, Any] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: object, load: Callable[[], T]) -> T:
        """What `key` names, loaded unless it is here; others may go for it."""
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)
        else:
            self._trim(self._at_least - 1)  # before, so that the new one finds room
            self._kept[key] = load()
            self._trim(self._at_least)
        kept: T = self._kept[key]
        return kept

    def _trim(self, at_least: int) -> None:
        while len(self._kept) > at_least and size_of(*self._kept.values()) > self._room:
            del self._kept[next(iter(self._kept))]


def _room(device: torch.device) -> int:
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        there = memory() // cores()  # a worker has one core
    return int(_SHARE * there)


def _key(file: Recipe | ModelFile | ModelSpec, weights: str, definition: str) -> object:
    """Of a model; a file that was written anew is another one."""
    return file.framework, file.checkpoint, repr(file.config), weights, definition


def _check(name: str, here: str, wanted: str) -> None:
    if here != wanted:
        raise LambdaSearchError(
            f"{name} is another file on this worker than on the driver.",
            "Put the same file on every host, or use a shared folder.",
        )


def resolve_measure(
    extractor: str, reference: str, device: torch.device, model: Model, sampling: Sampling
) -> tuple[Measure, Extractor, Reference]:
    """A measure with what its names stand for, the extractor on `device`.

    Arguments:
        extractor, reference: names, as a study file says them.
        device: where features are computed.
        model, sampling: what is measured; `self:STEPS` is the same with more steps.

    Raises:
        UsageError: if either is missing, unreadable, or does not belong to the other; and if the
            model cannot be sampled as its own reference needs it.
    """
    extract = load_extractor(extractor, device, model=model)
    network = None
    if isinstance(extract, OwnNetworkExtractor):
        extract.check_reference(reference)
        network = OwnNetwork(extract.summary)
    steps = own_steps(reference)
    bare = Measure(extractor, extract.fingerprint, reference, "", extract.dim, network=network)
    if steps is not None:
        own = with_own_samples(bare, steps, sampling, model)
        return own, extract, own_reference(own, model)
    target = load_reference(reference, extract, cache=references_folder())
    return replace(bare, reference_fingerprint=target.fingerprint), extract, target
