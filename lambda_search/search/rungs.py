"""Successive halving with rungs that close in order.

All trials of a generation are scored at the first rung. A trial goes on to the next rung if it is
in the better half of all trials that the study has scored at this one so far, in trial order;
λ = 1 always goes on, since everything is compared with it. (Jamieson & Talwalkar 2016,
arXiv:1502.07943; promotion against the running ranking as in ASHA, arXiv:1810.05934, but in a
fixed order, so that the outcome does not depend on who finishes first.) A trial that diverges at a
rung is the worst there.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from math import ceil

from lambda_search.spec import CONFIRM_FROM

__all__ = ["default_rungs", "promoted"]

KEEP = 0.5

_WIDTH = 2048
"""d of Inception, which is assumed where no extractor is here to tell."""

_LEAST = 64


def default_rungs(width: int, batch: int) -> tuple[int, ...]:
    """d, 2d and 4d images in whole batches, or more where features are narrow.

    Below d images no score ranks well (`metrics.evidence`), and at 4d the correction's own bias is
    a fifth of its standard error.
    """
    first = max(width or _WIDTH, _LEAST)
    wanted = (min(-(-times * first // batch) * batch, CONFIRM_FROM) for times in (1, 2, 4))
    return tuple(dict.fromkeys(wanted))


def promoted(gains: Mapping[int, float], generation: Sequence[int]) -> list[int]:
    """The trials of `generation` that go on from a rung.

    Arguments:
        gains: gain by trial number, of all trials scored at the rung, those of `generation`
            included; −∞ of those that diverged there.
        generation: the trial numbers in question.
    """
    ranked = sorted(gains, key=lambda number: (-gains[number], number))
    better = set(ranked[: ceil(KEEP * len(ranked))])
    return [number for number in generation if number in better or number == 0]
