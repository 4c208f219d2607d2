"""Along which line a valley runs, as scores in the ranges show it: the axes that are searched.

On the floor of a valley the score does not change across it. Of the quadratic

    y = a + b·u + c·v + d·u²/2 + e·u·v + f·v²/2,   d > 0

nearest to the model of log scores there, that is the line u = −b/d − (e/d)·v. Walls are
steep, so that the first round tells it: in emulated studies of the bundled model, whose valleys
run 0.24 to 0.44 of mean a unit of tilt, it is off by 0.02 to 0.06.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lambda_search.search.allocation import Box
from lambda_search.search.noise import Measurement
from lambda_search.search.plane import FARTHEST
from lambda_search.search.plane import Plane
from lambda_search.search.surface import Surface

__all__ = ["along_valley", "moved"]

_ENOUGH = 6
"""Schedules that tell a quadratic."""
_AROUND, _FIRST = 1.5, 64
"""What was measured so near to the middle tells, in half-widths; the first of it is enough."""
_TURNS = 2
"""The quadratic is fitted again along the line that it told, where it has less of the walls."""
_FARTHEST = 2.0
"""No line is believed to pass farther from the middle than this, in half-widths."""
_RANGES = Box((-1.0, -1.0), (1.0, 1.0))
_CURVED = 1e-3
"""Less than this is no valley across the means."""


def along_valley(plane: Plane, measured: Sequence[Measurement], features: int) -> Plane:
    """`plane` along the valley that scores show; as it is where they show none.

    Nor is it turned where λ = 1 lies beyond all that is looked at, as of narrow ranges far away,
    or where λ would reach zero in what it is to bound.

    Arguments:
        plane: of the ranges.
        measured: scores, placed in it, in the order of asking.
        features: d of the scores.
    """
    told = [one for one in measured if max(map(abs, one.at)) <= _AROUND][:_FIRST]
    if not all(plane.has_width) or len({one.at for one in told}) < _ENOUGH:
        return plane
    if max(map(abs, plane.at_one)) > FARTHEST:
        return plane
    turned, off, steep = plane, 0.0, 0.0
    for _ in range(_TURNS):
        surface = Surface(moved(told, plane, turned), features, at_one=turned.at_one)
        slope, curved = surface.quadratic(np.zeros(2), 1.0)
        if curved[0, 0] <= _CURVED:
            return plane
        off = _held(off - slope[0] / curved[0, 0], _FARTHEST)
        steep = _held(steep - curved[0, 1] / curved[0, 0], plane.steepest)
        turned = plane.along(off, steep)
    return turned if turned.is_sound(_RANGES) else plane


def _held(value: float, most: float) -> float:
    return float(min(max(value, -most), most))


def moved(measured: Sequence[Measurement], plane: Plane, other: Plane) -> list[Measurement]:
    """Scores that are placed in `plane`, placed in the other one."""
    if other is plane:
        return list(measured)
    return [replace(one, at=plane.seen_in(other, one.at)) for one in measured]
