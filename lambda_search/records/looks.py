"""How a confirmation went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Looks"]


@dataclass(frozen=True)
class Looks:
    """How a confirmation went that looked several times (`search.looks`).

    Arguments:
        precision: the half-width that was asked for, as a share of FID(λ = 1).
        planned: how many looks there might have been.
        made: images at each look, rising; the last one's are the row's.
        boundary: half the width of the gain's interval, in standard errors.
        ended: `proven` (a gain, as precisely as asked), `precise` (none is proven, as precisely as
            asked) or `samples` (there were no more images).
        luck: about how much too high the gain may be since it is the best one's, in FID.
    """

    precision: float
    planned: int
    made: tuple[int, ...]
    boundary: float
    ended: Literal["proven", "precise", "samples"]
    luck: float
