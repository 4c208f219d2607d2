r"""The schedule that norms of ε name: along which line good ones lie, and where on it.

log r_i (`norms`) is nearly linear in a schedule's mean and tilt = k(T′ − 1), and its changes are
known from few images, since schedules share their noise. With b_m and b_t [T′] for a unit of each
and l_i = log r_i at λ = 1, all over the noisier half of the steps, the line

    mean(tilt) = 1 − Σ b_m (l + b_t·tilt) / Σ b_m²

is that of the means that match norms best. On the bundled model with 10 steps it runs as the
valley of FID does: mean 0.999 − 0.31·tilt where FID's is 1.008 − 0.32·tilt (ancestral),
0.998 − 0.48·tilt where it is 0.997 − 0.42·tilt (DDIM). Steps with less noise bend it away.

The place on the line is, where steps add noise, the tilt that matches norms best there, pulled
towards 0 where norms hardly depend on it. Where they add none, norms do not tell it: on the line
they hardly change. There λ_i = r_i, which would undo what has gone wrong already, is right in
kind and rises too steeply: a quarter of its tilt is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambda_search.schedule import LambdaSchedule
from lambda_search.search.noise import Array
from lambda_search.setting import Sampling

__all__ = ["Reach", "adds_noise", "matched"]

_UNKNOWN = 0.0005
"""Standard deviation of what log r_i has that no schedule changes."""
_SHARE = 0.25
"""Of the tilt of λ_i = r_i."""


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


def adds_noise(sampling: Sampling) -> bool:
    """Whether the steps of a resolved sampling add noise."""
    options = sampling.options
    return sampling.sampler == "ancestral" or bool(options.eta or options.s_churn)


def matched(
    reach: Reach, log_r: Array, by_mean: Array, by_tilt: Array, noisy: bool
) -> tuple[float, float]:
    """(mean, tilt) of the schedule that norms name, in reach.

    Arguments:
        reach: how far to look.
        log_r: log r_i at λ = 1, [T′].
        by_mean, by_tilt: how it changes with a unit of each, [T′].
        noisy: whether steps add noise.
    """
    half = slice(reach.steps // 2, None)
    left, means, tilts = log_r[half], by_mean[half], by_tilt[half]
    square = float(means @ means)
    if not square:
        return 1.0, 0.0
    tilt = 0.0
    if reach.tilt and noisy:
        along = tilts - means * float(means @ tilts) / square
        across = left - means * float(means @ left) / square
        weight = float(along @ along) + (_UNKNOWN / reach.tilt) ** 2
        tilt = -float(along @ across) / weight
    elif reach.tilt and reach.steps > 2:
        index = np.arange(1, reach.steps)
        tilt = _SHARE * float(np.polyfit(index, log_r[1:], 1)[0]) * (reach.steps - 1)
    tilt = float(np.clip(tilt, -reach.tilt, reach.tilt))
    mean = -float(means @ (left + tilt * tilts)) / square
    return 1 + float(np.clip(mean, -reach.mean, reach.mean)), tilt
