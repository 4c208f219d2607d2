"""References without a data set: `self:STEPS`, the model's own samples of many steps.

The reference is the Gaussian of features of n ≥ 4d samples at λ = 1, with the sampler, options,
labels and guidance of the study, and STEPS steps in the place of its own. What an option says of
the whole walk stays: S_churn is the noise of all steps together, η a share of each step's; a grid
whose word has the number of steps in it gets the other number. Seed and indices are their own, so
that no image of a study is among them.

A distance to it says how far few steps are from many, and nothing of real images.

Its fingerprint is of all that decides the samples, which is known before there are any; as with
references of images, the hardware that computed it is no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.files import private_folder
from lambda_search.files import saving
from lambda_search.metrics.evidence import enough_images
from lambda_search.metrics.extractors.base import Known
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.references.load import Reference
from lambda_search.metrics.references.making import KEPT_FEATURES
from lambda_search.metrics.references.making import Watch
from lambda_search.metrics.references.making import recall
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.metrics.references.statistics import write_statistics
from lambda_search.models.base import Model
from lambda_search.paths import references_folder
from lambda_search.setting import OWN
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint
from lambda_search.work.recipe import OWN_SEED
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import OwnSamples
from lambda_search.work.recipe import family_of
from lambda_search.work.recipe import own_start

__all__ = [
    "ReferenceAway",
    "keep",
    "kept",
    "own_reference",
    "rescaled",
    "statistics_of",
    "unmade",
    "with_own_samples",
]

_SCHEME = "own-1"
_CENTRE = 512
_WIDTH = 2048
"""d of Inception, which is assumed where no extractor is here to tell."""


class ReferenceAway(LambdaSearchError):
    """A host has not the statistics of a model's own samples; it can be sent them."""


@dataclass(frozen=True)
class _Sampled:
    """A model and how it is sampled, as `family_of` takes them."""

    framework: str
    weights: str
    definition: str
    sampling: Sampling


def with_own_samples(
    measure: Measure, steps: int, sampling: Sampling, model: Model | None
) -> Measure:
    """`measure`, whose reference is `self:STEPS`, with what its reference is of.

    Arguments:
        measure: its extractor's fingerprint and width as far as they are known.
        steps: STEPS.
        sampling: the study's, as it is written.
        model: the study's; without it, or the extractor, the fingerprint stays open.

    Raises:
        UsageError: if the model cannot be sampled so, or no more finely than the study does.
    """
    options = sampling.options
    batch = options.batch
    n = ceil(enough_images(measure.width or _WIDTH) / batch) * batch
    asked = sampling.model_copy(update={"steps": steps, "site": "full"})  # λ = 1 has no site
    if model is None:
        return replace(measure, own=OwnSamples(asked, n, steps))
    coarse = len(model.grid(model.resolve(sampling)))
    try:
        finer = options.model_copy(update={"grid": rescaled(options, sampling.steps, steps)})
        resolved = model.resolve(asked.model_copy(update={"options": finer}))
        length = len(model.grid(resolved))
    except UsageError as error:
        raise UsageError(
            f"The reference {measure.reference} cannot be sampled: {error.cause}", error.hint
        ) from error
    if length <= coarse:
        raise UsageError(
            f"The reference {measure.reference} comes to {length} steps, no more than the "
            f"{coarse} that are measured against it.",
            f"Take several times as many after {OWN}, or a grid without sections.",
        )
    own = OwnSamples(resolved, n, length)
    if not (measure.extractor_fingerprint and measure.width):
        return replace(measure, own=own)
    sampled = _Sampled(model.framework, model.sha256, model.definition, resolved)
    name = fingerprint(
        {
            "scheme": _SCHEME,
            "family": family_of(sampled, OWN_SEED),
            "first": own_start(batch),
            "n": n,
            "extractor": measure.extractor_fingerprint,
        }
    )
    return replace(measure, own=own, reference_fingerprint=name)


def own_reference(measure: Measure, model: Model | None = None) -> Reference:
    """The reference of a measure `with_own_samples`; its moments are read when asked for."""
    assert measure.own is not None
    own, shape = measure.own, None if model is None else model.image_shape()

    def load(watch: Watch | None) -> Statistics:
        found = kept(measure)
        if found is None:
            raise ReferenceAway(
                f"The reference {measure.reference} is not on this host.",
                "Launch the study again: it is made, or sent, before it is needed.",
            )
        return found

    return Reference(
        measure.reference,
        measure.reference_fingerprint,
        measure.width,
        own.n,
        None if shape is None else (shape[1], shape[2], shape[0]),
        f"{own.n:,} of the model's own samples of {own.steps} steps at λ = 1; a distance to it "
        "measures agreement with these, not quality",
        None,
        None,
        load,
    )


def kept(measure: Measure) -> Statistics | None:
    """What this host keeps of a measure's own samples; None where there is nothing sound."""
    if not measure.reference_fingerprint:
        return None
    name, _, _ = measure.extractor.partition(":")
    described = Known(name, measure.extractor_fingerprint, measure.width)
    return recall(_place(measure), described)


def unmade(measures: Iterable[Measure]) -> list[OwnSamples]:
    """The samples that `measures` need and of which this host has no file, once each."""
    found: dict[str, OwnSamples] = {}
    for measure in measures:
        here = measure.reference_fingerprint and _place(measure).is_file()
        if measure.own is not None and not here:
            known = found.get(measure.reference, measure.own)
            found[measure.reference] = max(measure.own, known, key=lambda own: own.n)
    return list(found.values())


def keep(measure: Measure, statistics: Statistics) -> None:
    """Keeps the statistics of a measure's own samples on this host.

    Raises:
        LambdaSearchError: if they cannot be written; nothing half-written is left.
    """
    path = _place(measure)
    with saving(path, "Free some space, or move the data folder with LAMBDA_SEARCH_HOME."):
        private_folder(path.parent)
        write_statistics(path, statistics)


def statistics_of(measure: Measure, features: NDArray[np.float32], model: str) -> Statistics:
    """Moments of features [n, d] in index order, and evenly spread ones of them for KID.

    Arguments:
        measure: whose features.
        features: of the model's own samples.
        model: what made them, for people.
    """
    spread = np.linspace(0, len(features) - 1, min(len(features), KEPT_FEATURES)).round()
    moments = Moments.from_features(features, features[:_CENTRE].mean(0, dtype=np.float64))
    return Statistics(
        moments.mean.numpy(),
        moments.cov.numpy(),
        len(features),
        features[spread.astype(int)],
        measure.extractor_fingerprint,
        Path(measure.extractor).name,
        f"{measure.reference} of {model}",
    )


def _place(measure: Measure) -> Path:
    return references_folder() / f"{measure.reference_fingerprint}.npz"


def rescaled(options: SamplerOptions, steps: int, wanted: int) -> str | None:
    """The grid's word, with `wanted` in the place of the number of steps that it may hold."""
    word = options.grid
    if word is None or not re.search(r"\d", word):
        return word
    stem = word.removesuffix(str(steps))
    if stem == word or re.search(r"\d", stem):
        raise UsageError(
            f"the grid '{word}' is one of {steps} steps alone.",
            "Leave the option grid open, or take one that does not list sections.",
        )
    return f"{stem}{wanted}"
