"""Making what `self:STEPS` names: on the workers like any other images, or in this process.

What a killed process had sampled lies in files by content, so that whoever makes it again goes on
there. It is made once for all studies of a process that need it, and kept for all that come.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lambda_search.errors import Diverged
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.extractors.own_network import extracted
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.models.base import Model
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.models.sampling import to_uint8
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.gathering import Reading
from lambda_search.work.gathering import Source
from lambda_search.work.halting import Halt
from lambda_search.work.own import keep
from lambda_search.work.own import kept
from lambda_search.work.own import statistics_of
from lambda_search.work.recipe import OWN_SEED
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import OwnSamples
from lambda_search.work.recipe import own_start
from lambda_search.work.scoring import Summarise

__all__ = ["Say", "make_here", "make_own", "missing"]

Say = Callable[[str], None]
"""Is told what happens, a line for people."""

_LOOK_SECONDS = 0.2
_MAKING: dict[str, threading.Lock] = {}
"""One maker at a time in this process, by the samples' family."""


def missing(measures: Sequence[Measure]) -> list[list[Measure]]:
    """Those of `measures` whose own samples this host has not, together where they share them."""
    found: dict[str, list[Measure]] = {}
    for measure in measures:
        if measure.own is not None and kept(measure) is None:
            found.setdefault(measure.reference, []).append(measure)
    return list(found.values())


def make_own(source: Source, say: Say) -> None:
    """Has the pool make what is missing of a recipe's own samples, and keeps their statistics.

    Arguments:
        source: of the study's images; what is counted and what ends the waiting is its own.
        say: is told when it begins and when it is there.

    Raises:
        Diverged: if the samples are not finite; and whatever else a worker's task raised.
    """
    for measures in missing(source.recipe.measures):
        own = _largest(measures)
        recipe = replace(source.recipe, sampling=own.sampling, seed=OWN_SEED)
        identity = replace(source.identity, seed=OWN_SEED)
        there = replace(source, recipe=recipe, identity=identity)
        with _alone(recipe.family, source.halt):
            left = [measure for several in missing(measures) for measure in several]
            if left:
                _make(there, left, say)


def _make(source: Source, measures: Sequence[Measure], say: Say) -> None:
    own, name, recipe = _largest(measures), measures[0].reference, source.recipe
    say(_begins(name, own))
    first, told = own_start(recipe.batch), f"{recipe.framework} {recipe.weights[:12]}"
    gathering = source.gather(LambdaSchedule(), first, own.n, measures)
    try:
        gathering.wait()
        readings: list[Reading[Statistics]] = [
            Reading(
                source,
                Summarise(measure, gathering.rows(measure, measure.own.n), told),
                [gathering],
            )
            for measure in measures
            if measure.own is not None
        ]
        for measure, reading in zip(measures, readings, strict=True):
            keep(measure, reading.result())
    except Diverged as error:
        raise Diverged(f"The reference {name}: {error.cause}", error.hint) from error
    source.shards.forget(recipe.family)  # another process that makes it too samples anew
    say(f"the reference {name} is made")


def make_here(
    model: Model,
    measures: Sequence[Measure],
    extractors: Mapping[str, Extractor],
    say: Say | None = None,
) -> None:
    """The same in this process, which keeps nothing if it is interrupted.

    Arguments:
        model: which.
        measures: of its images.
        extractors: by their fingerprints.
        say: is told when it begins.
    """
    for left in missing(measures):
        own = _largest(left)
        if say is not None:
            say(_begins(left[0].reference, own))
        parts: list[list[NDArray[np.float32]]] = [[] for _ in left]
        batch = own.sampling.options.batch
        first = own_start(batch)
        for start in range(first, first + own.n, batch):
            indices = range(start, start + batch)
            noise = counter_noise(model, OWN_SEED, indices)
            labels = default_labels(model, indices)
            states = sample_batch(model, own.sampling, LambdaSchedule(), noise, labels)
            images = to_uint8(model.decode(states))
            for part, measure in zip(parts, left, strict=True):
                extractor = extractors[measure.extractor_fingerprint]
                part.append(extracted(extractor, states, images).numpy())
        for part, measure in zip(parts, left, strict=True):
            assert measure.own is not None
            features = np.concatenate(part)[: measure.own.n]
            told = f"{model.framework} {model.sha256[:12]}"
            keep(measure, statistics_of(measure, features, told))


def _begins(name: str, own: OwnSamples) -> str:
    images = f"{own.n:,} of the model's own samples of {own.steps} steps"
    return f"the reference {name}: making {images}, once for all studies that need it"


def _largest(measures: Sequence[Measure]) -> OwnSamples:
    """The samples of the measure that needs most; the others take the first of them."""
    return max((one.own for one in measures if one.own is not None), key=lambda own: own.n)


@contextmanager
def _alone(family: str, halt: Halt) -> Iterator[None]:
    """Waits until nobody else in this process makes samples of `family`."""
    lock = _MAKING.setdefault(family, threading.Lock())
    while not lock.acquire(timeout=_LOOK_SECONDS):
        halt.check()
    try:
        yield
    finally:
        lock.release()
