"""What workers do. A task says what to compute; a `WorkerContext` keeps what tasks share.

Features do not travel with tasks and answers: who samples a shard writes them to the place that
the task names, and who needs them reads them there. Answers are numbers, and pictures for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from typing import TypeVar

import numpy as np
import torch

from lambda_search.errors import Diverged
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import last_line
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.extractors.own_network import extracted
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.models.sampling import to_uint8
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.contact_sheet import contact_sheet
from lambda_search.work.context import WorkerContext
from lambda_search.work.features import Place
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.timing import DeviceTimer

__all__ = [
    "Preview",
    "Rehearse",
    "SampleShard",
    "ShardResult",
    "Task",
]

T_co = TypeVar("T_co", covariant=True)

_PICTURED = 16
"""Images of a trial that are kept as a picture: two rows."""


class Task(Protocol[T_co]):
    """Something a worker can do; it travels by pickle."""

    def run(self, context: WorkerContext) -> T_co:
        """Does it with what `context` keeps loaded."""
        ...


@dataclass(frozen=True)
class ShardResult:
    """What one shard cost; its features, which are finite, are kept.

    Arguments:
        images: B.
        network_seconds, feature_seconds: device time in the network and in the extractors.
        picture: a PNG of its first images, for people; a schedule's first shard has one.
    """

    images: int
    network_seconds: float
    feature_seconds: float
    picture: bytes | None = None


@dataclass(frozen=True)
class SampleShard:
    """Samples one batch under one schedule, in memory, and keeps its features.

    Arguments:
        recipe, schedule, start: which images.
        measures: whose features.
        place: where these are kept.
        names: under which, one for each measure.
    """

    recipe: Recipe
    schedule: LambdaSchedule
    start: int
    measures: tuple[Measure, ...]
    place: Place
    names: tuple[str, ...]

    @property
    def sort(self) -> str:
        """Shards of one family take about as long."""
        return f"sample {self.recipe.family}"

    def run(self, context: WorkerContext) -> ShardResult:
        """What it cost.

        Raises:
            Diverged: if features are not finite; none are kept then.
            PlaceAway: if they cannot be written, or the place is not the driver's.
        """
        files = context.features(self.place)
        model = context.model(self.recipe)
        extractors = [context.extractor(measure) for measure in self.measures]
        network, features = DeviceTimer(model.device), DeviceTimer(model.device)
        states, images = batch_of(context, self.recipe, self.schedule, self.start, network)
        with features():
            found = [extracted(one, states, images).numpy() for one in extractors]
        if not all(np.isfinite(one).all() for one in found):
            raise Diverged(
                "The features of sampled images are NaN or infinite.",
                "Take an extractor that computes in fp32, or λ nearer to 1.",
            )
        for name, one in zip(self.names, found, strict=True):
            files.put(self.recipe.family, name, one)
        return ShardResult(
            len(images),
            network.seconds(),
            features.seconds(),
            _sheet(images[:_PICTURED]) if self.start == 0 else None,
        )


@dataclass(frozen=True)
class Rehearse:
    """Tries every extractor on a grey image, and loads or makes every reference of real images.

    What is broken, or does not fit the model's images, is seen so before anything is sampled; and
    so is a `place` for features that the worker does not see.
    """

    recipe: Recipe
    place: Place

    @property
    def sort(self) -> str:
        """It may have a reference to make, which takes as long as its images are many."""
        references = [measure.reference_fingerprint for measure in self.recipe.measures]
        return f"rehearse {self.recipe.family} {references}"

    def run(self, context: WorkerContext) -> None:
        context.features(self.place)
        model = context.model(self.recipe)
        with torch.inference_mode():
            states = torch.zeros(2, *model.shape, device=context.device)
            shape = model.decode(states).shape
        grey = torch.full(shape, 128, dtype=torch.uint8, device=context.device)
        for measure in self.recipe.measures:
            self._try(context.extractor(measure), states, grey)
            if measure.own is None:  # else it is made next
                context.frechet(measure)
                context.kernel(measure)

    @staticmethod
    def _try(extractor: Extractor, states: torch.Tensor, images: torch.Tensor) -> None:
        try:
            finite = bool(torch.isfinite(extracted(extractor, states, images)).all())
        except LambdaSearchError:
            raise
        except Exception as error:  # whatever the user's own network provokes
            raise UsageError(
                f"The extractor {extractor.name} fails on the model's images, "
                f"{list(images.shape[1:])}: {last_line(error)}.",
                "Give it a size to resize to, or use another extractor.",
            ) from error
        if not finite:
            raise UsageError(
                f"The extractor {extractor.name} makes NaN or infinity of a grey image.",
                "Use another extractor.",
            )


@dataclass(frozen=True)
class Preview:
    """A picture (PNG) of the first `count` images from index `start` on, for people."""

    recipe: Recipe
    schedule: LambdaSchedule
    start: int
    count: int

    @property
    def sort(self) -> str:
        """A batch of one recipe takes about as long."""
        return f"preview {self.recipe.family}"

    def run(self, context: WorkerContext) -> bytes:
        _, images = batch_of(
            context, self.recipe, self.schedule, self.start, DeviceTimer(context.device)
        )
        return _sheet(images[: self.count])


def batch_of(
    context: WorkerContext,
    recipe: Recipe,
    schedule: LambdaSchedule,
    start: int,
    timer: DeviceTimer,
) -> tuple[torch.Tensor, torch.Tensor]:
    """States and images of the batch that starts at index `start`; `timer` times the network.

    The images are uint8 [B, c, h, w].
    """
    model = context.model(recipe)
    indices = range(start, start + recipe.batch)
    states = sample_batch(
        model,
        recipe.sampling,
        schedule,
        counter_noise(model, recipe.seed, indices),
        default_labels(model, indices),
        watch=timer,
    )
    with timer():
        images = model.decode(states)
    return states, to_uint8(images)


def _sheet(images: torch.Tensor) -> bytes:
    return contact_sheet(images.cpu().numpy())
