r"""First-order samplers, all of them the one update in variance-exploding coordinates.

With the network's ε divided by λ(i), x0 = (x − σε)/α (clipped where the framework clips, and then
ε = (x − αx0)/σ again), step i from (α, σ) to (α', σ') is

    x' = α'·(x0 + σ_target·ε + σ_up·z),        σ̄ = σ/α,

    Ddim       σ_up = (1/α')·η·√(σ'²/σ² · (1 − α²/α'²)),   σ_target = √(σ̄'² − σ_up²)
               (Song et al. 2020, arXiv:2010.02502, eq. 12 and 16; η = 0 is Euler's method)
    Ancestral  σ_up = √variance/α',                        σ_target = σ̄'²/σ̄
               (Ho et al. 2020, arXiv:2006.11239, eq. 6 and 7)

At pure noise (α = 0) the network gives x0 itself, and λ = 1. No noise enters the step to a clean
image (σ' = 0). A classifier's score s = ∇ log p(y|x), where a
model has one, is not divided by λ: it joins the ancestral mean as variance·s, and DDIM's direction
as −σ·s (Dhariwal & Nichol 2021, arXiv:2105.05233, alg. 1 and 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Literal
from typing import Protocol
from typing import TypeAlias

from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.scaling import divided

if TYPE_CHECKING:  # a bare machine with torch alone samples too
    from lambda_search.setting import Site

__all__ = [
    "SAMPLER_REVISION",
    "Ancestral",
    "Ddim",
    "Observer",
    "Prediction",
    "Step",
    "StepRule",
    "Variance",
    "integrate",
    "unobserved",
]

SAMPLER_REVISION = 1
"""Part of every fingerprint: raised by any change of the samplers' arithmetic."""

Variance: TypeAlias = Literal["learned", "small", "large"]


@dataclass(frozen=True)
class Prediction:
    """What a network says of a state.

    Arguments:
        epsilon: the predicted noise, the state's shape.
        variance_logit: v of a learned-range network, −1 (small) to 1 (large), or None.
        score: a classifier's ∇ log p(y|x) times its scale, the state's shape, or None.
        x0: the estimate of x0 at pure noise (α = 0), which ε does not give there, or None.
    """

    epsilon: Tensor
    variance_logit: Tensor | None = None
    score: Tensor | None = None
    x0: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """A call of the network on the way; Heun's method has two in a step.

    Arguments:
        level: where it was called.
        state: what it was given, [n, c, h, w].
        prediction: what it said, its ε not divided by λ yet.
    """

    level: Level
    state: Tensor
    prediction: Prediction


Observer: TypeAlias = Callable[[Step], object]
"""Sees every call of the network, noisy to clean; what it returns is ignored."""


def unobserved(step: Step) -> None:
    """Nobody looks on."""


class StepRule(Protocol):
    """What tells one sampler from another.

    Arguments:
        score_joins: whether a classifier's score joins the direction or the mean.
    """

    @property
    def score_joins(self) -> Literal["direction", "mean"]: ...

    def levels(self, grid: Grid, i: int, prediction: Prediction) -> tuple[float, float | Tensor]:
        """(σ_target, σ_up) of step i."""
        ...


@dataclass(frozen=True)
class Ddim:
    """DDIM: deterministic for η = 0, as noisy as the DDPM posterior for η = 1."""

    eta: float = 0.0
    score_joins: Literal["direction"] = "direction"

    def levels(self, grid: Grid, i: int, prediction: Prediction) -> tuple[float, float]:
        target = grid.sigma_next[i] / grid.alpha_next[i]
        small, _large = grid.posterior_variances(i)
        up = self.eta * max(small, 0.0) ** 0.5 / grid.alpha_next[i]
        return max(target**2 - up**2, 0.0) ** 0.5, up


@dataclass(frozen=True)
class Ancestral:
    """DDPM ancestral sampling with the fixed small, fixed large or learned-range variance.

    Learned range (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15): log variance = f·log β +
    (1 − f)·log β̃ with f = (v + 1)/2.
    """

    variance: Variance
    score_joins: Literal["mean"] = "mean"

    def levels(self, grid: Grid, i: int, prediction: Prediction) -> tuple[float, float | Tensor]:
        noise_now = grid.sigma[i] / grid.alpha[i] if grid.alpha[i] else math.inf
        noise_next = grid.sigma_next[i] / grid.alpha_next[i]
        small, large = grid.posterior_variances(i)
        if (
            grid.sigma_next[i] == 0
        ):  # the step to a clean image: β̃ is taken from the step before it
            small = grid.posterior_variances(min(i + 1, len(grid) - 1))[0] or large
            large = small if self.variance == "large" else large
        if self.variance == "learned":
            assert prediction.variance_logit is not None
            share = (prediction.variance_logit + 1) / 2
            deviation: float | Tensor = small**0.5 * (0.5 * math.log(large / small) * share).exp()
        else:
            deviation = (small if self.variance == "small" else large) ** 0.5
        return noise_next**2 / noise_now, deviation / grid.alpha_next[i]


def integrate(
    predict: Callable[[Tensor, Level], Prediction],
    grid: Grid,
    rule: StepRule,
    lambdas: tuple[float, ...],
    start: Tensor,
    draw: Callable[[int], Tensor],
    *,
    site: Site = "full",
    clip: bool = False,
    observe: Observer = unobserved,
) -> Tensor:
    """Walks the grid from noise to sample.

    Arguments:
        predict: (state, its level) → Prediction, guidance included.
        grid: T′ steps.
        rule: which sampler.
        lambdas: λ(0), …, λ(T′ − 1).
        start: the state at the noisiest level, [n, c, h, w].
        draw: j ≥ 1 → the j-th step's noise, noisy to clean, like `start`; asked for where used
            only.
        site: `full` divides ε wherever it is used, `x0_only` only in the estimate of x0.
        clip: whether x0 is clipped to [−1, 1].
        observe: told of every call of the network.

    Returns:
        The state after the last step, like `start`, not clamped.
    """
    x = start
    for j, i in enumerate(reversed(range(len(grid))), start=1):
        level = grid.level(i)
        alpha, sigma = level.alpha, level.sigma
        prediction = predict(x, level)
        observe(Step(level, x, prediction))
        scaled = divided(prediction.epsilon, lambdas[i])
        direction = scaled if site == "full" else prediction.epsilon
        if prediction.x0 is None:
            x0 = (x - sigma * scaled) / alpha
        else:  # λ has no meaning at pure noise
            x0, direction = prediction.x0, prediction.epsilon
        if clip:
            known = site == "full" or prediction.x0 is not None
            unscaled = x0 if known else (x - sigma * direction) / alpha
            x0 = x0.clamp(-1, 1)
            direction = (x - alpha * unscaled.clamp(-1, 1)) / sigma
        score = prediction.score
        if score is not None and rule.score_joins == "direction":
            direction = direction - sigma * score
            x0 = x0 + sigma**2 / alpha * score
        target, up = rule.levels(grid, i, prediction)
        x = x0 + target * direction
        if score is not None and rule.score_joins == "mean":
            x = x + grid.alpha_next[i] * up * up * score
        if grid.sigma_next[i] > 0 and (isinstance(up, Tensor) or up != 0):
            x = x + up * draw(j)
        x = grid.alpha_next[i] * x
    return x
