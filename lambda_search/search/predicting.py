"""A search of the plane along a line by few images and a model's own network, and its choice.

Its constants were set on ancestral sampling and DDIM with 10 steps of the bundled model, the
caution by emulated models too whose λ = 1 is best (results/diagnose.md says what was seen of other
steps before).
"""

from __future__ import annotations

from collections import Counter

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.evidence import Score
from lambda_search.records import Tried
from lambda_search.search.allowance import Block
from lambda_search.search.allowance import Spent
from lambda_search.search.kg import OPENING
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Measurement
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.tried import Run
from lambda_search.search.valley import Reach

__all__ = ["BLOCKS", "ROUNDS", "Prediction"]

_ACROSS, _ALONG = 2 / 3, 2.0
"""How far the first round looks across the line and along it, in half-widths of usual ranges."""
_WAY, _CAUTION = (0.75, 0.5, 0.25), 0.75
"""Of the way from λ = 1 to the lowest it takes such a share, and of a gain it takes off so many
standard deviations. The lowest point of a surface that few images tell of may lie far out where
nothing is gained, and what lies before it gains nearly as much."""
_EDGE = 0.98
"""What counts as the edge of what is looked at."""
_BESIDE, ROUNDS = 2, 3
"""Schedules beside the best so far in rounds after the first, and how many of these there are."""
BLOCKS = OPENING + (1 + _BESIDE) * ROUNDS
"""Schedules of all rounds, λ = 1 in the middle of the first."""


class Prediction:
    """A search of the plane along a line, by blocks of `run`, and a prudent choice of its finds.

    Arguments:
        run: what measures.
        reach: half-widths of usual ranges.
        ridge: how the mean moves with the tilt along the line.
        farthest: how far rounds after the first look, in what that one does.
        width: of the features.
        seed: of the search.
    """

    def __init__(
        self, run: Run, reach: Reach, ridge: float, farthest: float, width: int, seed: int
    ) -> None:
        span = max(reach.steps - 1, 1)
        across, along = reach.mean * (_ACROSS if reach.tilt else 1.0), reach.tilt * _ALONG / span
        slopes = (-along, along) if along else (0.0, 0.0)
        self.space = Space((1 - across, 1 + across), slopes, reach.steps)
        self._limits = across * farthest, along * farthest
        self._ridge = ridge * span
        self._search = KnowledgeGradient(
            self.space,
            width,
            seed=seed,
            count=_BESIDE,
            each=run.n,
            ridge=self._ridge,
            farthest=farthest,
        )
        self._run = run
        self._spent = Spent(0, 0, 0)
        self._points: list[Point] = []
        self._measured: list[Measurement] = []
        self._lost: list[Point] = []

    def next(self) -> Block:
        """What to measure next."""
        if not self._measured:
            return self._search.opening()
        return self._search.next(self._measured, self._spent, self._lost)

    def measure(self, block: Block) -> None:
        """Scores all of `block`; schedules that reach zero are lost as those that diverge."""
        for point in block.points:
            found = self._score(point, block.first)
            if found is None:
                self._lost.append(point)
                continue
            told = found.corrected, found.influence.double().numpy()
            self._points.append(point)
            self._measured.append(self._search.measurement(point, block.first, *told))
        schedules, spent = len({*self._points, *self._lost}), self._spent
        self._spent = Spent(spent.rounds + 1, spent.images + block.images, schedules)

    def _score(self, point: Point, first: int) -> Score | None:
        schedule = self.space.schedule(point)
        try:
            schedule.values(self.space.steps)
        except LambdaSearchError:
            return None
        return self._run.score(schedule, first)

    @property
    def lowest(self) -> Point:
        """Where the distance is lowest, by the model."""
        return self._search.lowest(self._measured, self._lost)

    @property
    def prudent(self) -> Point:
        """Where the gain less some of its doubt is most, on the way from λ = 1 to the lowest.

        λ = 1 where there is none.
        """
        lowest, best, most = self.lowest, IDENTITY, 0.0
        for share in _WAY:
            mean = round(1 + share * (lowest.mean - 1), self.space.digits)
            point = Point(mean, round(share * lowest.slope, 7) + 0.0)
            gain, deviation = self.gain(point)
            if gain - _CAUTION * deviation > most:
                best, most = point, gain - _CAUTION * deviation
        return best

    def is_edge(self, point: Point) -> bool:
        """Whether a schedule lies as far out as is looked."""
        across = abs(point.mean - 1 - self._ridge * point.slope)
        far = zip((across, abs(point.slope)), self._limits, strict=True)
        return any(limit > 0 and off >= _EDGE * limit for off, limit in far)

    @property
    def tried(self) -> tuple[Tried, ...]:
        """What was measured, λ = 1 first, then what was lost."""
        blocks = Counter(self._points)
        lost = [one for one in dict.fromkeys(self._lost) if one not in blocks]
        return tuple(
            Tried(
                self.space.schedule(point),
                point.mean,
                point.slope,
                max(blocks[point], 1) * self._run.n,
                *(self.gain(point) if point in blocks else (None, None)),
            )
            for point in (*blocks, *lost)
        )

    def gain(self, point: Point) -> tuple[float, float]:
        """Of a schedule by the model, and its standard deviation."""
        return self._search.gain(self._measured, point, self._lost)
