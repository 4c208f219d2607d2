"""The plane of schedules in coordinates of the ranges: ±1 are their ends.

Along an axis that is fixed, λ = 1 lies one unit away, unless it lies on it. Where it is known how
a valley runs (`axes`, `valley`), the range of means moves along with it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from lambda_search.errors import LambdaSearchError
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.allocation import Box
from lambda_search.search.allocation import Outlook
from lambda_search.search.noise import Array
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Placed
from lambda_search.search.space import Point
from lambda_search.search.space import Space

__all__ = ["FARTHEST", "Plane"]

FARTHEST = 6.0
"""How far out it is looked at unless told, in half-widths of the ranges."""

_FINE = 400
_FARTHER = 2.0
"""It opens so many times as far out as schedules were measured: an optimum that lies far outside
of the ranges is reached in a few rounds."""
_ROOM = 1.0
"""Half-widths by which it opens beyond the best of a relative, at least."""


class Plane:
    """Where schedules lie.

    Arguments:
        space: the ranges.
        ridge: by how much the range of means moves with a unit of the slope, from where it is in
            the middle of slopes.
        farthest: how far out it is looked at, in half-widths of the ranges.
        mean: where means have their middle, at the middle of slopes; that of the ranges unless
            given.
    """

    def __init__(
        self,
        space: Space,
        ridge: float = 0.0,
        farthest: float = FARTHEST,
        mean: float | None = None,
    ) -> None:
        self._space = space
        self._ridge, self._farthest = ridge, farthest
        low, high = np.array([space.mean, space.slope]).T
        self._middle, half = (low + high) / 2, (high - low) / 2
        if mean is not None:
            self._middle[0] = mean
        off = np.abs(np.array([IDENTITY.mean, IDENTITY.slope]) - self._middle)
        self.has_width: tuple[bool, bool] = bool(half[0] > 0), bool(half[1] > 0)
        self._scale = np.where(half > 0, half, np.where(off > 0, off, 1.0))
        self.at_one = self.place(IDENTITY)

    def place(self, point: Point) -> tuple[float, float]:
        """Where `point` lies."""
        return self._place(point.mean, point.slope)

    def seen_in(self, other: Plane, at: tuple[float, float]) -> tuple[float, float]:
        """Where in the other plane lies what lies at `at` in this one; λ = 1 lies at its own."""
        return other.at_one if at == self.at_one else other._place(*self._exactly(np.array(at)))

    def point(self, at: Array) -> Point:
        """What lies at `at`, at a resolution that people can read."""
        mean, slope = self._exactly(at)
        moves_mean, moves_slope = self.has_width
        return Point(
            round(mean, self._space.digits) if moves_mean else self._space.mean[0],
            round(slope, 7) + 0.0 if moves_slope else self._space.slope[0],
        )

    @property
    def steepest(self) -> float:
        """The steepest line that is believed: a unit of mean a unit of k(T′ − 1)."""
        across, along = self._scale.tolist()
        return float(max(self._space.steps - 1, 1) * along / across)

    def along(self, off: float, steep: float) -> Plane:
        """The same about the line u = `off` + `steep`·v in it, in half-widths."""
        across, along = self._scale.tolist()
        ridge = self._ridge + steep * across / along
        mean = float(self._middle[0]) + off * across
        return Plane(self._space, ridge, self._farthest, mean)

    def box(self, tried: Array, begin: tuple[float, float] | None = None) -> Box:
        """What ±1 bound, and the plane beyond as far out again as those of `tried` [m, 2] lie.

        As far again beyond `begin` where that is less, the best of a relative that lies outside of
        the ranges: it is no reason to look twice as far out. Where λ would reach zero at a corner,
        no farther than they lie, or less; ±1 at least, which whoever makes a plane sees to.
        """
        out = np.array([[-1.0], [1.0]])
        near = np.array([tried.min(0, initial=-1.0), tried.max(0, initial=1.0)])
        farther = _FARTHER * np.array([tried.min(0, initial=0.0), tried.max(0, initial=0.0)])
        if begin is not None:
            beyond = out * begin + np.maximum(_ROOM, _FARTHER * out * (near - begin))
            less = out * np.minimum(out * farther, beyond)
            farther = np.where(out * begin > 1, less, farther)
        farthest, ranges = out * np.maximum(out * near, out * farther), out * np.ones(2)
        for ends in (
            *(near + share * (farthest - near) for share in (1.0, 0.5, 0.25, 0.0)),
            *(ranges + share * (near - ranges) for share in (0.5, 0.25)),
        ):
            found = self._box(ends)
            if self.is_sound(found):
                return found
        return self._box(ranges)

    def _place(self, mean: float, slope: float) -> tuple[float, float]:
        off, along = np.array([mean, slope]) - self._middle
        u, v = (np.array([off - self._ridge * along, along]) / self._scale).tolist()
        return u, v

    def _exactly(self, at: Array) -> tuple[float, float]:
        mean, slope = (self._middle + self._scale * at).tolist()
        return mean + self._ridge * float(self._scale[1] * at[1]), slope

    def _box(self, ends: Array) -> Box:
        """Between `ends` [2, 2], the lower ones first, as far as it is looked at all."""
        moves, far = np.array(self.has_width, dtype=float), self._farthest
        (left, bottom), (right, top) = (np.clip(ends, -far, far) * moves).tolist()
        return Box((left, bottom), (right, top))

    def constants(self, outlook: Outlook) -> Outlook:
        """`outlook` along the line k = 0."""
        return Outlook(outlook.surface, self._line(outlook.box), outlook.generator)

    def best_constant(self, outlook: Outlook) -> Point:
        """The lowest of the posterior with k = 0, λ = 1 too, as fields for one number hold it."""
        line = self._line(outlook.box).grid(_FINE)
        height = outlook.surface.mean(line)
        if height.min() >= outlook.surface.mean(np.array([self.at_one]))[0]:
            return IDENTITY
        mean = self.point(line[height.argmin()]).mean
        return Point(round(mean, self._space.constants.digits), 0.0)

    def _line(self, box: Box) -> Box:
        at = self.at_one[1]
        return Box((box.low[0], at), (box.high[0], at))

    def space(self, box: Box, about: Placed) -> Space:
        """The slopes of `box`, and its means at the slope of `about`."""
        (left, low), (right, high) = box.low, box.high
        _, v = self.place(Point(about.mean, about.slope))
        means = [self.point(np.array([u, v])).mean for u in (left, right)]
        slopes = [self.point(np.array([0.0, end])).slope for end in (low, high)]
        return replace(self._space, mean=(means[0], means[1]), slope=(slopes[0], slopes[1]))

    def is_sound(self, box: Box) -> bool:
        """Whether λ stays above zero in all of `box`: it does where it does at the corners."""
        steps = self._space.steps
        for at in product(*zip(box.low, box.high, strict=True)):
            corner = self.point(np.array(at))
            try:
                LambdaSchedule.from_mean(corner.mean, corner.slope, steps).values(steps)
            except LambdaSearchError:
                return False
        return True
