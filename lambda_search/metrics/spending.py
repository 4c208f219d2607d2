r"""Alpha spending: critical values of several looks that err together no more than one would.

Where nothing is gained, the estimate at the fractions t₁ < … < t_J of the most images moves as a
Brownian motion B: Zⱼ = B(tⱼ)/√tⱼ. Values zⱼ spend α* if

    P(|Zᵢ| < zᵢ for all i < j, and |Zⱼ| ≥ zⱼ) = α*(tⱼ) − α*(tⱼ₋₁),
    α*(t) = 4 (1 − Φ(Φ⁻¹(1 − α/4)/√t)),

which is little early on and α at t = 1 (two-sided, of O'Brien–Fleming's type; Lan & DeMets 1983).
The last look, whatever its fraction, may spend all that is left. The intervals θ̂ⱼ ± zⱼ·seⱼ then
hold at all looks together with probability 1 − α (Jennison & Turnbull 1989), and when to look, and
which look is the last, may depend on the widths seen so far, though not on the effects.

The probabilities come from the density of B on the paths that stayed inside so far,

    gⱼ(x) = ∫ gⱼ₋₁(u) φ((x − u)/√Δ)/√Δ du   over |u| < zⱼ₋₁√tⱼ₋₁,   Δ = tⱼ − tⱼ₋₁,

(Armitage, McPherson & Rowe 1969), by Gauss–Legendre quadrature in panels of one √Δ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

__all__ = ["boundaries", "spent"]

_ORDER = 16
"""Nodes of a panel; one √Δ wide, it is exact to about 1e-14."""
_FARTHEST = 9.0
"""In √t: beyond, the density is nothing in float64."""
_HALVINGS = 100


def spent(alpha: float, share: float) -> float:
    """α*(t): how much of the two-sided level `alpha` is spent by the fraction `share`, to 1."""
    if share >= 1:
        return alpha
    edge = -NormalDist().inv_cdf(alpha / 4)
    return 2 * math.erfc(edge / math.sqrt(2 * share))


def boundaries(alpha: float, shares: Sequence[float], ended: bool = False) -> tuple[float, ...]:
    """The critical values z of looks.

    Arguments:
        alpha: two-sided, of all looks together, 0 to 1.
        shares: the looks' fractions of the most images, rising, above 0 and at most 1.
        ended: whether the last of these is the last of all, and spends what is left.

    Raises:
        ValueError: for fractions or a level out of range.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    if any(before >= share for before, share in zip((0.0, *shares), shares, strict=False)):
        raise ValueError(f"the looks' fractions must rise from above 0, not {shares}")
    if shares and shares[-1] > 1:
        raise ValueError(f"the looks' fractions end at 1, not at {shares[-1]}")
    return _boundaries(alpha, tuple(shares), ended)


@lru_cache(maxsize=64)
def _boundaries(alpha: float, shares: tuple[float, ...], ended: bool) -> tuple[float, ...]:
    found = []
    places, masses = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    done = 0.0
    steps = [math.sqrt(b - a) for a, b in zip((0.0, *shares), shares, strict=False)]
    for look, (share, step) in enumerate(zip(shares, steps, strict=True)):
        last = look == len(shares) - 1
        goal = alpha if last and ended else spent(alpha, share)
        edge = _edge(places, masses, step, goal - done)
        found.append(edge / math.sqrt(share))
        if not last:
            wide = min(edge, _FARTHEST * math.sqrt(share))
            places, masses = _walked(places, masses, step, wide, min(step, steps[look + 1]))
            done = goal
    return tuple(found)


def _edge(places: Tensor, masses: Tensor, step: float, wanted: float) -> float:
    """The c for which a path that stayed inside is at |B| ≥ c `step` later as often as wanted."""
    scale = step * math.sqrt(2)
    low, high = 0.0, float(places.abs().max()) + 40 * step
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = torch.erfc((middle - places) / scale) + torch.erfc((middle + places) / scale)
        if float(masses @ beyond) / 2 > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _walked(
    places: Tensor, masses: Tensor, step: float, wide: float, panel: float
) -> tuple[Tensor, Tensor]:
    """Nodes in (−wide, wide), and the mass that each stands for, a `step` later."""
    nodes, weights = (torch.from_numpy(one) for one in np.polynomial.legendre.leggauss(_ORDER))
    count = math.ceil(2 * wide / panel)
    half = wide / count
    middles = half * (2 * torch.arange(count, dtype=torch.float64) + 1) - wide
    there = (middles[:, None] + half * nodes).flatten()
    density = torch.exp(-((there[:, None] - places) / step).square() / 2) @ masses
    density /= step * math.sqrt(2 * math.pi)
    return there, density * (half * weights).repeat(count)
