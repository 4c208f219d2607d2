"""What workers do. A task says what to compute; a `Workbench` keeps what tasks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import Any
from typing import Protocol
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import extras
from lambda_search.metrics.evidence import score
from lambda_search.metrics.extractors.registry import Extractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.metrics.references.load import CLEAN_FID
from lambda_search.metrics.references.load import Reference
from lambda_search.metrics.references.load import load_reference
from lambda_search.models.base import Model
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.models.sampling import to_uint8
from lambda_search.paths import references_folder
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Sampling
from lambda_search.work.timing import DeviceTimer

__all__ = [
    "Measure",
    "Preview",
    "Recipe",
    "Rehearse",
    "SampleShard",
    "ScoreFeatures",
    "ShardResult",
    "Task",
    "Workbench",
]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Task(Protocol[T_co]):
    """Something a worker can do; it travels by pickle."""

    def run(self, bench: Workbench) -> T_co:
        """Does it with what `bench` keeps loaded."""
        ...


@dataclass
class Workbench:
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


@dataclass(frozen=True)
class Measure:
    """A Fréchet distance: names, and the fingerprints that every worker checks.

    Arguments:
        extractor, reference: names, as a study file says them.
        extractor_fingerprint, reference_fingerprint: what they named on the driver; "" where that
            is not known.
    """

    extractor: str
    extractor_fingerprint: str
    reference: str
    reference_fingerprint: str

    @property
    def extractor_label(self) -> str:
        """The extractor as a setting names it: without its folder, with its fingerprint."""
        name, _, _ = self.extractor.partition(":")
        return _label(Path(name).name, self.extractor_fingerprint)

    @property
    def reference_label(self) -> str:
        """The reference as a setting names it."""
        published = self.reference.startswith(CLEAN_FID)
        name = self.reference if published else Path(self.reference).name
        return _label(name, self.reference_fingerprint)


def _label(name: str, fingerprint: str) -> str:
    return f"{name}@{fingerprint[:16]}" if fingerprint else name


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to make and measure a study's images, but the schedule and indices.

    Arguments:
        framework, checkpoint, config: the model, as `load_model` takes it.
        weights, definition: SHA-256 of its weights and of their configuration.
        sampling: how it is sampled, resolved.
        seed: of the noise.
        measures: the distance that ranks, then those that are told beside it.
    """

    framework: str
    checkpoint: str
    config: dict[str, Any] | str | None
    weights: str
    definition: str
    sampling: Sampling
    seed: int
    measures: tuple[Measure, ...]

    def images(
        self, bench: Workbench, schedule: LambdaSchedule, start: int, timer: DeviceTimer
    ) -> torch.Tensor:
        """The batch that starts at index `start`, uint8 [B, c, h, w]; `timer` times the net."""
        model = bench.model(self)
        indices = range(start, start + self.sampling.options.batch)
        states = sample_batch(
            model,
            self.sampling,
            schedule,
            counter_noise(model, self.seed, indices),
            default_labels(model, indices),
            watch=timer,
        )
        with timer():
            images = model.decode(states)
        return to_uint8(images)


@dataclass(frozen=True)
class ShardResult:
    """Features of one shard and what they cost.

    Arguments:
        features: float32 [B, d] for each measure that was asked for.
        images: B.
        network_seconds, feature_seconds: device time in the network and in the extractors.
    """

    features: tuple[NDArray[np.float32], ...]
    images: int
    network_seconds: float
    feature_seconds: float


@dataclass(frozen=True)
class SampleShard:
    """Samples one batch under one schedule and extracts its features, in memory.

    Arguments:
        recipe, schedule, start: which images.
        measures: whose features.
    """

    recipe: Recipe
    schedule: LambdaSchedule
    start: int
    measures: tuple[Measure, ...]

    def run(self, bench: Workbench) -> ShardResult:
        model = bench.model(self.recipe)
        extractors = [bench.extractor(measure) for measure in self.measures]
        network, features = DeviceTimer(model.device), DeviceTimer(model.device)
        images = self.recipe.images(bench, self.schedule, self.start, network)
        with features():
            extracted = tuple(extract(images).numpy() for extract in extractors)
        return ShardResult(extracted, len(images), network.seconds(), features.seconds())


@dataclass(frozen=True)
class Rehearse:
    """Tries every extractor on a grey image, and loads or makes every reference.

    What is broken, or does not fit the model's images, is seen so before anything is sampled.
    """

    recipe: Recipe

    def run(self, bench: Workbench) -> None:
        model = bench.model(self.recipe)
        with torch.inference_mode():
            shape = model.decode(torch.zeros(2, *model.shape, device=bench.device)).shape
        grey = torch.full(shape, 128, dtype=torch.uint8, device=bench.device)
        for measure in self.recipe.measures:
            self._try(bench.extractor(measure), grey)
            bench.frechet(measure)
            bench.kernel(measure)

    @staticmethod
    def _try(extractor: Extractor, images: torch.Tensor) -> None:
        try:
            finite = bool(torch.isfinite(extractor(images)).all())
        except LambdaSearchError:
            raise
        except Exception as error:  # whatever the user's own network provokes
            said = next(reversed(str(error).strip().splitlines()), type(error).__name__)
            raise UsageError(
                f"The extractor {extractor.name} fails on the model's images, "
                f"{list(images.shape[1:])}: {said.rstrip('.')}.",
                "Give it a size to resize to, or use another extractor.",
            ) from error
        if not finite:
            raise UsageError(
                f"The extractor {extractor.name} makes NaN or infinity of a grey image.",
                "Use another extractor.",
            )


@dataclass(frozen=True)
class ScoreFeatures:
    """Scores one schedule's features against the reference of `measure`.

    Arguments:
        measure: which distance.
        features: float32 [n, d], in index order.
        whole: whether FID∞ and KID are told too.
    """

    measure: Measure
    features: NDArray[np.float32]
    whole: bool = False

    def run(self, bench: Workbench) -> Score:
        frechet = bench.frechet(self.measure)
        found = score(self.features, frechet)
        if not self.whole:
            return found
        return replace(found, extras=extras(self.features, frechet, bench.kernel(self.measure)))


@dataclass(frozen=True)
class Preview:
    """The first `count` images from index `start` on, for people."""

    recipe: Recipe
    schedule: LambdaSchedule
    start: int
    count: int

    def run(self, bench: Workbench) -> NDArray[np.uint8]:
        images = self.recipe.images(bench, self.schedule, self.start, DeviceTimer(bench.device))
        return images[: self.count].cpu().numpy()
