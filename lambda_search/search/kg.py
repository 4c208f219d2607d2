"""The search that needs the fewest images: which schedules to measure next, on which images.

A study goes in rounds. The first measures λ = 1 and an opening design on d images each, every
later one λ = 1 and a few schedules on half as many again, from a block of indices of its own:
what schedules share of their noise is shared inside a block only, and averages out over blocks.
The model of all scores (`surface`) says who leads, where the next images lower the expected regret
most (`allocation`), and when to end:

- `found`: the best of the plane beats the leader by more than the tolerance with a probability of
  at most 5 %;
- `no gain`: it beats λ = 1 by so much with that probability at most;
- `budget`: the images are spent.

A round depends on the study's seed, its number and the scores of the rounds before it alone. No
schedule is ever ruled out: all scores stay in the model, those of d images with their bias. The
ranges bound the opening; where schedules near an edge are measured, the plane beyond it opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Literal
from typing import TypeAlias

import numpy as np

from lambda_search.errors import LambdaSearchError
from lambda_search.search.allocation import Box
from lambda_search.search.allocation import Outlook
from lambda_search.search.allocation import opening
from lambda_search.search.noise import Array
from lambda_search.search.noise import Field
from lambda_search.search.noise import Measurement
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.surface import Surface

__all__ = ["Ending", "KnowledgeGradient", "Round", "Verdict"]

Ending: TypeAlias = Literal["found", "no gain", "budget"]

_IDENTITY = Point(1.0, 0.0)
_OPENING = 7
_RISK = 0.05
_MARGIN = 0.3
"""How far the plane opens beyond a schedule that was measured, in half-widths of the ranges."""


@dataclass(frozen=True)
class Round:
    """What to measure next.

    Arguments:
        points: the schedules, λ = 1 first.
        first, n: the images of each.
    """

    points: tuple[Point, ...]
    first: int
    n: int

    @property
    def images(self) -> int:
        """How many images it makes."""
        return len(self.points) * self.n


@dataclass(frozen=True)
class Verdict:
    """Who leads.

    Arguments:
        leader: the schedule of the lowest expected FID, which may never have been sampled; λ = 1
            where it ends without gain.
        regret: the probability that the plane holds one better by more than the tolerance.
        gain: the probability that it holds one better than λ = 1 by more than the tolerance.
        ending: why the search may end, if it may.
    """

    leader: Point
    regret: float
    gain: float
    ending: Ending | None


class KnowledgeGradient:
    """A search's decisions.

    Arguments:
        space: the ranges.
        features: d of the score.
        batch: images in a shard; rounds are whole ones.
        seed: of the study.
        count: schedules in a round beside λ = 1.
        tolerance: share of the FID that is not worth more images.
        budget: images in all.
        fresh: whether each round has a block of indices of its own; else prefixes grow.
    """

    def __init__(
        self,
        space: Space,
        features: int,
        batch: int = 1,
        seed: int = 0,
        count: int = 3,
        tolerance: float = 0.01,
        budget: int = 10_000,
        fresh: bool = True,
    ) -> None:
        self._space = space
        self._features = features
        self._batch = batch
        self._seed = seed
        self._count = count
        self._tolerance = tolerance
        self._budget = budget
        self._fresh = fresh
        low, high = np.array([space.mean, space.slope]).T
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._scale = np.where(self._half > 0, self._half, 1.0)

    def opening(self) -> Round:
        """The first round."""
        points = opening(_OPENING, is_line=bool((self._half == 0).any()))
        if self._half[0] == 0:  # the mean is fixed, the slope is not
            points = points[:, ::-1]
        return self._round(points, 0, self._whole(self._features))

    def measurement(self, point: Point, first: int, score: float, influence: Array) -> Measurement:
        """A score as the model takes it; `influence` is that of `score`, float64 [n]."""
        u, v = self._scaled(point)
        return Measurement((float(u), float(v)), first, score, influence)

    def verdict(self, measured: Sequence[Measurement]) -> Verdict:
        """What the scores so far say."""
        outlook = self._outlook(measured, 0)
        regret = outlook.chance_of_better(self._tolerance)
        at_one = self._scaled(_IDENTITY)
        gain = outlook.chance_of_gain(at_one, self._tolerance)
        ending: Ending | None = None
        if gain <= _RISK:
            ending = "no gain"
        elif regret <= _RISK:
            ending = "found"
        elif sum(one.n for one in measured) >= self._budget:
            ending = "budget"
        leader = _IDENTITY if ending == "no gain" else self._point(outlook.leader)
        return Verdict(leader, regret, gain, ending)

    def next(self, measured: Sequence[Measurement], number: int) -> Round:
        """Round `number` (from 1 on), given all scores of the rounds before."""
        at_one = self._scaled(_IDENTITY)
        n = self._whole(self._features * 3 / 2)
        first = max(one.first + one.n for one in measured)
        if not self._fresh:
            first, n = 0, self._whole(self._features * (1 + number / 2))
        tried = sorted({one.at for one in measured} - {(float(at_one[0]), float(at_one[1]))})
        found = self._outlook(measured, number).batch(
            Field.of(measured), n, self._count, at_one[None], tried
        )
        return self._round(found, first, n)

    def _outlook(self, measured: Sequence[Measurement], number: int) -> Outlook:
        surface = Surface(measured, self._features)
        generator = np.random.default_rng([self._seed, number])
        return Outlook(surface, self._box(surface.at), generator)

    def _box(self, at: Array) -> Box:
        """The ranges, and the plane around what was measured near their edges."""
        has_width = (self._half > 0).astype(float)
        low = np.minimum(-1.0, at.min(0) - _MARGIN) * has_width
        high = np.maximum(1.0, at.max(0) + _MARGIN) * has_width
        ends = self._middle + self._scale * np.array([low, high])
        mean, slope = ends.T.tolist()
        try:
            replace(self._space, mean=tuple(mean), slope=tuple(slope)).check()
        except LambdaSearchError:  # λ would reach zero
            low, high = -has_width, has_width
        return Box((float(low[0]), float(low[1])), (float(high[0]), float(high[1])))

    def _round(self, at: Array, first: int, n: int) -> Round:
        """λ = 1 and the schedules at `at`, each once."""
        points = dict.fromkeys([_IDENTITY, *(self._point(one) for one in at)])
        return Round(tuple(points), first, n)

    def _whole(self, n: float) -> int:
        return -(-int(max(n, 64)) // self._batch) * self._batch

    def _scaled(self, point: Point) -> Array:
        found: Array = (np.array([point.mean, point.slope]) - self._middle) / self._scale
        return found

    def _point(self, at: Array) -> Point:
        mean, slope = (self._middle + self._scale * at).tolist()
        return Point(round(mean, 5), round(slope, 7))
