r"""Euler's and Heun's method on σ itself, with EDM's churn.

Karras et al. 2022, arXiv:2206.00364, algorithm 2. The grid is in variance-exploding coordinates,
α = α' = 1. With ε̂ = ε/λ, step i from σ to σ' is

    γ = min(S_churn/T′, √2 − 1) for σ in [s_min, s_max], else 0
    σ̂ = σ(1 + γ),  x̂ = x + √(σ̂² − σ²)·S_noise·z
    Euler   x' = x̂ + (σ' − σ̂)·ε̂(x̂, σ̂)
    Heun    x'' = x̂ + (σ' − σ̂)·(ε̂(x̂, σ̂) + ε̂(x', σ'))/2, and Euler's step at i = 0

Every call of the network takes λ at the index of the level where it is made: i at σ (and at σ̂),
i − 1 at σ'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Self

from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import Step
from lambda_search.diffusion.samplers import unobserved
from lambda_search.diffusion.scaling import divided

if TYPE_CHECKING:
    from lambda_search.setting import SamplerOptions

__all__ = ["MOST_CHURN", "Churn", "solve_ode"]

MOST_CHURN = math.sqrt(2) - 1
"""The largest γ: a step at most doubles σ²."""


@dataclass(frozen=True)
class Churn:
    """EDM's stochasticity; the default adds none.

    Arguments:
        amount: S_churn ≥ 0, shared out over the steps.
        low, high: σ between which noise is added.
        noise: S_noise > 0, its standard deviation.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0

    @classmethod
    def of(cls, options: SamplerOptions) -> Self:
        """What `options` ask for."""
        return cls(
            options.s_churn or 0.0,
            options.s_min or 0.0,
            math.inf if options.s_max is None else options.s_max,
            1.0 if options.s_noise is None else options.s_noise,
        )

    def raised(self, sigma: float, steps: int) -> float:
        """σ̂ ≥ σ of a step at σ among `steps` steps."""
        if not self.low <= sigma <= self.high:
            return sigma
        return sigma * (1 + min(self.amount / steps, MOST_CHURN))


def solve_ode(
    predict: Callable[[Tensor, Level], Prediction],
    grid: Grid,
    lambdas: tuple[float, ...],
    start: Tensor,
    draw: Callable[[int], Tensor],
    *,
    second_order: bool,
    churn: Churn = Churn(),
    rounded: Callable[[float], float] = float,
    observe: Observer = unobserved,
) -> Tensor:
    """Walks the grid from noise to sample.

    Arguments:
        predict: (state, its level) → Prediction.
        grid: T′ steps with α = 1 throughout, each to the level of the one below it.
        lambdas: λ(0), …, λ(T′ − 1).
        start: the state at the noisiest level, [n, c, h, w].
        draw: j ≥ 1 → the j-th step's noise, like `start`; asked for where used only.
        second_order: Heun's method rather than Euler's.
        churn: noise added on the way.
        rounded: σ̂ → the nearest level that the network knows.
        observe: told of every call of the network.

    Returns:
        The state after the last step, like `start`.
    """

    def slope_at(x: Tensor, level: Level) -> Tensor:
        prediction = predict(x, level)
        observe(Step(level, x, prediction))
        return divided(prediction.epsilon, lambdas[level.index])

    x = start
    for j, i in enumerate(reversed(range(len(grid))), start=1):
        level, after = grid.level(i), grid.sigma_next[i]
        raised = rounded(churn.raised(level.sigma, len(grid)))
        if raised > level.sigma:
            x = x + math.sqrt(raised**2 - level.sigma**2) * churn.noise * draw(j)
            level = replace(level, sigma=raised, timestep=raised)  # who is churned is told σ
        slope = slope_at(x, level)
        ahead = x + (after - level.sigma) * slope
        if second_order and i > 0:
            slope_ahead = slope_at(ahead, grid.level(i - 1))
            ahead = x + (after - level.sigma) * (slope + slope_ahead) / 2
        x = ahead
    return x
