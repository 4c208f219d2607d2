"""Proposals from Optuna, rebuilt from the record for each generation.

A generation's proposals depend on (seed, generation, history) alone: a fresh in-memory study is
filled with the recorded trials, all COMPLETE with their bias-corrected difference to λ = 1 (the GP
ignores pruned trials), and a fresh sampler with a seed of its own is asked. No state outlives a
generation, so a restarted driver proposes the same points.

A model that knows no point of the ranges, since they were changed, is not asked: a Sobol sequence
of that generation's own stands in. A point that a model proposes again (the Gaussian process does,
at the ends of a range) is moved a little, by the generation's own random numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.samplers import GPSampler
from optuna.samplers import QMCSampler
from optuna.samplers import TPESampler

from lambda_search.errors import UsageError
from lambda_search.search.space import Point
from lambda_search.search.space import Space

__all__ = ["IDENTITY", "Observation", "check_candidates", "propose"]

IDENTITY = Point(mean=1.0, slope=0.0)
"""λ = 1, always trial 0."""

_GRID_SLOPES = 3

_SAME = 1e-3
"""Points repeat each other if both coordinates are as near, in widths of the ranges."""

_NUDGE = 0.05
"""How far a repeated point is moved at first, in widths of the ranges."""

_ATTEMPTS = 64

_FEW = 8

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Observation:
    """A finished trial: where it was, and FID(λ) − FID(1), bias-corrected (lower is better)."""

    point: Point
    value: float


def propose(
    space: Space,
    kind: str,
    trials: int,
    seed: int,
    generation: int,
    history: Sequence[Observation],
    count: int,
) -> list[Point]:
    """The next `count` points of a study of `trials` trials, of which `history` is finished.

    The first two are λ = 1 and the centre of the published optima; a Sobol sequence follows until
    the model-based samplers have something to learn from.

    Arguments:
        kind: `gp`, `tpe`, `qmc` or `grid`.
    """
    first = len(history)
    if kind == "grid":
        return [IDENTITY, *_grid(space, trials - 1)][first : first + count]
    opening = [IDENTITY, space.published_centre()]
    fixed = max(0, min(count, _startup(kind, trials) - first))
    if fixed:
        opening += _sobol(space, seed, max(0, first + fixed - len(opening)))
    points = opening[first : first + fixed]
    if count > fixed:
        own_seed = int(np.random.SeedSequence([seed, generation]).generate_state(1)[0])
        inside = [told for told in history if space.contains(told.point)]
        if history and not inside:
            points += _sobol(space, own_seed, count - fixed)
        else:
            asked = _ask(space, _model(kind, own_seed), inside, count - fixed)
            known = [*(told.point for told in history), *points]
            points += _apart(space, asked, known, own_seed)
    return (
        [points[0], *map(space.rounded, points[1:])]
        if first == 0
        else list(map(space.rounded, points))
    )


def check_candidates(space: Space, kind: str, trials: int, seed: int) -> None:
    """Raises UsageError if a study's proposals can only be λ = 1."""
    if kind in ("gp", "tpe") and trials > _startup(kind, trials):
        return  # a model moves what it has proposed before
    for count in (min(trials, _FEW), trials):
        points = propose(space, kind, trials, seed, 0, (), count)
        if any(not space.schedule(point).is_identity for point in points):
            return
    raise UsageError(
        "λ = 1 is the only candidate of this study.",
        "Widen search.mean or search.slope, or raise search.trials.",
    )


def _startup(kind: str, trials: int) -> int:
    """How many points are proposed before a model is asked."""
    return trials if kind == "qmc" else min(10, max(4, trials // 3))


def _model(kind: str, seed: int) -> BaseSampler:
    if kind == "tpe":
        return TPESampler(seed=seed, n_startup_trials=0, constant_liar=True)
    return GPSampler(seed=seed, n_startup_trials=0)


def _ask(
    space: Space, sampler: BaseSampler, history: Sequence[Observation], count: int
) -> list[Point]:
    """Asks `sampler`, told of `history` (in the ranges), for `count` points at once.

    Pending ones repel.
    """
    distributions: dict[str, BaseDistribution] = {
        "mean": FloatDistribution(*space.mean),
        "slope": FloatDistribution(*space.slope),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=sampler)
    for told in history:
        params = {"mean": told.point.mean, "slope": told.point.slope}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=told.value)
        )
    asked = [study.ask(distributions).params for _ in range(count)]
    return [Point(params["mean"], params["slope"]) for params in asked]


def _apart(
    space: Space, points: Sequence[Point], known: Sequence[Point], seed: int
) -> list[Point]:
    """`points`, with those that repeat one of `known` or of each other moved inside the ranges."""
    generator = np.random.default_rng(seed)
    found: list[Point] = []
    for point in map(space.rounded, points):
        moved = point
        for attempt in range(_ATTEMPTS):
            if not any(space.near(moved, other, _SAME) for other in (*known, *found)):
                break
            reach = _NUDGE * (1 + attempt / 8)
            moved = space.rounded(
                space.moved(point, *generator.uniform(-reach, reach, 2).tolist())
            )
        found.append(moved)
    return found


def _sobol(space: Space, seed: int, count: int) -> list[Point]:
    """The first `count` points of a scrambled Sobol sequence."""
    if count == 0:
        return []
    anchor = Observation(Point(sum(space.mean) / 2, sum(space.slope) / 2), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    return _ask(space, sampler, [anchor], count)


def _grid(space: Space, count: int) -> list[Point]:
    """`count` points: means × three slopes (one, if the slope is fixed), the means rising."""
    slopes = np.unique(np.linspace(*space.slope, _GRID_SLOPES))
    means = np.linspace(*space.mean, -(-count // len(slopes)))
    return [space.rounded(Point(float(m), float(s))) for m in means for s in slopes][:count]
