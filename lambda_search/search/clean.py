"""Clean images to hold a model's samples against: real ones, or its own of many steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.extractors.own_network import extracted
from lambda_search.metrics.references.images import open_images
from lambda_search.metrics.references.load import IMAGES
from lambda_search.models.base import Model
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import to_uint8
from lambda_search.paths import locate
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.norms import sampled
from lambda_search.setting import Sampling
from lambda_search.work.own import rescaled
from lambda_search.work.recipe import OWN_SEED
from lambda_search.work.recipe import own_start

__all__ = ["Clean", "features_of", "own_images", "real_images"]

_READ = 64
_MANY, _FINER = 100, 4
"""Steps of own samples: so many, or so many times those that are looked at."""


@dataclass(frozen=True)
class Clean:
    """Clean states.

    Arguments:
        states: x0, float32 [n, c, h, w].
        labels: their own, [n]; None where the model has none, or they are not known.
        made: how many of them had to be sampled.
        words: what they are, for people.
    """

    states: Tensor
    labels: Tensor | None
    made: int
    words: str

    def first(self, n: int) -> tuple[Tensor, Tensor | None]:
        """The first `n` states and their labels."""
        return self.states[:n], None if self.labels is None else self.labels[:n]


def real_images(model: Model, reference: str, most: int) -> Clean:
    """At most `most` of the real images of a reference `images:PATH`, evenly spread over all.

    Raises:
        UsageError: if they cannot be read, or are not what the model makes.
    """
    place = reference.removeprefix(IMAGES)
    path = locate(place) if place else None
    if path is None:
        raise MissingFile(
            f"There is no reference at {reference}.",
            "Name a folder, a .zip or an .npz of images after images:.",
        )
    images, shape = open_images(path), model.image_shape()
    h, w, c = images.shape
    if (c, h, w) != shape:
        made = "no images" if shape is None else f"{shape[1]} × {shape[2]}, {shape[0]} channels"
        there = f"{h} × {w}, {c} channels" if h else "of several sizes"
        raise UsageError(
            f"The images in {path} are {there}; the model makes {made}.",
            "Bring them to the model's size, or leave the reference out: the model's own samples "
            "of many steps stand for them then.",
        )
    count = len(images.names)
    wanted = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    parts, seen = [], 0
    for batch in images.batches(_READ):
        here = wanted[(wanted >= seen) & (wanted < seen + len(batch))] - seen
        parts.append(batch[torch.from_numpy(here)])
        seen += len(batch)
    states = model.encode(torch.cat(parts).float() / 127.5 - 1)
    return Clean(states, None, 0, f"{len(states):,} of {count:,} real images, {path.name}")


def own_images(model: Model, sampling: Sampling, n: int) -> Clean:
    """`n` of the model's own samples of many steps at λ = 1, on indices that nothing else has.

    Arguments:
        model: which.
        sampling: resolved; sampled as it says, but for the number of steps.
        n: whole batches.

    Raises:
        UsageError: if the model cannot be sampled in so many steps.
    """
    many, options = max(_MANY, _FINER * sampling.steps), sampling.options
    told: Mapping[str, Any] = {"grid": rescaled(options, sampling.steps, many)}
    finer = {"steps": many, "site": "full", "options": options.model_copy(update=told)}
    resolved = model.resolve(sampling.model_copy(update=finer))
    start = own_start(options.batch)
    indices = range(start, start + n)
    states, _ = sampled(model, resolved, LambdaSchedule(), OWN_SEED, indices)
    steps = len(model.grid(resolved))
    words = f"{n:,} of the model's own samples of {steps} steps: agreement with these, not quality"
    return Clean(states, default_labels(model, indices), n, words)


def features_of(model: Model, extractor: OwnNetworkExtractor, states: Tensor) -> Tensor:
    """Features [n, d] of final states, of pixels by way of bytes, as of any image.

    Raises:
        Diverged: if they are not finite.
    """
    if extractor.of_states:
        return extracted(extractor, states, states)
    return extractor(to_uint8(model.decode(states)))
