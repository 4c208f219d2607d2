"""What one worker keeps loaded between its tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import TypeVar

import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.extractors.registry import Extractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.metrics.references.load import Reference
from lambda_search.metrics.references.load import load_reference
from lambda_search.models.base import Model
from lambda_search.models.registry import load_model
from lambda_search.paths import references_folder
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe

__all__ = ["WorkerContext", "resolve_measure"]

T = TypeVar("T")


@dataclass
class WorkerContext:
    """One worker's device and what it keeps loaded between tasks."""

    device: torch.device
    _kept: dict[object, Any] = field(default_factory=dict)

    def model(self, recipe: Recipe) -> Model:
        """The recipe's model, checked against the weights' hash that the driver saw."""
        key = ("model", recipe.framework, recipe.checkpoint, repr(recipe.config))
        model = self._keep(
            key,
            lambda: load_model(
                recipe.framework, recipe.checkpoint, recipe.config, str(self.device)
            ),
        )
        self._check(recipe.checkpoint, model.sha256, recipe.weights)
        self._check(recipe.checkpoint, model.definition, recipe.definition)
        return model

    def extractor(self, measure: Measure) -> Extractor:
        """The measure's extractor on this worker's device."""
        name = measure.extractor
        extractor = self._keep(("extractor", name), lambda: load_extractor(name, self.device))
        self._check(name, extractor.fingerprint, measure.extractor_fingerprint)
        return extractor

    def frechet(self, measure: Measure) -> FrechetReference:
        """The measure's reference on this worker's device, its factor computed once."""
        reference = self._reference(measure)
        key = ("factor", reference.fingerprint)
        return self._keep(key, lambda: reference.frechet(self.device))

    def kernel(self, measure: Measure) -> KernelReference | None:
        """The reference's features, where it keeps some."""
        reference = self._reference(measure)
        key = ("kernel", reference.fingerprint)
        return self._keep(key, lambda: reference.kernel(self.device))

    def _reference(self, measure: Measure) -> Reference:
        name = measure.reference
        reference = self._keep(
            ("reference", name, measure.extractor_fingerprint),
            lambda: load_reference(name, self.extractor(measure), cache=references_folder()),
        )
        self._check(name, reference.fingerprint, measure.reference_fingerprint)
        return reference

    @staticmethod
    def _check(name: str, here: str, wanted: str) -> None:
        if here != wanted:
            raise LambdaSearchError(
                f"{name} is another file on this worker than on the driver.",
                "Put the same file on every host, or use a shared folder.",
            )

    def _keep(self, key: object, load: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = load()
        kept: T = self._kept[key]
        return kept


def resolve_measure(
    extractor: str, reference: str, device: torch.device
) -> tuple[Measure, Extractor, Reference]:
    """A measure with what its names stand for, the extractor on `device`.

    Raises:
        UsageError: if either is missing, unreadable, or does not belong to the other.
    """
    extract = load_extractor(extractor, device)
    target = load_reference(reference, extract, cache=references_folder())
    measure = Measure(extractor, extract.fingerprint, reference, target.fingerprint, extract.dim)
    return measure, extract, target
