"""Proposals by CMA-ES, whose state follows from the record.

An evolution strategy keeps a normal distribution from one generation to the next. Here it is made
again for each: it begins at the best of the points that were proposed without a model, a sixth of
the ranges wide (as Optuna's sampler does), and is told all others in the order of asking, a
population at a time. Telling uses no random number, so that a driver that starts again finds the
same distribution; the points that are asked of it take those of their own generation. What is
told are points as they were measured, wherever they had been moved to. (Hansen 2016,
arXiv:1604.00772; Optuna's own sampler keeps its state in trials that it asked for itself, and has
none for a line.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from lambda_search.search.space import Observation
from lambda_search.search.space import Point
from lambda_search.search.space import Space

__all__ = ["evolved"]

_SIGMA = 1 / 6


def evolved(
    space: Space, history: Sequence[Observation], first: int, count: int, seed: int
) -> list[Point]:
    """The next `count` points.

    Arguments:
        history: what is known, at least one, in the ranges; in the order of asking.
        first: how many of these were proposed without a model.
        seed: of these points.
    """
    low, high = np.array([space.mean, space.slope]).T
    moves = high > low
    scale = np.where(moves, high - low, 1.0)

    def place(told: Observation) -> NDArray[np.float64]:
        at = (np.array([told.point.mean, told.point.slope]) - low) / scale
        found: NDArray[np.float64] = at[moves]
        return found

    best = min(history[: max(first, 1)], key=lambda told: told.value)
    bounds = np.tile([0.0, 1.0], (int(moves.sum()), 1))
    strategy = CMA(place(best), _SIGMA, bounds=bounds, seed=seed)
    size = strategy.population_size
    told = [(place(one), one.value) for one in history[first:]]
    for start in range(0, len(told) - size + 1, size):
        strategy.tell(told[start : start + size])
    found = []
    for _ in range(count):
        at = low.copy()
        at[moves] += scale[moves] * strategy.ask()
        found.append(Point(*at.tolist()))
    return found
