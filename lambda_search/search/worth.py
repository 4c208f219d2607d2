"""Is k worth it? The best linear schedule of a confirmation against its best constant.

Both are on the same images and noise, so their difference has a paired error of its own,
sd(ψᵢ(constant) − ψᵢ(linear))/√n. The constant is settled before the confirmation, the linear one
is the best of several in it: each linear candidate is one comparison with the constant, and the
level holds for these and for all comparisons with λ = 1 together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import enough_images
from lambda_search.metrics.evidence import paired
from lambda_search.records import Trial
from lambda_search.records import Worth
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import Proof
from lambda_search.search.confirm import interval_of
from lambda_search.spec import SearchSpec

__all__ = ["comparisons", "worth_of"]


def comparisons(search: SearchSpec, candidates: Sequence[Trial]) -> int:
    """How many differences a confirmation tells: with λ = 1, and of both families with each other.

    A constant that is λ = 1 itself adds none.
    """
    if search.family != "both":
        return len(candidates)
    linear = sum(one.schedule.k != 0 for one in candidates)
    return len(candidates) + linear * (len(candidates) > linear)


def worth_of(
    baseline: Score,
    contenders: Sequence[Contender],
    constant: Contender | None,
    proof: Proof | None,
    level: float,
) -> Worth | None:
    """What k is worth; None without a linear contender, or on fewer than 4d images.

    Arguments:
        baseline: λ = 1.
        contenders: what was compared with it.
        constant: the best one among them; None if λ = 1 is. One no better than that counts as it.
        proof: the looks that led to these scores; None if this was the only one.
        level: of each interval.
    """
    linear = [one for one in contenders if one.schedule.k != 0]
    if not linear or baseline.n < enough_images(baseline.width):
        return None
    if constant is not None and constant.against_baseline.gain <= 0:
        constant = None  # λ = 1 is better, and the comparison with it is among those told
    best = max(linear, key=lambda one: (one.against_baseline.gain, -one.trial))
    against = best.against_baseline
    if constant is not None:
        against = paired(best.score, constant.score, math.nan)  # features are not at hand
    interval = interval_of(against, proof, level)
    beside = 0 if constant is None else constant.trial
    return Worth(best.trial, beside, against.gain, interval.low, interval.high, interval.level)
