r"""Along which line good schedules lie, by norms of ε: where a small search begins.

log r_i (`norms`) is nearly linear in a schedule's mean and tilt = k(T′ − 1), and its changes are
known from few images, since schedules share their noise. With b_m and b_t [T′] for a unit of each,
over the noisier half of the steps, norms stay as they are as nearly as can be where

    mean = 1 + ridge·tilt,   ridge = −Σ b_m b_t / Σ b_m²

On the bundled model with 10 steps that is −0.31 where FID's valley has −0.32 (ancestral), and
−0.47 where it has −0.42 (DDIM). Steps with less noise bend it away. How far to go along it norms
do not tell. A network that hardly feels the mean tells no line: beyond ±1, where a tilt would be
undone by more than its own size, it is held there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lambda_search.models.base import SCHEDULER
from lambda_search.models.base import Model
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.noise import Array
from lambda_search.setting import Sampling

__all__ = ["Reach", "adds_noise", "ridge_of"]

_STEEPEST = 1.0
_SAME = 1e-2
"""Images that differ by less have no noise apart."""


@dataclass(frozen=True)
class Reach:
    """How far from λ = 1 it is looked, over a grid of `steps` steps.

    Arguments:
        mean: in λ̄.
        tilt: in k(T′ − 1); 0: constants alone.
        steps: T′.
    """

    mean: float
    tilt: float
    steps: int

    def schedule(self, mean: float, tilt: float) -> LambdaSchedule:
        """The schedule of this mean and tilt, at a resolution that people can read."""
        slope = round(tilt / max(self.steps - 1, 1), 7) + 0.0
        found = LambdaSchedule.from_mean(round(mean, 5), slope, self.steps)
        return LambdaSchedule(round(found.b, 9), slope)


def adds_noise(model: Model, sampling: Sampling) -> bool:
    """Whether the steps of a resolved sampling add noise.

    Of a scheduler of diffusers two images tell, which have their start in common.
    """
    if sampling.sampler != SCHEDULER:
        options = sampling.options
        return sampling.sampler == "ancestral" or bool(options.eta or options.s_churn)
    one, other = (counter_noise(model, seed, [0]) for seed in (0, 1))

    def mixed(number: int) -> Tensor:
        return (other if number else one)(number)

    labels = default_labels(model, [0])
    first, second = (
        sample_batch(model, sampling, LambdaSchedule(), draw, labels) for draw in (one, mixed)
    )
    return not torch.allclose(first, second, atol=_SAME)


def ridge_of(by_mean: Array, by_tilt: Array) -> float:
    """How the mean of good schedules moves with a unit of the tilt.

    Arguments:
        by_mean, by_tilt: how log r_i changes with a unit of each, [T′]; 0 if they are not finite.
    """
    half = slice(max(min(len(by_mean) // 2, len(by_mean) - 2), 0), None)
    means, tilts = by_mean[half], by_tilt[half]
    square = float(means @ means)
    if not (square and np.isfinite(square) and np.isfinite(tilts).all()):
        return 0.0
    return float(np.clip(-float(means @ tilts) / square, -_STEEPEST, _STEEPEST))
