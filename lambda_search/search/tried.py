"""Schedules that a diagnosis tries: their norms on the way, and their distance to clean images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lambda_search.errors import Diverged
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import score
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.models.base import Model
from lambda_search.records import NormsAt
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.clean import features_of
from lambda_search.search.norms import sampled
from lambda_search.search.valley import Reach
from lambda_search.search.valley import ridge_of
from lambda_search.setting import Sampling

__all__ = ["Run", "Target"]

_COMPONENTS = 32
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

    @property
    def width(self) -> int:
        """How many components there are."""
        return self.axes.shape[1]

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


class Run:
    """What becomes of schedules on blocks of indices, and how many images that took.

    Arguments:
        model: which network.
        sampling: resolved.
        seed: of the noise.
        extractor, target: what measures how far samples are from clean images.
        n: images of a block, whole batches.

    Raises:
        Diverged: if λ = 1 makes images that are not finite.
    """

    def __init__(
        self,
        model: Model,
        sampling: Sampling,
        seed: int,
        extractor: OwnNetworkExtractor,
        target: Target,
        n: int,
    ) -> None:
        self._model, self._sampling, self._seed = model, sampling, seed
        self._extractor, self._target = extractor, target
        self.n, self.images = n, 0
        self._at_one = self._sampled(LambdaSchedule(), range(n))
        if not all(one.isfinite().all() for one in self._at_one):
            raise Diverged(
                "λ = 1 makes images that are not finite.", "Take precision fp32 or bf16."
            )

    def ridge(self, reach: Reach, n: int) -> float:
        """How the mean moves with the tilt where norms of ε stay as they are, by n images."""
        if not reach.tilt:
            return 0.0
        by_mean = self._change(reach.schedule(1 + reach.mean / 2, 0.0), n) / (reach.mean / 2)
        by_tilt = self._change(reach.schedule(1.0, reach.tilt / 2), n) / (reach.tilt / 2)
        return ridge_of(by_mean.numpy(), by_tilt.numpy())

    def score(self, schedule: LambdaSchedule, first: int) -> Score | None:
        """The distance of a schedule's block from index `first` on; none if it is not finite.

        Raises:
            Diverged: if λ = 1 has such features of the first block.
        """
        if schedule.is_identity and first == 0:
            states, _ = self._at_one
        else:
            states, _ = self._sampled(schedule, range(first, first + self.n))
        try:
            features = features_of(self._model, self._extractor, states)
            if not features.isfinite().all():
                raise Diverged(
                    "The network's features hold NaN or infinity.", "Take precision fp32 or bf16."
                )
        except Diverged:
            if schedule.is_identity and first == 0:
                raise
            return None
        return self._target.score(features)

    def curve(self, truth: Tensor) -> tuple[NormsAt, ...]:
        """Norms at λ = 1 beside `truth` [T′, m], on the same noise."""
        norms = self._at_one[1][:, : truth.shape[1]].mean(1).tolist()
        grid = self._model.grid(self._sampling)
        levels = zip(grid.sigma, grid.alpha, norms, truth.mean(1).tolist(), strict=True)
        return tuple(
            NormsAt(i, sigma / alpha if alpha else None, here, there)
            for i, (sigma, alpha, here, there) in enumerate(levels)
        )

    def _change(self, schedule: LambdaSchedule, n: int) -> Tensor:
        """How log ‖ε‖ [T′] differs from that at λ = 1 on the first n images."""
        _, norms = self._sampled(schedule, range(n))
        return norms.mean(1).log() - self._at_one[1][:, :n].mean(1).log()

    def _sampled(self, schedule: LambdaSchedule, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        self.images += len(indices)
        return sampled(self._model, self._sampling, schedule, self._seed, indices)
