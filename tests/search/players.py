"""Searches that play an emulator: how many images each spends until its leader is good.

After every step of a search stands a `Mark`. Images are counted as a study would make them: λ = 1
and all rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import FloatDistribution

from lambda_search.search.allowance import Spent
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Measurement
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.verdict import Verdict
from tests.search.emulator import Emulator
from tests.search.landscapes import MEAN
from tests.search.landscapes import TILT
from tests.search.landscapes import Landscape

STEPS = 11
SPACE = Space(MEAN, (TILT[0] / (STEPS - 1), TILT[1] / (STEPS - 1)), STEPS)


@dataclass(frozen=True)
class Mark:
    """Where a search stood after so many images; `is_good` as `Landscape.good` has it."""

    images: int
    leader: Point
    is_good: bool
    ending: str | None = None


def tilt(point: Point) -> float:
    """k(T′ − 1)."""
    return point.slope * (STEPS - 1)


def place(truth: Landscape) -> Point:
    """The optimum of a landscape."""
    return Point(truth.mean, truth.tilt / (STEPS - 1))


def farthest(truth: Landscape) -> Point:
    """The corner of the ranges that lies farthest from a landscape's optimum."""
    best = place(truth)
    mean = max(SPACE.mean, key=lambda end: abs(end - best.mean))
    return Point(mean, max(SPACE.slope, key=lambda end: abs(end - best.slope)))


def images_to_goal(marks: list[Mark]) -> float:
    """The images after which the leader was good for good; infinite if it is not at the end."""
    bad = [number for number, mark in enumerate(marks) if not mark.is_good]
    if not bad:
        return marks[0].images
    return marks[bad[-1] + 1].images if bad[-1] + 1 < len(marks) else float("inf")


def fewest(
    emulator: Emulator,
    seed: int,
    most: int,
    ends: bool = False,
    budget: int | None = None,
    begin: Point | None = None,
    least: int | None = None,
    is_close: bool = False,
) -> list[Mark]:
    """Ours, up to `most` images; or up to its own end, with `ends`. The rest as it has it."""
    d = emulator.landscape.features
    search = KnowledgeGradient(
        SPACE, d, seed=seed, budget=budget or most, begin=begin, least=least, is_close=is_close
    )
    marks: list[Mark] = []
    for _, spent, verdict in rounds(emulator, search):
        leader = verdict.leader
        good = emulator.landscape.good(leader.mean, tilt(leader))
        marks.append(Mark(spent.images, leader, good, verdict.ending))
        if spent.images >= most or (ends and verdict.ending):
            break
    return marks


def rounds(
    emulator: Emulator, search: KnowledgeGradient
) -> Iterator[tuple[list[Measurement], Spent, Verdict]]:
    """After each round of a search: all scores so far, what was spent, and what they say."""
    scores: list[Measurement] = []
    spent, tried, block = Spent(0, 0, 0), set[Point](), search.opening()
    while True:
        for point in block.points:
            score, psi = emulator.measure(point.mean, tilt(point), block.first, block.n)
            scores.append(search.measurement(point, block.first, score, psi))
        tried |= set(block.points)
        spent = Spent(spent.rounds + 1, spent.images + block.images, len(tried))
        yield scores, spent, search.verdict(scores, spent)
        block = search.next(scores, spent)


def grid(emulator: Emulator, n: int = 10_000) -> list[Mark]:
    """A hand-made one, 15 means × 5 slopes at full count, and λ = 1; it leads when all is done."""
    points = [Point(float(m), float(s)) for m in np.linspace(*SPACE.mean, 15)
              for s in np.linspace(*SPACE.slope, 5)]  # fmt: skip
    scores = [emulator.measure(one.mean, tilt(one), 0, n)[0] for one in points]
    best = points[int(np.argmin(scores))]
    good = emulator.landscape.good(best.mean, tilt(best))
    return [Mark(n * len(points), best, good)]


def peer(
    emulator: Emulator, sampler: optuna.samplers.BaseSampler, n: int, most: int
) -> list[Mark]:
    """Optuna's sampler with our paired score on the first n images; the lowest score leads."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    base = emulator.measure(1.0, 0.0, 0, n)[0]
    images, marks = n, []
    leader, lowest = Point(1.0, 0.0), 0.0
    ranges = {"mean": FloatDistribution(*SPACE.mean), "slope": FloatDistribution(*SPACE.slope)}
    while images < most:
        trial = study.ask(ranges)
        point = Point(**trial.params)
        value = emulator.measure(point.mean, tilt(point), 0, n)[0] - base
        study.tell(trial, value)
        images += n
        if value < lowest:
            leader, lowest = point, value
        marks.append(Mark(images, leader, emulator.landscape.good(leader.mean, tilt(leader))))
    return marks
