"""EDM's grid (Karras et al. 2022, arXiv:2206.00364, eq. 5): σ^(1/ρ) falls in equal steps."""

from __future__ import annotations

from lambda_search.diffusion.grid import Grid
from lambda_search.errors import UsageError
from lambda_search.models.edm.preconditioning import Preconditioning

__all__ = ["SIGMA_MAX", "SIGMA_MIN", "karras_grid"]

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
_RHO = 7.0


def karras_grid(steps: int, known: Preconditioning) -> Grid:
    """From σ = 80 to 0.002, narrowed to what the network knows, then to 0; ρ = 7.

    Raises:
        UsageError: for fewer than 2 steps.
    """
    if steps < 2:
        raise UsageError(f"EDM's grid has no {steps} step.", "Take 2 steps or more.")
    low = max(SIGMA_MIN, known.sigma_min) ** (1 / _RHO)
    high = min(SIGMA_MAX, known.sigma_max) ** (1 / _RHO)
    falling = [
        known.rounded((high + j / (steps - 1) * (low - high)) ** _RHO) for j in range(steps)
    ]
    sigma = tuple(reversed(falling))
    ones = (1.0,) * steps
    return Grid(sigma, ones, sigma, ones, (0.0, *sigma[:-1]))
