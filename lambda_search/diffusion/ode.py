r"""Euler's and Heun's method on σ itself, with EDM's churn.

Karras et al. 2022, arXiv:2206.00364, algorithm 2. The grid is in variance-exploding coordinates,
α = α' = 1. With ε̂ = ε/λ, step i from σ to σ' is

    γ = min(S_churn/T′, √2 − 1) for σ in [s_min, s_max], else 0
    σ̂ = σ(1 + γ),  x̂ = x + √(σ̂² − σ²)·S_noise·z
    Euler   x' = x̂ + (σ' − σ̂)·ε̂(x̂, σ̂)
    Heun    x'' = x̂ + (σ' − σ̂)·(ε̂(x̂, σ̂) + ε̂(x', σ'))/2, and Euler's step to σ' = 0

Every call of the network takes λ at the index of the level where it is made: i at σ (and at σ̂),
i − 1 at σ'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.scaling import divided

__all__ = ["Churn", "solve_ode"]


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

    def raised(self, sigma: float, steps: int) -> float:
        """σ̂ ≥ σ of a step at σ among `steps` steps."""
        if not self.low <= sigma <= self.high:
            return sigma
        return sigma * (1 + min(self.amount / steps, math.sqrt(2) - 1))


def solve_ode(
    predict: Callable[[Tensor, float], Prediction],
    grid: Grid,
    lambdas: tuple[float, ...],
    start: Tensor,
    draw: Callable[[int], Tensor],
    *,
    second_order: bool,
    churn: Churn = Churn(),
    rounded: Callable[[float], float] = float,
) -> Tensor:
    """Walks the grid from noise to sample.

    Arguments:
        predict: (state, σ) → Prediction.
        grid: T′ steps with α = 1 throughout.
        lambdas: λ(0), …, λ(T′ − 1).
        start: the state at the noisiest level, [n, c, h, w].
        draw: j ≥ 1 → the j-th step's noise, like `start`; asked for where used only.
        second_order: Heun's method rather than Euler's.
        churn: noise added on the way.
        rounded: σ̂ → the nearest level that the network knows.

    Returns:
        The state after the last step, like `start`.
    """
    x = start
    for j, i in enumerate(reversed(range(len(grid))), start=1):
        sigma, after = grid.sigma[i], grid.sigma_next[i]
        raised = max(sigma, rounded(churn.raised(sigma, len(grid))))
        if raised > sigma:
            x = x + math.sqrt(raised**2 - sigma**2) * churn.noise * draw(j)
        slope = divided(predict(x, raised).epsilon, lambdas[i])
        ahead = x + (after - raised) * slope
        if second_order and after > 0:
            slope_ahead = divided(predict(ahead, after).epsilon, lambdas[i - 1])
            ahead = x + (after - raised) * (slope + slope_ahead) / 2
        x = ahead
    return x
