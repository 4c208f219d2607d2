"""Schedules that a diagnosis tries: their norms on the way, and their distance to clean images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lambda_search.errors import Diverged
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import paired
from lambda_search.metrics.evidence import score
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.models.base import Model
from lambda_search.records import NormsAt
from lambda_search.records import Tried
from lambda_search.records import norms_off
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.clean import features_of
from lambda_search.search.noise import Array
from lambda_search.search.norms import sampled
from lambda_search.search.valley import Reach
from lambda_search.setting import Sampling

__all__ = ["PROBED", "Run", "Target"]

PROBED = 32
"""Images of each probe, which has half the reach of the mean, or of the tilt."""
_COMPONENTS = 64
"""Of the features the leading principal components of the clean images are compared."""


@dataclass(frozen=True)
class Target:
    """Clean features in their leading principal components.

    Arguments:
        axes: [d, k].
        frechet: to measure distances to.
    """

    axes: Tensor
    frechet: FrechetReference

    @classmethod
    def of(cls, features: Tensor) -> Target:
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


class Run:
    """The schedules that were tried, λ = 1 first, and what became of them."""

    def __init__(
        self,
        model: Model,
        sampling: Sampling,
        seed: int,
        extractor: OwnNetworkExtractor,
        target: Target,
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

    def curve(self, number: int, truth: Tensor) -> tuple[NormsAt, ...]:
        """Norms of a schedule beside `truth` [T′, m], on the same noise."""
        norms = self.found[number].norms[:, : truth.shape[1]].mean(1).tolist()
        grid = self._model.grid(self._sampling)
        levels = zip(grid.sigma, grid.alpha, norms, truth.mean(1).tolist(), strict=True)
        return tuple(
            NormsAt(i, sigma / alpha if alpha else None, here, there)
            for i, (sigma, alpha, here, there) in enumerate(levels)
        )

    def gain(self, number: int) -> tuple[float, float]:
        """The share by which a schedule lowers the distance, and its standard error."""
        one, baseline = self.found[number].score, self.found[0].score
        against = paired(one, baseline, math.nan)
        level = max(baseline.corrected, baseline.standard_error)
        return against.gain / level, against.standard_error / level

    def tried(self, number: int, truth: Tensor) -> Tried:
        """What is told of a schedule."""
        one = self.found[number]
        mean, off = one.schedule.mean(len(truth)), norms_off(self.curve(number, truth))
        return Tried(one.schedule, mean, one.schedule.k, one.score.n, *self.gain(number), off)

    def _change(self, schedule: LambdaSchedule) -> Array:
        _, norms = self._sampled(schedule, PROBED)
        at_one = self.found[0].norms[:, :PROBED]
        found: Array = (norms.mean(1).log() - at_one.mean(1).log()).numpy()
        return found

    def _sampled(self, schedule: LambdaSchedule, n: int) -> tuple[Tensor, Tensor]:
        self.images += n
        return sampled(self._model, self._sampling, schedule, self._seed, range(n))
