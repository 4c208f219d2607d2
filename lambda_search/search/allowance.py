"""What a search by rounds may spend, and how many images and schedules its rounds have.

A round weighs all scores before it, which takes the cube of their number. So that no budget makes
more than `_ROUNDS` rounds or `_SCORES` scores after the opening, the rounds of a large one have
more images: a search ends after ten or twenty rounds, and where it does not, its noise wants
images rather than schedules. 1,200 scores are weighed in a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Self

from lambda_search.search.allocation import MOST
from lambda_search.search.space import Point

__all__ = ["Allowance", "Block", "Spent", "whole"]

_LATER = 2.0
"""Images of every later round, in d, at least."""

_BUDGET, _BUDGET_WIDTHS, _BUDGET_ROUNDS = 7_500, 40, 5
"""Images in all: so many, so many for each feature, so many later rounds, or what the proof of one
candidate takes, in at most `_PROOF_ROUNDS`; whichever is most."""

_PROOF_ROUNDS = 20

_ROUNDS, _SCORES = 60, 1200


@dataclass(frozen=True)
class Block:
    """What to measure next.

    Arguments:
        points: the schedules; beside the first the others are compared, λ = 1 in the first round.
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
class Spent:
    """What rounds took so far.

    Arguments:
        rounds: how many there were.
        images: made in them.
        schedules: measured in them or lost there, λ = 1 among them.
    """

    rounds: int
    images: int
    schedules: int


@dataclass(frozen=True)
class Allowance:
    """What all rounds may take, and what one has after the first.

    Arguments:
        images, schedules: of all rounds, λ = 1 among the schedules.
        least: of the images, what there are whatever the proof takes.
        count: schedules in a later round beside the best so far, at most.
        n: images of each there.
    """

    images: int
    least: int
    schedules: int
    count: int
    n: int

    @classmethod
    def of(
        cls,
        opened: Block,
        features: int,
        batch: int,
        count: int,
        budget: int | None,
        schedules: int,
        each: int | None = None,
        proof: int = 0,
    ) -> Self:
        """That of a search with the first round `opened`; arguments as `KnowledgeGradient` has."""
        count = min(count, MOST, max(schedules - len(opened.points), 1))
        usual = each or whole(_LATER * features, batch)
        some, many = (
            opened.images + rounds * usual * (count + 1)
            for rounds in (_BUDGET_ROUNDS, _PROOF_ROUNDS)
        )
        least = budget or max(_BUDGET, _BUDGET_WIDTHS * features, some)
        images = budget or max(least, min(proof, many))
        scores = min(_ROUNDS * (count + 1), _SCORES)
        n = each or max(usual, whole((images - opened.images) / scores, batch))
        return cls(images, least, schedules, count, n)

    @property
    def later_images(self) -> int:
        """Images of a later round, at most."""
        return self.n * (self.count + 1)

    def was_enough(self, spent: Spent) -> bool:
        """Whether a search that ended by its budget may stay so, whatever its proof takes now."""
        return spent.images + self.later_images > self.least

    def left(self, spent: Spent) -> int:
        """How many schedules beside the best the next round may have; none after all of them."""
        return max(min(self.count, self.schedules - spent.schedules), 0)


def whole(n: float, batch: int) -> int:
    """How many images make whole batches of n or more, 64 at least."""
    return ceil(max(n, 64) / batch) * batch
