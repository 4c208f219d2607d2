r"""Samplers, all of them the one update in variance-exploding coordinates.

With the network's ε divided by λ(i), x0 = (x − σε)/α (clipped where the framework clips, and then
ε = (x − αx0)/σ again), step i from (α, σ) to (α', σ') is

    x' = α'·(x0 + σ_target·ε + σ_up·z),        σ̄ = σ/α,

    ddim       σ_up = (1/α')·η·√(σ'²/σ² · (1 − α²/α'²)),   σ_target = √(σ̄'² − σ_up²)
               (Song et al. 2020, arXiv:2010.02502, eq. 12 and 16; η = 0 is Euler's method)
    ancestral  σ_up = √variance/α',                        σ_target = σ̄'²/σ̄
               (Ho et al. 2020, arXiv:2006.11239, eq. 6 and 7)

No noise enters the step to a clean image (σ' = 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from typing import TypeAlias

from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.scaling import scale_epsilon

__all__ = ["SAMPLER_REVISION", "Prediction", "Site", "StepRule", "ancestral", "ddim", "integrate"]

SAMPLER_REVISION = 1
"""Part of every fingerprint: raised by any change of the arithmetic here."""

Site: TypeAlias = Literal["full", "x0_only"]
Variance: TypeAlias = Literal["learned", "small", "large"]


@dataclass(frozen=True)
class Prediction:
    """What a network says of a state.

    Arguments:
        epsilon: the predicted noise, the state's shape.
        variance_logit: v of a learned-range network, −1 (small) to 1 (large), or None.
    """

    epsilon: Tensor
    variance_logit: Tensor | None = None


StepRule: TypeAlias = Callable[[Grid, int, Prediction], tuple[float, "float | Tensor"]]
"""(grid, i, prediction) → (σ_target, σ_up)."""


def ddim(eta: float = 0.0) -> StepRule:
    """DDIM: deterministic for η = 0, as noisy as the DDPM posterior for η = 1."""

    def rule(grid: Grid, i: int, _: Prediction) -> tuple[float, float]:
        target = grid.sigma_next[i] / grid.alpha_next[i]
        small, _large = grid.posterior_variances(i)
        up = eta * max(small, 0.0) ** 0.5 / grid.alpha_next[i]
        return max(target**2 - up**2, 0.0) ** 0.5, up

    return rule


def ancestral(variance: Variance) -> StepRule:
    """DDPM ancestral sampling with the fixed small, fixed large or learned-range variance.

    Learned range (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15): log variance = f·log β +
    (1 − f)·log β̃ with f = (v + 1)/2.
    """

    def rule(grid: Grid, i: int, prediction: Prediction) -> tuple[float, float | Tensor]:
        noise_now = grid.sigma[i] / grid.alpha[i]
        noise_next = grid.sigma_next[i] / grid.alpha_next[i]
        target = noise_next**2 / noise_now
        if noise_next == 0:
            return target, 0.0
        small, large = grid.posterior_variances(i)
        if variance == "learned":
            assert prediction.variance_logit is not None
            share = (prediction.variance_logit + 1) / 2
            deviation: float | Tensor = small**0.5 * (0.5 * math.log(large / small) * share).exp()
        else:
            deviation = (small if variance == "small" else large) ** 0.5
        return target, deviation / grid.alpha_next[i]

    return rule


def integrate(
    predict: Callable[[Tensor, float], Prediction],
    grid: Grid,
    rule: StepRule,
    lambdas: tuple[float, ...],
    start: Tensor,
    draw: Callable[[int], Tensor],
    *,
    site: Site = "full",
    clip: bool = False,
) -> Tensor:
    """Walks the grid from noise to sample.

    Arguments:
        predict: (state, time) → Prediction, guidance included.
        grid: T′ steps.
        rule: which sampler.
        lambdas: λ(0), …, λ(T′ − 1).
        start: the state at the noisiest level, [n, c, h, w].
        draw: j ≥ 1 → the j-th step's noise, noisy to clean, like `start`; asked for where used
            only.
        site: `full` divides ε wherever it is used, `x0_only` only in the estimate of x0.
        clip: whether x0 is clipped to [−1, 1].

    Returns:
        The state after the last step, like `start`, not clamped.
    """
    x = start
    for j, i in enumerate(reversed(range(len(grid))), start=1):
        alpha, sigma = grid.alpha[i], grid.sigma[i]
        prediction = predict(x, grid.times[i])
        scaled = scale_epsilon(prediction.epsilon, lambdas[i])
        x0 = (x - sigma * scaled) / alpha
        direction = scaled if site == "full" else prediction.epsilon
        if clip:
            unscaled = x0 if site == "full" else (x - sigma * direction) / alpha
            x0 = x0.clamp(-1, 1)
            direction = (x - alpha * unscaled.clamp(-1, 1)) / sigma
        target, up = rule(grid, i, prediction)
        x = x0 + target * direction
        if isinstance(up, Tensor) or up != 0:
            x = x + up * draw(j)
        x = grid.alpha_next[i] * x
    return x
