"""What a search by rounds says of its scores so far."""

from __future__ import annotations

from dataclasses import dataclass

from lambda_search.records import Ending
from lambda_search.search.space import Point

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """Who leads.

    Arguments:
        leader: the schedule of the lowest expected FID, which may never have been sampled; λ = 1
            where it ends without gain.
        regret: the probability that the plane holds one better by more than the tolerance; of
            both families, that of the one that is less sure of its best.
        gain: the probability that it holds one better than λ = 1 by more than the tolerance; that
            the leader is, once the best is found.
        ending: why the search may end, if it may.
        expected: the leader's gain by the model, a share of the score of λ = 1.
    """

    leader: Point
    regret: float
    gain: float
    ending: Ending | None
    expected: float
