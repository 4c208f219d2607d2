"""The plane (mean, slope) that is searched."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
from itertools import product
from typing import TypeAlias

from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.spec import Range
from lambda_search.spec import StudySpec

__all__ = ["IDENTITY", "PUBLISHED_MEAN", "PUBLISHED_TILT", "Observation", "Point", "Space"]

PUBLISHED_MEAN = 1.006
"""Median λ̄ of ADM-ES's 15 uniform optima (5 data sets × 20, 50 and 100 steps)."""

PUBLISHED_TILT = 0.0076
"""Median k(T′ − 1) of ADM-ES's five tilted optima at 20 steps."""

_ENOUGH = 0.03
"""A range of constants this wide has 30 of them; nothing is gained by finer steps."""


@dataclass(frozen=True)
class Point:
    """A candidate: λ̄ and k."""

    mean: float
    slope: float


IDENTITY = Point(mean=1.0, slope=0.0)
"""λ = 1, always trial 0."""


@dataclass(frozen=True)
class Observation:
    """A finished trial: where it was, and FID(λ) − FID(1), bias-corrected (lower is better)."""

    point: Point
    value: float


Placed: TypeAlias = Point | Trial
"""What has a λ̄ and a k."""


@dataclass(frozen=True)
class Space:
    """The ranges of λ̄ and k over a grid of `steps` steps."""

    mean: Range
    slope: Range
    steps: int

    @property
    def constants(self) -> Space:
        """The line k = 0 of it."""
        return replace(self, slope=(0.0, 0.0))

    @property
    def digits(self) -> int:
        """Of λ̄: three where constants alone are searched, and in ranges that hold enough of them.

        Fields for one constant take steps of 0.001 (`integrations.comfyui.constants`).
        """
        return 3 if self.slope == (0.0, 0.0) and self.mean[1] - self.mean[0] >= _ENOUGH else 5

    @classmethod
    def of(cls, spec: StudySpec, steps: int) -> Space:
        """The space of a study whose grid really has `steps` steps.

        Raises:
            UsageError: if λ reaches zero in it.
        """
        space = cls(spec.search.mean, spec.slope_range(steps), steps)
        space.check()
        return space

    def check(self) -> None:
        """Raises UsageError if λ reaches zero in it."""
        for mean, slope in product(self.mean, self.slope):
            LambdaSchedule.from_mean(mean, slope, self.steps).values(self.steps)

    def contains(self, point: Placed) -> bool:
        """Whether the point lies in the ranges."""
        return (
            self.mean[0] <= point.mean <= self.mean[1]
            and self.slope[0] <= point.slope <= self.slope[1]
        )

    def near(self, a: Placed, b: Placed, share: float) -> bool:
        """Whether two points differ by at most `share` of each range's width."""
        return abs(a.mean - b.mean) <= share * (self.mean[1] - self.mean[0]) and abs(
            a.slope - b.slope
        ) <= share * (self.slope[1] - self.slope[0])

    def moved(self, point: Point, mean: float, slope: float) -> Point:
        """The point moved by shares of the ranges' widths, clipped to the ranges."""
        return Point(
            _clip(point.mean + mean * (self.mean[1] - self.mean[0]), self.mean),
            _clip(point.slope + slope * (self.slope[1] - self.slope[0]), self.slope),
        )

    def readable(self, point: Point) -> Point:
        """The point at a resolution that people can read."""
        return Point(round(point.mean, self.digits), round(point.slope, 7) + 0.0)  # never −0.0

    def rounded(self, point: Point) -> Point:
        """The same inside the ranges."""
        found = self.readable(point)
        return Point(_clip(found.mean, self.mean), _clip(found.slope, self.slope))

    def schedule(self, point: Point) -> LambdaSchedule:
        """λ(i) of a point, b to nine decimals; λ̄ = 1 and k = 0 give exactly λ = 1."""
        schedule = LambdaSchedule.from_mean(point.mean, point.slope, self.steps)
        return LambdaSchedule(round(schedule.b, 9), schedule.k)

    def published_centre(self) -> Point:
        """The centre of what the literature publishes, moved into the ranges."""
        slope = PUBLISHED_TILT / max(self.steps - 1, 1)
        return self.rounded(Point(_clip(PUBLISHED_MEAN, self.mean), _clip(slope, self.slope)))


def _clip(value: float, limits: Range) -> float:
    return min(max(value, limits[0]), limits[1])
