"""Successive halving with rungs that close in order.

All trials of a generation are scored at the first rung. A trial goes on to the next rung if it is
in the better half of all trials that the study has scored at this one so far, in trial order; λ =
1 always goes on, since everything is compared with it. (Jamieson & Talwalkar 2016,
arXiv:1502.07943; promotion against the running ranking as in ASHA, arXiv:1810.05934, but in a
fixed order, so that the outcome does not depend on who finishes first.)
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from math import ceil

__all__ = ["promoted"]

KEEP = 0.5


def promoted(gains: Mapping[int, float], generation: Sequence[int]) -> list[int]:
    """The trials of `generation` that go on from a rung.

    Arguments:
        gains: gain by trial number, of all trials scored at the rung, those of `generation`
            included.
        generation: the trial numbers in question.
    """
    ranked = sorted(gains, key=lambda number: (-gains[number], number))
    better = set(ranked[: ceil(KEEP * len(ranked))])
    return [number for number in generation if number in better or number == 0]
