"""A prediction of λ from at most 1,000 images and no extractor but the model's own network.

λ = 1, and two schedules beside it on few of its images, tell how norms of ε change with mean and
tilt; with norms at true noised images they name a schedule (`valley`). This one and the one half
way to it are sampled on all of λ = 1's noise and compared with it by the Fréchet distance of
features of the model's own middle block at a fairly noisy level (`own_network`) to those of a few
hundred clean images. One that comes farther from these by more than a frozen share is not
recommended; if both do, λ = 1 is.

Why so, measured on the bundled model with 10 steps: between schedules on 100 images the distance
is known to 3 to 8 % of itself and is off from FID's by as much again, so that it tells bad ones
and does not find the best; norms are known to some 0.1 %.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.references.load import IMAGES
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.records import Diagnosis
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.clean import Clean
from lambda_search.search.clean import features_of
from lambda_search.search.clean import own_images
from lambda_search.search.clean import real_images
from lambda_search.search.norms import true_norms
from lambda_search.search.ranges import usual_ranges
from lambda_search.search.tried import PROBED
from lambda_search.search.tried import Run
from lambda_search.search.tried import Target
from lambda_search.search.valley import Reach
from lambda_search.search.valley import adds_noise
from lambda_search.search.valley import matched
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import Sampling
from lambda_search.setting import Site
from lambda_search.spec.searching import DEFAULT_TILT

__all__ = ["FEWEST_IMAGES", "MOST_IMAGES", "diagnose"]

MOST_IMAGES, FEWEST_IMAGES = 1000, 500
"""What a diagnosis samples, own samples of the model included, unless told, and at least."""

_BATCH = 32
_REAL, _OWN, _OWN_NORMS = 400, 192, 64
"""Clean images: real ones; own samples; own samples where real ones lack their labels."""
_ALLOWED = ((1.0, 0.1), (0.5, 0.08))
"""Schedules by their share of the way from λ = 1 to what norms name, and the share by which the
distance may rise with each before it is taken for bad.

Like all constants here and in `valley` these were set on ancestral sampling and DDIM with 10 steps
of the bundled model alone (scripts/measure_diagnose.py)."""


def diagnose(
    model: Model,
    sampler: str,
    steps: int,
    *,
    reference: str | None = None,
    constant: bool = False,
    images: int = MOST_IMAGES,
    seed: int = 0,
    guidance: float | None = None,
    site: Site = "full",
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Diagnosis:
    """How a model's inputs drift in sampling, and the λ(i) to begin with, from 1,000 images.

    Arguments:
        model, sampler, steps, guidance, site, options: as in `sample`.
        reference: `images:PATH`, real images; without any the model's own samples of many steps
            stand for them.
        constant: whether λ is to be one number, k = 0.
        images: to sample at most, own samples of the model included; 1,000 are usual, and more
            tell better only what is far off.
        seed: of the noise.
        say: is told what is being done.

    Raises:
        UsageError: for what the model cannot do, and for images that cannot be used.
        Diverged: if λ = 1 makes images that are not finite.
    """
    if images < FEWEST_IMAGES:
        raise UsageError(
            f"{images} images tell too little.", f"Take {FEWEST_IMAGES} or more; 1,000 are usual."
        )
    sampling = _in_small_batches(model, sampling_of(sampler, steps, guidance, site, options))
    length = len(model.grid(sampling))
    reach = _reach(model, sampling, length, constant)
    extractor = OwnNetworkExtractor(OWN_NETWORK, model)
    clean, known = _clean(model, sampling, extractor, reference, say)
    made = clean.made if known is clean else clean.made + known.made
    target = Target.of(features_of(model, extractor, clean.states))
    run = Run(model, sampling, seed, extractor, target)
    batch, probes = sampling.options.batch, PROBED * (2 if reach.tilt else 1)
    n = (images - made - probes) // (1 + len(_ALLOWED)) // batch * batch
    say(f"{n} images of λ = 1, and {probes} beside them: how norms of ε change")
    run.measure(LambdaSchedule(), n)
    by_mean, by_tilt = run.changes(reach)
    say("norms of ε at true noised images")
    indices = range(min(n, len(known.states)))
    truth = true_norms(model, sampling, *known.first(len(indices)), seed, indices)
    curve = run.curve(0, truth)
    log_r = np.log([one.ratio for one in curve])
    mean, tilt = matched(reach, log_r, by_mean, by_tilt, adds_noise(sampling))
    named = [reach.schedule(1 + share * (mean - 1), share * tilt) for share, _ in _ALLOWED]
    say(f"{n * len(named)} images of λ(i) = {' and '.join(map(str, named))}")
    schedule, gain, error = _best(run, named, n)
    return Diagnosis(
        model.framework,
        model.sha256,
        sampler,
        length,
        schedule,
        schedule.mean(length),
        schedule.k,
        gain,
        error,
        named[0],
        curve,
        tuple(run.tried(number, truth) for number in range(len(run.found))),
        run.images + made,
        seed,
        extractor.summary,
        clean.words,
        known.words,
    )


def _best(
    run: Run, named: Sequence[LambdaSchedule], n: int
) -> tuple[LambdaSchedule, float, float]:
    """The schedule of `named` whose distance stays farthest below what is allowed.

    λ = 1 if none does; with its gain and the standard error of that.
    """
    best, most = (LambdaSchedule(), 0.0, 0.0), 0.0
    for schedule, (_, allowed) in zip(named, _ALLOWED, strict=True):
        if schedule.is_identity or not run.measure(schedule, n):
            continue
        gain, error = run.gain(len(run.found) - 1)
        if gain + allowed > most:
            best, most = (schedule, gain, error), gain + allowed
    return best


def _in_small_batches(model: Model, asked: Sampling) -> Sampling:
    batch = min(_BATCH, asked.options.batch)
    small = asked.options.model_copy(update={"batch": batch})
    return model.resolve(asked.model_copy(update={"options": small}))


def _reach(model: Model, sampling: Sampling, length: int, constant: bool) -> Reach:
    """Half of what studies of such a model look through, where its optima are published.

    Elsewhere half of what a study file leaves open.
    """
    mean, slope = usual_ranges(model.framework, sampling.sampler, length, sampling.site)
    span = length - 1
    low, high = DEFAULT_TILT if slope is None else (span * slope[0], span * slope[1])
    tilt = 0.0 if constant or not span else (high - low) / 2
    return Reach((mean[1] - mean[0]) / 2, tilt, length)


def _clean(
    model: Model,
    sampling: Sampling,
    extractor: OwnNetworkExtractor,
    reference: str | None,
    say: Callable[[str], None],
) -> tuple[Clean, Clean]:
    """The images that features are compared with, and those of the true norms.

    The labels of real images are not known; with others than their own the network would see
    images that it was never trained for. So a model that has labels tells its own samples.
    """
    batch = sampling.options.batch

    def own(n: int) -> Clean:
        say(f"{n} of the model's own samples of many steps")
        return own_images(model, sampling, -(-n // batch) * batch)

    if reference is None:
        both = own(_OWN)
        return both, both
    if not reference.startswith(IMAGES):
        raise UsageError(
            f"{reference} holds no images to look at.",
            f"Name {IMAGES}PATH, or leave it out: the model's own samples of many steps stand for "
            "real images then.",
        )
    if extractor.of_states:
        extractor.check_reference(reference)
    real = real_images(model, reference, _REAL)
    return real, real if model.classes is None else own(_OWN_NORMS)
