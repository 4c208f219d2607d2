"""The ends of a valley that nothing was measured near: where another lowest point may lie.

A model of few scores takes a valley for a parabola, and so it is sure of what it has not seen: of
two basins it stays in the one that its first schedules lie in. Valleys run along the slope (of
both samplers that were measured, see `allocation.opening`), so one schedule at the better end of
them tells.
"""

from __future__ import annotations

import numpy as np

from lambda_search.search.allocation import Outlook
from lambda_search.search.noise import Array

__all__ = ["unseen_end"]

_AT = 1.3
"""Where valleys end, in half-widths of the ranges."""
_NEAR = 0.5
"""What was measured this near to a place, along either axis, tells of it."""
_FINE = 201


def unseen_end(outlook: Outlook, tried: Array) -> Array | None:
    """The better end [2] of the valley by the posterior mean, if nothing was measured near it.

    Arguments:
        outlook: what is known of the plane.
        tried: where schedules were measured, [m, 2].
    """
    (left, low), (right, high) = outlook.box.low, outlook.box.high
    if left == right or low == high:
        return None
    rows = [
        np.column_stack([np.linspace(left, right, _FINE), np.full(_FINE, at)])
        for at in (max(low, -_AT), min(high, _AT))
    ]
    means = [outlook.surface.mean(row) for row in rows]
    row, mean = min(zip(rows, means, strict=True), key=lambda one: float(one[1].min()))
    end: Array = row[mean.argmin()]
    return None if (np.abs(tried - end).max(1) <= _NEAR).any() else end
