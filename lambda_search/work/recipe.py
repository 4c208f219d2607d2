"""All that decides a study's images and features but the schedule and the indices, as values."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any
from typing import Protocol

from lambda_search.metrics.references.load import CLEAN_FID
from lambda_search.records import Identity
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint
from lambda_search.setting import own_network
from lambda_search.spec import CONFIRM_FROM

__all__ = [
    "OWN_SEED",
    "Measure",
    "ModelFile",
    "OwnNetwork",
    "OwnSamples",
    "Recipe",
    "confirm_start",
    "family_of",
    "own_start",
    "shard_name",
]

OWN_SEED = 2**32
"""Of the noise of models' own samples that are a reference: the first that no study can have."""

_OWN_FROM = 10**9
"""Their indices start here, beyond all that searches and confirmations look at."""


@dataclass(frozen=True)
class OwnSamples:
    """The model's own samples at λ = 1 that a reference `self:STEPS` is of.

    Arguments:
        sampling: the study's with STEPS steps.
        n: how many; whole batches, four times the features' width or more.
        steps: T′, the real length of their grid.
    """

    sampling: Sampling
    n: int
    steps: int


@dataclass(frozen=True)
class ModelFile:
    """A model, as `load_model` takes it, and the SHA-256 of what it has to be.

    Arguments:
        framework, checkpoint, config, weights, definition: as in `Recipe`.
    """

    framework: str
    checkpoint: str
    config: dict[str, Any] | str | None
    weights: str
    definition: str


@dataclass(frozen=True)
class OwnNetwork:
    """The network that the extractor `model` is.

    Arguments:
        summary: what of it are the features, in words.
        file: where workers load it from; None outside of studies.
    """

    summary: str
    file: ModelFile | None = None


@dataclass(frozen=True)
class Measure:
    """A Fréchet distance: names, and the fingerprints that every worker checks.

    Arguments:
        extractor, reference: names, as a study file says them.
        extractor_fingerprint, reference_fingerprint: what they named on the driver; "" where that
            is not known.
        width: d, of the features; 0 where it is not known.
        own: what the reference is of, if that is the model itself.
        network: what the features are of, if that is the model itself.
    """

    extractor: str
    extractor_fingerprint: str
    reference: str
    reference_fingerprint: str
    width: int = 0
    own: OwnSamples | None = None
    network: OwnNetwork | None = field(default=None, compare=False)  # its fingerprint decides

    def of(self, file: ModelFile) -> Measure:
        """The same; where its features are the model's own, workers find that in `file`."""
        if self.network is None:
            return self
        return replace(self, network=replace(self.network, file=file))

    @property
    def extractor_label(self) -> str:
        """The extractor as a setting names it: without its folder, with its fingerprint."""
        name, _, _ = self.extractor.partition(":")
        own = own_network(self.extractor) is not None  # whose block and level its fingerprint has
        return _label(OWN_NETWORK if own else Path(name).name, self.extractor_fingerprint)

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
        sampling: how it is sampled, options resolved.
        seed: of the noise.
        measures: the distance that ranks, then those that are told beside it.
        libraries: whose versions decide bits beside those of torch and numpy.
    """

    framework: str
    checkpoint: str
    config: dict[str, Any] | str | None
    weights: str
    definition: str
    sampling: Sampling
    seed: int
    measures: tuple[Measure, ...]
    libraries: tuple[str, ...] = ()

    @property
    def batch(self) -> int:
        """B, the images of a shard."""
        return self.sampling.options.batch

    @cached_property  # each of a study's shards is named with it
    def family(self) -> str:
        """Names the images of this model, sampling and seed together (see `family_of`)."""
        return family_of(self, self.seed)


class _Sampled(Protocol):
    """A recipe, or a setting."""

    @property
    def framework(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def definition(self) -> str: ...
    @property
    def sampling(self) -> Sampling: ...


def family_of(sampled: _Sampled, seed: int) -> str:
    """Names all images that one model makes with one sampling and one seed, by whatever schedule.

    Where the weights and their configuration lie is no part of it.
    """
    return fingerprint(
        {
            "framework": sampled.framework,
            "weights": sampled.weights,
            "definition": sampled.definition,
            "sampling": sampled.sampling.model_dump(mode="json", exclude_none=True),
            "seed": seed,
        }
    )


def shard_name(
    recipe: Recipe, identity: Identity, schedule: LambdaSchedule, start: int, measure: Measure
) -> str:
    """Names the features of the batch at index `start` by all that decides their bits."""
    return fingerprint(
        {
            "family": recipe.family,
            "identity": identity.to_json(),
            "b": schedule.b,
            "k": schedule.k,
            "start": start,
            "extractor": measure.extractor_fingerprint,
        }
    )


def confirm_start(batch: int) -> int:
    """The first index of confirmation: the first whole batch from 10⁶ on."""
    return ceil(CONFIRM_FROM / batch) * batch


def own_start(batch: int) -> int:
    """The first index of a model's own samples that are a reference."""
    return ceil(_OWN_FROM / batch) * batch
