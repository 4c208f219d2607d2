r"""Where the next images go: to the schedules after which the expected regret is least.

The regret of a leader x̂ is f(x̂) − min f, f the log FID. What it will be after further images
is simulated: joint draws of f from the posterior, for each the scores that a batch of schedules
on fresh indices would have, noise shared as the field says, the posterior mean that these would
make, and its lowest point. The batch grows schedule by schedule, each the one that lowers the
mean regret most; new schedules and more images for old ones are weighed alike. (One-step
lookahead, as the knowledge gradient: Frazier, Powell & Dayanik 2009, doi:10.1287/ijoc.1080.0314;
correlated sampling noise: Pearce, Poloczek & Branke 2022.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lambda_search.search.noise import Array
from lambda_search.search.noise import Field
from lambda_search.search.surface import Surface

__all__ = ["MOST", "SAME", "Box", "Outlook", "opening"]

_LONG, _SHORT = 1.0, 0.55
_FINE = 29
_ZOOMS, _FINER = 4, 7
"""The lowest point is looked for on a grid, then on smaller and smaller ones around it."""
_PLAUSIBLE = 100
_SPAN, _RISE, _FARTHEST = 0.35, 0.05, 2.0
_RINGS, _AROUND = (0.5, 1.0, 1.6), 16
"""The trust region: rings round the leader, in half-axes of the fitted valley."""
_AGAIN = 12
"""Old schedules that are weighed, the lowest ones."""
MOST = 1 + _AROUND * len(_RINGS) + _AGAIN
"""A batch has no more schedules."""
_DRAWS = 256

SAME = 0.02
"""A schedule this near to another one, in half-widths, stands for it."""


@dataclass(frozen=True)
class Box:
    """The part of the plane that is looked at, scaled coordinates.

    Arguments:
        low, high: [2] each; equal where an axis is fixed.
    """

    low: tuple[float, float]
    high: tuple[float, float]

    def grid(self, count: int) -> Array:
        """Its points [count², 2], or [count, 2] where an axis is fixed."""
        axes = [
            np.linspace(low, high, count if high > low else 1)
            for low, high in zip(self.low, self.high, strict=True)
        ]
        found: Array = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        return found


def opening(count: int, is_line: bool = False) -> Array:
    """Where the first schedules beside λ = 1 lie, [count, 2]: the centre and a ring round it.

    A ring of six with its centre is the least that a quadratic needs (Doehlert 1970). It is drawn
    out along the diagonal on which a higher mean goes with a lower slope, where the valleys of
    both samplers run that were measured, and narrow across, where walls are steep.

    Arguments:
        is_line: whether the second axis is fixed.
    """
    if is_line:
        ends = np.linspace(-0.8, 0.8, count)
        return np.column_stack([ends, np.zeros(count)])
    angles = 2 * np.pi * np.arange(count - 1) / (count - 1)
    along, across = _LONG * np.cos(angles), _SHORT * np.sin(angles)
    ring = np.column_stack([along + across, across - along]) / 2**0.5
    return np.concatenate([np.zeros((1, 2)), ring])


class Outlook:
    """What is known of a box: the leader, joint draws, and how likely it is that they are wrong.

    Arguments:
        surface: the posterior.
        box: where to look.
        generator: of the draws.
        leading: the posterior whose lowest point leads, if it is another.
    """

    def __init__(
        self,
        surface: Surface,
        box: Box,
        generator: np.random.Generator,
        leading: Surface | None = None,
    ) -> None:
        self.surface = surface
        self.box = box
        self.generator = generator
        fine = box.grid(_FINE)
        mean = surface.mean(fine)
        self.lowest = self._lowest(surface, fine)
        self.leader = self.lowest if leading is None else self._lowest(leading, fine)
        hopeful = np.argsort(mean - 2 * surface.spread(fine), kind="stable")[:_PLAUSIBLE]
        first = [self.leader] if leading is None else [self.leader, self.lowest]
        self.plausible: Array = np.concatenate([first, fine[hopeful]])

    def chance_of_better(self, tolerance: float, draws: int = 512) -> float:
        """The probability that the best of the plane beats the leader by more than `tolerance`."""
        found = self._draws(self.plausible, draws)
        return float((found.min(1) < found[:, 0] + np.log1p(-tolerance)).mean())

    def chance_of_gain(
        self, at_one: Array, gain: float, of_leader: bool = False, draws: int = 512
    ) -> float:
        """The probability that the best of the plane beats λ = 1, at `at_one`, by `gain`.

        With `of_leader`, that the leader does.
        """
        those = self.leader[None] if of_leader else self.plausible
        found = self._draws(np.concatenate([at_one[None], those]), draws)
        return float((found[:, 1:].min(1) < found[:, 0] + np.log1p(-gain)).mean())

    def rival(self, tolerance: float, tried: Array, draws: int = 512) -> Array:
        """Where the best of the plane [2] lies most often, if nothing of `tried` [m, 2] does.

        Of the draws in which it beats the leader by more than `tolerance`, or else of all.
        """
        apart = np.abs(self.plausible[:, None] - tried).max(2).min(1) > SAME
        found = self._draws(self.plausible, draws)
        beaten = found[found.min(1) < found[:, 0] + np.log1p(-tolerance)]
        lowest = np.where(apart, beaten if len(beaten) else found, np.inf).argmin(1)
        place: Array = self.plausible[np.bincount(lowest).argmax()]
        return place

    def batch(
        self, field: Field, n: int, count: int, given: Array, tried: Sequence[tuple[float, float]]
    ) -> Array:
        """The next schedules [count, 2] on n fresh images each.

        Arguments:
            field: how scores err there.
            given: schedules that are measured on them in any case, [g, 2].
            tried: the schedules that have scores, which may be taken again.
        """
        candidates = self._candidates(tried)
        size, known = len(self.plausible), len(given)
        everything = np.concatenate([self.plausible, given, candidates])
        normals = self.generator.standard_normal
        joint = self.surface.posterior(everything)
        truths = joint.draws(normals((_DRAWS, len(everything))))
        noise = field.draws(everything, normals((_DRAWS, 3)), normals(truths.shape)) / n**0.5
        ahead = _Ahead(
            joint.covariance[:size, size:],
            (joint.covariance + field.covariance(everything) / n)[size:, size:],
            np.repeat(joint.mean[None, :size], _DRAWS, axis=0),
            (truths + noise - joint.mean)[:, size:],
        )
        for number in range(known):
            ahead = ahead.after(number)
        chosen: list[int] = []
        for _ in range(min(count, len(candidates))):
            regrets = ahead.regrets(truths[:, :size])
            regrets[[*range(known), *chosen]] = np.inf
            best = int(regrets.argmin())
            ahead = ahead.after(best)
            chosen.append(best)
        found: Array = everything[size:][chosen]
        return found

    def axes(self) -> Array:
        """The half-axes [2, 2] along which the fitted valley rises by `_RISE`, as rows.

        Those of the quadratic nearest to the posterior mean around the leader.
        """
        _, curved = self.surface.quadratic(self.leader, _SPAN)
        bends, vectors = np.linalg.eigh(curved)
        lengths = np.minimum(np.sqrt(2 * _RISE / np.maximum(bends, 1e-6)), _FARTHEST)
        found: Array = (vectors * lengths).T
        return found

    def _lowest(self, surface: Surface, fine: Array) -> Array:
        """The lowest point [2] of a posterior mean around the lowest of the grid `fine`."""
        near: Array = fine[surface.mean(fine).argmin()]
        low, high = np.array(self.box.low), np.array(self.box.high)
        reach, around = (high - low) / (_FINE - 1), Box((-1.0, -1.0), (1.0, 1.0)).grid(_FINER)
        for _ in range(_ZOOMS):
            closer = np.clip(near + reach * around, low, high)
            near = closer[surface.mean(closer).argmin()]
            reach = reach / (_FINER // 2)
        return near

    def _candidates(self, tried: Sequence[tuple[float, float]]) -> Array:
        angles = 2 * np.pi * np.arange(_AROUND) / _AROUND
        ring = np.column_stack([np.cos(angles), np.sin(angles)]) @ self.axes()
        new = [self.leader + ring * size for size in _RINGS]
        inside = np.clip(np.concatenate([self.leader[None], *new]), self.box.low, self.box.high)
        old = np.array(tried).reshape(-1, 2)
        old = old[np.argsort(self.surface.mean(old), kind="stable")[:_AGAIN]]
        found: list[Array] = [*old]
        for at in np.unique(inside, axis=0):
            if all(np.abs(at - other).max() > SAME for other in found):
                found.append(at)
        return np.array(found)

    def _draws(self, at: Array, count: int) -> Array:
        normals = self.generator.standard_normal((count, len(at)))
        return self.surface.posterior(at).draws(normals)


@dataclass(frozen=True, eq=False)
class _Ahead:
    """What would be known after some of q scores, in r simulated cases.

    Arguments:
        cross: covariance [p, q] of the surface and the scores.
        inner: covariance [q, q] of the scores.
        means: of the surface, [r, p].
        surprises: the scores less what is expected of them, [r, q].
    """

    cross: Array
    inner: Array
    means: Array
    surprises: Array

    def after(self, one: int) -> _Ahead:
        """The same after one more score."""
        towards = self.inner[one] / self.inner[one, one]
        return _Ahead(
            self.cross - np.outer(self.cross[:, one], towards),
            self.inner - np.outer(self.inner[:, one], towards),
            self.means
            + np.outer(self.surprises[:, one], self.cross[:, one]) / self.inner[one, one],
            self.surprises - np.outer(self.surprises[:, one], towards),
        )

    def regrets(self, truths: Array) -> Array:
        """The mean regret [q] after each of the scores, if the surfaces are `truths` [r, p]."""
        cases, least = np.arange(len(truths)), truths.min(1)
        found = np.empty(self.inner.shape[0])
        for one, variance in enumerate(np.diag(self.inner)):
            step = self.cross[:, one] / max(variance, 1e-12)
            picked = (self.means + self.surprises[:, one, None] * step).argmin(1)
            found[one] = (truths[cases, picked] - least).mean()
        return found
