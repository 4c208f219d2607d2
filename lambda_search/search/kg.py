"""The search that needs the fewest images: which schedules to measure next, on which images.

A study goes in rounds. The first measures λ = 1 and an opening design on d images each, every
later one the best schedule so far and a few others on twice as many (more where the budget would
make too many rounds), from a block of indices of its own: what schedules share of their noise is
shared inside a block only, and averages out over blocks. They share the more of it the nearer they
lie, so that a far optimum is told from its neighbours better beside one of them than beside λ = 1,
which later rounds measure as any other.
The model of all scores (`surface`) says who leads, where the next images lower the expected regret
most (`allocation`), and when to end:

- `found`: the best of the plane beats the leader by more than the tolerance with a probability of
  at most 5 %;
- `no gain`: it beats λ = 1 by so much with that probability at most, or the leader does where
  the best is found;
- `budget`: the images that are left make no further round;
- `trials`: as many schedules were measured in rounds as may be.

A round depends on the study's seed, its number and the scores of the rounds before it alone. No
schedule is ever ruled out: all scores stay in the model, those of d images with their bias, and
schedules that diverged as worse than all others. While a round is left, no search of a plane ends
before something is known of the better end of its valley (`ends`). Of both families, the best
constant (k = 0) is looked for too: the search is over when it is found as surely as the best of
the plane, and a round goes to the one of the two that is less sure. The ranges bound the opening;
after it the plane runs along the valley that the scores show (`axes`), and opens twice as far out
as schedules were measured, less beyond the best of a relative (`Plane.box`). (Knowledge gradient:
Frazier, Powell & Dayanik 2009; see `allocation`.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lambda_search.records import Ending
from lambda_search.search.allocation import SAME
from lambda_search.search.allocation import opening
from lambda_search.search.allowance import Allowance
from lambda_search.search.allowance import Block
from lambda_search.search.allowance import Spent
from lambda_search.search.allowance import whole
from lambda_search.search.known import Known
from lambda_search.search.noise import Array
from lambda_search.search.noise import Field
from lambda_search.search.noise import Measurement
from lambda_search.search.noise import noise_covariance
from lambda_search.search.plane import FARTHEST
from lambda_search.search.plane import Plane
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Placed
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.verdict import Verdict

__all__ = ["OPENING", "KnowledgeGradient"]

OPENING = 7
"""Schedules beside λ = 1 in the first round."""

_RISK = 0.05
_SURE, _LATE = 0.3, 6
"""With so little regret or gain, or after so many rounds, an unseen end is looked at."""
_KNOWN = 3
"""Schedules in the ranges without which there is nothing to go by."""


class KnowledgeGradient:
    """A search's decisions.

    `lost` are schedules whose images are not finite: they count as twice as bad as the worst.

    Arguments:
        space: the ranges.
        features: d of the score.
        batch: images in a shard; rounds are whole ones.
        seed: of the study.
        count: schedules in a round beside the best one; the first has `OPENING`.
        tolerance: share of the FID that is not worth more images.
        budget: images in all; enough for some rounds unless given (`allowance`).
        trials: schedules in all, λ = 1 among them.
        both: whether the best constant is looked for too; the ranges hold k = 0 then.
        begin: what is best for a relative: the middle of the first round, and where the surface
            may be flat (`surface.kernels_about`).
        is_close: whether that relative is so near that it is trusted more (`Known.verdict`).
        least: images of each schedule in the first round; as many as features unless given.
        each: images of each schedule in every round, whatever the budget.
        ridge: how the range of means moves with the slope (`Plane`); what the scores say of it
            (`axes`) unless given.
        farthest: how far the plane may open, in half-widths.
        proof: images that the proof of one candidate takes; a budget left open follows it.
    """

    def __init__(
        self,
        space: Space,
        features: int,
        batch: int = 1,
        seed: int = 0,
        count: int = 2,
        tolerance: float = 0.01,
        budget: int | None = None,
        trials: int = 10**6,
        both: bool = False,
        begin: Point | None = None,
        is_close: bool = False,
        least: int | None = None,
        each: int | None = None,
        ridge: float | None = None,
        farthest: float = FARTHEST,
        proof: int = 0,
    ) -> None:
        self._both = both
        self._plane = Plane(space, ridge or 0.0, farthest)
        self._is_told, self._begin, self._is_close = ridge is not None, begin, is_close
        self._features = features
        least = least or features
        self._opened = each or whole(least, batch)
        self._seed = seed
        self._tolerance = tolerance
        self._trials = trials
        self.allowance = Allowance.of(
            self.opening(), least, batch, count, budget, trials, each, proof
        )

    def opening(self, first: int = 0, tried: int = 1) -> Block:
        """The first round, on the images from index `first` on, after so many schedules."""
        count = min(OPENING, self._trials - tried)
        points = opening(count, is_line=not all(self._plane.has_width))
        if not self._plane.has_width[0]:
            points = points[:, ::-1]
        if self._begin is not None:
            points[np.abs(points).sum(1).argmin()] = self._plane.place(self._begin)
        points = np.array([self._plane.at_one, *points])
        return _block(self._plane, points, first, self._opened)

    def measurement(
        self, point: Point, first: int, score: float, influence: Array, n: int | None = None
    ) -> Measurement:
        """A score as the model takes it; one below its own standard error is taken for that.

        Arguments:
            influence: that of `score`, float64 [n], or condensed (`noise.condensed`) for `n`.
        """
        found = Measurement(self._plane.place(point), first, score, influence, n)
        return replace(found, score=max(score, float(noise_covariance([found])[0, 0] ** 0.5)))

    def verdict(
        self, measured: Sequence[Measurement], spent: Spent, lost: Sequence[Point] = ()
    ) -> Verdict:
        """What the scores so far say.

        Arguments:
            measured: all of them.
            spent: what the rounds took that they are from.
            lost: schedules that diverged, there or before.
        """
        known = self._known(measured, lost)
        plane, outlook = known.plane, known.verdict()
        at_one = np.array(plane.at_one)
        regret = outlook.chance_of_better(self._tolerance)
        if self._both:
            line = plane.constants(outlook)
            regret = max(regret, line.chance_of_better(self._tolerance))
        is_found = regret <= _RISK
        gain = outlook.chance_of_gain(at_one, self._tolerance, is_found)
        ending = self._ending(regret, gain, known, spent)
        if ending == "no gain":
            return Verdict(IDENTITY, regret, gain, ending, 0.0)
        one, best = outlook.surface.mean(np.array([at_one, outlook.leader])).tolist()
        expected = 1 - math.exp(best - one)
        return Verdict(plane.point(outlook.leader), regret, gain, ending, expected)

    def ending(
        self,
        regret: float,
        gain: float,
        measured: Sequence[Measurement],
        spent: Spent,
        lost: Sequence[Point] = (),
    ) -> Ending | None:
        """Why the search may end, if it may, given a verdict's probabilities."""
        return self._ending(regret, gain, self._known(measured, lost), spent)

    def _ending(self, regret: float, gain: float, known: Known, spent: Spent) -> Ending | None:
        limit = self._limit(known, spent)
        sure: Ending | None = "no gain" if gain <= _RISK else "found" if regret <= _RISK else None
        if sure and (limit or known.unseen() is None):
            return sure
        return limit

    def _limit(self, known: Known, spent: Spent) -> Ending | None:
        """What leaves no further round, if something does."""
        count = self.allowance.left(spent)
        if count < 1:
            return "trials"
        again = self._reopening(known, spent)
        coming = (count + 1) * self.allowance.n if again is None else again.images
        return "budget" if spent.images + coming > self.allowance.images else None

    @property
    def first_images(self) -> int:
        """Images of the first round."""
        return self.opening().images

    @property
    def most_images(self) -> int:
        """Images of all rounds, at most."""
        opened = self.opening()
        return opened.images if len(opened.points) >= self._trials else self.allowance.images

    def next(
        self, measured: Sequence[Measurement], spent: Spent, lost: Sequence[Point] = ()
    ) -> Block:
        """The round after those that were, given all their scores; arguments as in `verdict`.

        Another opening where these were in ranges that have nothing in common with the present.
        """
        known, n = self._known(measured, lost), self.allowance.n
        again = self._reopening(known, spent)
        if again is not None:
            return again
        plane, outlook = known.plane, known.outlook(spent.rounds)
        regret = outlook.chance_of_better(self._tolerance)
        if self._both:
            line = plane.constants(outlook)
            if (of_line := line.chance_of_better(self._tolerance)) > regret:
                outlook, regret = line, of_line
        beside = known.best
        others = [one for one in (plane.at_one, *known.tried) if one != beside]
        found = outlook.batch(
            Field.of(known.near), n, self.allowance.left(spent), np.array([beside]), others
        )
        if {beside, *map(tuple, found.tolist())} <= known.last:  # it would go on so for ever
            found[-1] = outlook.rival(self._tolerance, np.array([beside, *others]))
        gain = outlook.chance_of_gain(np.array(plane.at_one), self._tolerance)
        if min(regret, gain) <= _SURE or spent.rounds >= _LATE:
            end = known.unseen(found[:-1])
            found[-1] = found[-1] if end is None else end
        return _block(plane, np.array([beside, *found]), known.end, n)

    def _reopening(self, known: Known, spent: Spent) -> Block | None:
        """An opening, where few known schedules lie in the ranges and it has one that is not."""
        places = known.places_in_ranges
        inside = {at for at in places if max(map(abs, at)) <= 1} - {self._plane.at_one}
        if len(inside) >= min(_KNOWN, self._trials - 1):
            return None
        block, seen = self.opening(known.end, spent.schedules), np.array(places)
        asked = [np.array(self._plane.place(one)) for one in block.points]
        new = any(np.abs(seen - place).max(1).min() > SAME for place in asked)
        return block if new else None

    def distance(self, one: Placed, other: Placed) -> float:
        """How far apart two schedules lie, in half-widths of the ranges."""
        ends = (np.array(self._plane.place(Point(at.mean, at.slope))) for at in (one, other))
        return float(np.hypot(*np.subtract(*ends)))

    def candidates(
        self, measured: Sequence[Measurement], most: int, lost: Sequence[Point] = ()
    ) -> list[Point]:
        """The schedules to confirm, `most` at most, λ = 1 apart, the best first.

        The leader, which may never have been sampled, the lowest of the posterior where that is
        another (`Known.verdict`), then schedules that were, by their posterior mean, each apart
        from those before. Of both families these have a slope, and the lowest constant follows
        them, unless it is λ = 1.
        """
        return self._known(measured, lost).candidates(most, self._both)

    def gain(
        self, measured: Sequence[Measurement], point: Point, lost: Sequence[Point] = ()
    ) -> tuple[float, float]:
        """A schedule's gain by the model, a share of the score of λ = 1, and its deviation."""
        return self._known(measured, lost).gain(point)

    def lowest(self, measured: Sequence[Measurement], lost: Sequence[Point] = ()) -> Point:
        """Where the score is lowest by the model, λ = 1 or not."""
        known = self._known(measured, lost)
        return known.plane.point(known.verdict().leader)

    def reach(self, measured: Sequence[Measurement], about: Placed) -> Space:
        """What is looked at: the slopes, and the means at the slope of `about`."""
        return self._known(measured, ()).reach(about)

    def _known(self, measured: Sequence[Measurement], lost: Sequence[Point]) -> Known:
        begin, close, turns = self._begin, self._is_close, not self._is_told
        return Known(self._plane, self._features, measured, lost, begin, close, self._seed, turns)


def _block(plane: Plane, at: Array, first: int, n: int) -> Block:
    """The schedules at `at`, each once."""
    points = dict.fromkeys(_point(plane, one) for one in at)
    return Block(tuple(points), first, n)


def _point(plane: Plane, at: Array) -> Point:
    is_one = tuple(at.tolist()) == plane.at_one
    return IDENTITY if is_one else plane.point(at)
