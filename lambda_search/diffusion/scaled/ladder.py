"""λ of every noise level at which a scheduler's grid calls the network.

The index of a call is the rank of its level among the T′ distinct levels of the whole grid, 0 =
least noisy, whatever part of the grid is walked and however often a level is called. Between two
levels λ is interpolated in log σ/α, and at pure noise it is 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

__all__ = ["Ladder"]


@dataclass(frozen=True)
class Ladder:
    """The levels of a grid with their λ.

    Arguments:
        levels: σ/α ≥ 0 of the T′ ≥ 1 distinct levels, rising; infinite at pure noise.
        lambdas: λ(0), …, λ(T′ − 1).
    """

    levels: tuple[float, ...]
    lambdas: tuple[float, ...]

    @property
    def is_identity(self) -> bool:
        """Whether λ = 1 wherever the network is called."""
        return all(value == 1 for value in self.lambdas)

    def at(self, level: float) -> float:
        """λ for a call at σ/α = `level` ≥ 0; outside of the grid, that of its nearest level."""
        if math.isinf(level):
            return 1.0
        above = bisect_left(self.levels, level)
        if above == len(self.levels):
            return self.lambdas[-1]
        low, high = self.levels[above - 1], self.levels[above]
        if above == 0 or high == level or low == 0:  # log 0 is away from everything
            return self.lambdas[above]
        share = math.log(level / low) / math.log(high / low)
        return (1 - share) * self.lambdas[above - 1] + share * self.lambdas[above]
