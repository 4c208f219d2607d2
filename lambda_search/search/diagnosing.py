"""A prediction of λ from at most 1,000 images and no extractor but the model's own network.

λ = 1, and two schedules beside it on few of its images, tell how norms of ε change with mean and
tilt; with norms at true noised images they name a schedule (`valley`). This one and the one half
way to it are sampled on all of λ = 1's noise and compared with it by the Fréchet distance of
features of the model's own middle block at a fairly noisy level (`own_network`) to those of a few
hundred clean images. What is expected of a schedule is half what this distance says and half what
such schedules have been worth; λ = 1 is recommended where that is nothing.

Why so, measured on the bundled model with 10 steps: between schedules on 100 images the distance
is known to 3 to 8 % of itself and is off from FID's by as much again, so that it tells bad ones
and does not find the best; norms are known to 0.1 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lambda_search.errors import Diverged
from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import paired
from lambda_search.metrics.evidence import score
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.references.load import IMAGES
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.records import Diagnosis
from lambda_search.records import NormsAt
from lambda_search.records import Tried
from lambda_search.records import norms_off
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.clean import Clean
from lambda_search.search.clean import features_of
from lambda_search.search.clean import own_images
from lambda_search.search.clean import real_images
from lambda_search.search.noise import Array
from lambda_search.search.norms import sampled
from lambda_search.search.norms import true_norms
from lambda_search.search.ranges import usual_ranges
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

_COMPONENTS = 64
"""Of the features the leading principal components of the clean images are compared."""
_BATCH = 32
_PROBED = 32
"""Images of each probe, which has half the reach of the mean, or of the tilt."""
_REAL, _OWN, _OWN_NORMS = 400, 192, 64
"""Clean images: real ones; own samples; own samples where real ones lack their labels."""
_CREDIT = ((1.0, 0.1), (0.5, 0.08))
"""Schedules by their share of the way from λ = 1 to what norms name, and the share of the distance
that each is expected to be worth before it is measured.

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
    target = _Target.of(features_of(model, extractor, clean.states))
    run = _Run(model, sampling, seed, extractor, target)
    batch, probes = sampling.options.batch, _PROBED * (2 if reach.tilt else 1)
    n = (images - made - probes) // (1 + len(_CREDIT)) // batch * batch
    say(f"{n} images of λ = 1, and {probes} beside them: how norms of ε change")
    run.measure(LambdaSchedule(), n)
    by_mean, by_tilt = run.changes(reach)
    say("norms of ε at true noised images")
    indices = range(min(n, len(known.states)))
    truth = true_norms(model, sampling, *known.first(len(indices)), seed, indices)
    curve = run.curve(0, truth)
    log_r = np.log([one.ratio for one in curve])
    mean, tilt = matched(reach, log_r, by_mean, by_tilt, adds_noise(sampling))
    named = [reach.schedule(1 + share * (mean - 1), share * tilt) for share, _ in _CREDIT]
    say(f"{n * len(named)} images of λ(i) = {' and '.join(map(str, named))}")
    schedule, gain, error = run.best(named, n)
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


@dataclass(frozen=True)
class _Target:
    """Clean features in their leading principal components.

    Arguments:
        axes: [d, k].
        frechet: to measure distances to.
    """

    axes: Tensor
    frechet: FrechetReference

    @classmethod
    def of(cls, features: Tensor) -> _Target:
        """That of features [n, d]; no more components than a quarter of their number."""
        known = features.double()
        most = min(_COMPONENTS, known.shape[1], max(len(known) // 4, 1))
        _, vectors = torch.linalg.eigh(torch.cov(known.T).reshape(known.shape[1], -1))
        axes = vectors[:, -most:]
        moments = Moments.from_features(known @ axes)
        return cls(axes, FrechetReference(moments.mean, moments.cov))

    def score(self, features: Tensor) -> Score:
        """The distance of features [n, d]."""
        return score(features.double() @ self.axes, self.frechet)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A schedule on the first images: its score, and ‖ε‖ [T′, n]."""

    schedule: LambdaSchedule
    score: Score
    norms: Tensor


class _Run:
    """The schedules that were tried, λ = 1 first, and what became of them."""

    def __init__(
        self,
        model: Model,
        sampling: Sampling,
        seed: int,
        extractor: OwnNetworkExtractor,
        target: _Target,
    ) -> None:
        self._model, self._sampling, self._seed = model, sampling, seed
        self._extractor, self._target = extractor, target
        self.found: list[_Seen] = []
        self.images = 0

    def measure(self, schedule: LambdaSchedule, n: int) -> bool:
        """Scores a schedule on the first n images; false if they are not finite.

        Raises:
            Diverged: if λ = 1 makes such images.
        """
        states, norms = self._sampled(schedule, n)
        try:
            features = features_of(self._model, self._extractor, states)
            if not features.isfinite().all():
                raise Diverged(
                    "The network's features hold NaN or infinity.", "Take precision fp32 or bf16."
                )
        except Diverged:
            if not self.found:
                raise
            return False
        self.found.append(_Seen(schedule, self._target.score(features), norms))
        return True

    def changes(self, reach: Reach) -> tuple[Array, Array]:
        """How log ‖ε‖ changes with a unit of the mean, and of the tilt, [T′] each."""
        mean, tilt = reach.mean / 2, reach.tilt / 2
        by_mean = self._change(reach.schedule(1 + mean, 0.0)) / mean
        by_tilt = self._change(reach.schedule(1.0, tilt)) / tilt if tilt else 0 * by_mean
        return by_mean, by_tilt

    def best(self, named: Sequence[LambdaSchedule], n: int) -> tuple[LambdaSchedule, float, float]:
        """Of λ = 1 and the schedules `named` the one of the largest expected gain.

        With that, and with the standard error of what was measured in it.
        """
        best = LambdaSchedule(), 0.0, 0.0
        for schedule, (_, credit) in zip(named, _CREDIT, strict=True):
            if schedule.is_identity or not self.measure(schedule, n):
                continue
            gain, error = self._gain(len(self.found) - 1)
            if (credit + gain) / 2 > best[1]:
                best = schedule, (credit + gain) / 2, error / 2
        return best

    def curve(self, number: int, truth: Tensor) -> tuple[NormsAt, ...]:
        """Norms of a schedule beside `truth` [T′, m], on the same noise."""
        norms = self.found[number].norms[:, : truth.shape[1]].mean(1).tolist()
        grid = self._model.grid(self._sampling)
        levels = zip(grid.sigma, grid.alpha, norms, truth.mean(1).tolist(), strict=True)
        return tuple(
            NormsAt(i, sigma / alpha if alpha else None, here, there)
            for i, (sigma, alpha, here, there) in enumerate(levels)
        )

    def _gain(self, number: int) -> tuple[float, float]:
        """The share by which a schedule lowers the distance, and its standard error."""
        one, baseline = self.found[number].score, self.found[0].score
        against = paired(one, baseline, math.nan)
        level = max(baseline.corrected, baseline.standard_error)
        return against.gain / level, against.standard_error / level

    def tried(self, number: int, truth: Tensor) -> Tried:
        """What is told of a schedule."""
        one = self.found[number]
        mean, off = one.schedule.mean(len(truth)), norms_off(self.curve(number, truth))
        return Tried(one.schedule, mean, one.schedule.k, one.score.n, *self._gain(number), off)

    def _change(self, schedule: LambdaSchedule) -> Array:
        _, norms = self._sampled(schedule, _PROBED)
        at_one = self.found[0].norms[:, :_PROBED]
        found: Array = (norms.mean(1).log() - at_one.mean(1).log()).numpy()
        return found

    def _sampled(self, schedule: LambdaSchedule, n: int) -> tuple[Tensor, Tensor]:
        self.images += n
        return sampled(self._model, self._sampling, schedule, self._seed, range(n))
