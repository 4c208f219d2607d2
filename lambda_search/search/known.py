"""What a search by the knowledge gradient knows of its plane: all scores, and what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from functools import partial

import numpy as np

from lambda_search.search.allocation import SAME
from lambda_search.search.allocation import Box
from lambda_search.search.allocation import Outlook
from lambda_search.search.axes import along_valley
from lambda_search.search.axes import moved
from lambda_search.search.ends import unseen_end
from lambda_search.search.noise import Array
from lambda_search.search.noise import Measurement
from lambda_search.search.plane import FARTHEST
from lambda_search.search.plane import Plane
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Placed
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.surface import BIAS
from lambda_search.search.surface import Kernel
from lambda_search.search.surface import Surface
from lambda_search.search.surface import kernels_about

__all__ = ["Known"]

_APART = 0.1
"""Candidates of a confirmation differ by more than this, in half-widths."""
_SHRINKS, _DOUBT = 0.36, 0.003
"""How much of a gain the half-split score hides at n = d, by a change of contrast; and more."""
_NEXT = 0.5
"""What lies nearer to λ = 1 than this, in half-widths, is taken to lie so far."""


class Known:
    """All of it. Schedules that diverged count as twice as bad as the worst.

    Arguments:
        ranges: the plane in which schedules were placed.
        features: d of the score.
        measured: all scores, in the order of asking.
        lost: schedules that diverged.
        begin: where the surface may be flat (`surface.kernels_about`).
        is_close: whether that is trusted more, where it is asked who leads.
        seed: of the study.
        turns: whether it is looked at along the valley that the scores show (`axes`).
    """

    def __init__(
        self,
        ranges: Plane,
        features: int,
        measured: Sequence[Measurement],
        lost: Sequence[Point] = (),
        begin: Point | None = None,
        is_close: bool = False,
        seed: int = 0,
        turns: bool = True,
    ) -> None:
        self._ranges = ranges
        self._features = features
        self._told = measured
        self._diverged = lost
        self._from = begin
        self._is_close = is_close
        self._seed = seed
        self._turns = turns

    @cached_property
    def plane(self) -> Plane:
        """Where schedules lie for all that follows."""
        if not self._turns:
            return self._ranges
        return along_valley(self._ranges, self._told, self._features)

    @cached_property
    def near(self) -> list[Measurement]:
        """The scores that the plane has room for, λ = 1 always."""
        return [one for one in self._measured if one.at == self.plane.at_one or _is_near(one.at)]

    @cached_property
    def tried(self) -> list[tuple[float, float]]:
        """Where these lie, λ = 1 apart."""
        return sorted({one.at for one in self.near} - {self.plane.at_one})

    @property
    def places(self) -> list[tuple[float, float]]:
        """Where something is known, however far away, those that were lost first."""
        return [*self._lost, *(one.at for one in self._measured)]

    @property
    def places_in_ranges(self) -> list[tuple[float, float]]:
        """The same as the ranges have it."""
        lost = [self._ranges.place(one) for one in self._diverged]
        return [*lost, *(one.at for one in self._told)]

    @property
    def end(self) -> int:
        """The first index that no image has."""
        return max(one.first + one.n for one in self._told)

    @property
    def best(self) -> tuple[float, float]:
        """Where the lowest by the posterior mean lies, of λ = 1 and what was measured.

        What other ranges had, and these cannot say, is none of it.
        """
        plane = self.plane
        said = [at for at in self.tried if np.allclose(plane.place(plane.point(np.array(at))), at)]
        places = [plane.at_one, *said]
        return places[int(self._surface.mean(np.array(places)).argmin())]

    @property
    def last(self) -> set[tuple[float, float]]:
        """What the last round measured."""
        first = max(one.first for one in self._measured)
        return {one.at for one in self._measured if one.first == first}

    def reach(self, about: Placed) -> Space:
        """What is looked at: the slopes, and the means at the slope of `about`."""
        return self.plane.space(self._box, about)

    def outlook(self, number: int = 0) -> Outlook:
        """What the scores say, with the draws of the round `number`."""
        return self._outlook(number)

    def verdict(self) -> Outlook:
        """The same where it is asked who leads; the best of a close relative is trusted more then.

        What is measured next, and how sure a leader is, is said without that: a search would not
        look where it may be wrong.
        """
        return self._outlook(0, self._leading)

    def _outlook(self, number: int, leading: Surface | None = None) -> Outlook:
        generator = np.random.default_rng([self._seed, number])
        return Outlook(self._surface, self._box, generator, leading)

    def unseen(self, coming: Array | None = None) -> Array | None:
        """The end of the valley that nothing is known of, if there is one (`ends`).

        Arguments:
            coming: schedules [q, 2] of which something will be.
        """
        places = [*self.places, *(() if coming is None else coming)]
        return unseen_end(self.outlook(), np.array(places))

    def candidates(self, most: int, both: bool) -> list[Point]:
        """The schedules to confirm, as `KnowledgeGradient.candidates` has them."""
        outlook = self.verdict()
        old = self._tried[np.argsort(outlook.surface.mean(self._tried), kind="stable")]
        same = old[np.abs(old - outlook.leader).max(1) <= SAME][:1]
        found: list[Array] = []
        for at in [*same, outlook.leader, outlook.lowest, *old]:
            apart = all(np.abs(at - other).max() > _APART for other in found)
            point = self.plane.point(at)
            fits = point.slope != 0 if both else point != IDENTITY
            if apart and len(found) < most and fits:
                found.append(at)
        points = [self.plane.point(at) for at in found]
        if both and (best := self.plane.best_constant(outlook)) != IDENTITY:
            points.append(best)
        return points

    def gain(self, point: Point) -> tuple[float, float]:
        """What a schedule gains, a share of the score of λ = 1, and its deviation."""
        at = self.plane.place(point)
        found = self._surface.posterior(np.array([self.plane.at_one, at]))
        share = math.exp(found.mean[1] - found.mean[0])
        apart = np.array([-1.0, 1.0])
        variance = float(apart @ found.covariance @ apart)
        return 1 - share, share * math.sqrt(max(variance, 0.0))

    @cached_property
    def _measured(self) -> list[Measurement]:
        return moved(self._told, self._ranges, self.plane)

    @property
    def _lost(self) -> list[tuple[float, float]]:
        return [self.plane.place(one) for one in self._diverged]

    @property
    def _tried(self) -> Array:
        found: Array = np.array(self.tried).reshape(-1, 2)
        return found

    @property
    def _begin(self) -> tuple[float, float] | None:
        return None if self._from is None else self.plane.place(self._from)

    @property
    def _box(self) -> Box:
        return self.plane.box(self._tried, self._begin)

    @cached_property
    def _surface(self) -> Surface:
        return self._made(kernels_about(self._begin))

    @cached_property
    def _leading(self) -> Surface | None:
        """The posterior by which it is told who leads, where that is another."""
        if not self._is_close or self._from in self._diverged:
            return None
        return self._made(kernels_about(self._begin, is_trusted=True))

    def _made(self, kernels: Sequence[Kernel]) -> Surface:
        worst = max(self.near, key=lambda one: one.score)
        bad = [
            Measurement(at, worst.first, 2 * worst.score, 0 * worst.influence, worst.n)
            for at in self._lost
            if at == self.plane.at_one or _is_near(at)
        ]
        scores, at_one = [*self.near, *bad], self.plane.at_one
        made = partial(Surface, scores, self._features, kernels, at_one=at_one)
        found = made()
        bias = self._bias(found)
        return made(bias=bias) if self._features and bias < BIAS else found

    def _bias(self, surface: Surface) -> float:
        """Of log scores at n = d, a unit from λ = 1: the score hides a share of what is gained."""
        places = np.array([self.plane.at_one, *self.tried])
        mean = surface.mean(places)
        best = int(mean.argmin())
        away = float(np.hypot(*(places[best] - places[0])))
        return (_SHRINKS * float(mean[0] - mean[best]) + _DOUBT) / max(away, _NEXT)


def _is_near(at: tuple[float, float]) -> bool:
    return max(map(abs, at)) <= FARTHEST
