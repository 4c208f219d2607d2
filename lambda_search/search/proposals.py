"""Proposals from Optuna, rebuilt from the record for each generation.

A generation's proposals depend on (seed, generation, history) alone: a fresh in-memory study is
filled with the recorded trials, all COMPLETE with their bias-corrected difference to λ = 1 (the GP
ignores pruned trials), and a fresh sampler with a seed of its own is asked (of `cmaes` see
`evolution`). No state outlives a generation, so a restarted driver proposes the same points.

They are asked for in the study's own thread of the driver, beside its loop, and not on the pool:
all that 64 studies on 1,000 workers take of the driver is a twentieth of a core
(`scripts/bench_scale.py`), and a model's digits depend on the processor, of which a pool may have
several.

A model that knows no point of the ranges, since they were changed, is not asked: a Sobol sequence
of that generation's own stands in.

No point is proposed twice, as far as the ranges hold others: one that repeats another (the
Gaussian process proposes the ends of a range again and again) is moved by the generation's own
random numbers, the farther the more points lie around it, so that a corner does not take up the
budget. Ranges so narrow that they hold no other point end the search.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.samplers import GPSampler
from optuna.samplers import QMCSampler
from optuna.samplers import RandomSampler
from optuna.samplers import TPESampler

from lambda_search.errors import UsageError
from lambda_search.records import Trial
from lambda_search.search.evolution import evolved
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Observation
from lambda_search.search.space import Point
from lambda_search.search.space import Space

__all__ = ["IDENTITY", "Observation", "check_candidates", "observations", "propose"]

_GRID_SLOPES = 3

_SAME = 0.01
"""Points repeat each other if both coordinates are as near, in widths of the ranges.

No FID on a search's images tells such points apart.
"""

_NUDGE = 0.05
"""How far a repeated point is moved at first, in widths of the ranges; so far reaches "around"."""

_ATTEMPTS = 64

_FEW = 4

optuna.logging.set_verbosity(optuna.logging.WARNING)


def observations(trials: Sequence[Trial]) -> list[Observation]:
    """What proposals are told of the trials that have ended: of those that diverged, the worst.

    Nothing is told of those that were never measured.
    """
    values = [-trial.gain for trial in trials if trial.gain is not None]
    highest, lowest = max(values, default=0.0), min(values, default=0.0)
    worst = highest + (highest - lowest or 1.0)
    return [
        Observation(Point(trial.mean, trial.slope), worst if trial.gain is None else -trial.gain)
        for trial in trials
        if not trial.is_open and not trial.is_unmeasured
    ]


def propose(
    space: Space,
    kind: str,
    trials: int,
    seed: int,
    generation: int,
    history: Sequence[Observation],
    count: int,
    begin: Point | None = None,
) -> list[Point]:
    """The next `count` points of a study of `trials` trials, of which `history` is finished.

    The first are λ = 1, what is best for a relative, if that is known, and the centre of the
    published optima; a Sobol sequence follows until a model has something to learn from. There are
    fewer where the ranges hold no other points.

    Arguments:
        kind: `gp`, `tpe`, `cmaes`, `random`, `qmc` or `grid`.
        trials: the budget.
        begin: what is best for a relative; a grid has no use for it.
    """
    first, known = len(history), [told.point for told in history]
    if kind == "grid":
        opening = [] if known else [IDENTITY]
        others = _grid(space, trials - 1, [IDENTITY, *known])
        return [*opening, *others][:count]
    own_seed = int(np.random.SeedSequence([seed, generation]).generate_state(1)[0])
    inside = [told for told in history if space.contains(told.point)]
    fixed = count if kind == "qmc" else max(0, min(count, _startup(trials) - first))
    opening = [IDENTITY] if fixed and not known else []
    asked = []
    if fixed > len(opening):
        last = first + fixed - 1  # λ = 1 apart
        asked = [*([] if begin is None else [begin]), space.published_centre()]
        asked += _sobol(space, seed, max(0, last - len(asked)))
        asked = asked[max(0, first - 1) : last]
    wanted = count - len(opening) - len(asked)
    if wanted and history and not inside:
        asked += _sobol(space, own_seed, wanted)
    elif wanted and kind == "cmaes":
        asked += evolved(space, inside, _startup(trials), wanted, own_seed)
    elif wanted:
        asked += _ask(space, _model(kind, own_seed), inside, wanted)
    return [*opening, *_apart(space, asked, [*known, *opening], own_seed)]


def check_candidates(space: Space, kind: str, trials: int, seed: int) -> None:
    """Raises UsageError if a study's ranges hold no candidate but λ = 1."""
    points = propose(space, kind, trials, seed, 0, (), min(trials, _FEW))
    if all(space.schedule(point).is_identity for point in points):
        raise UsageError(
            "λ = 1 is the only candidate of this study.",
            "Widen search.mean or search.slope.",
        )


def _startup(trials: int) -> int:
    """How many points are proposed before a model is asked."""
    return min(10, max(4, trials // 3))


def _model(kind: str, seed: int) -> BaseSampler:
    if kind == "tpe":
        return TPESampler(seed=seed, n_startup_trials=0, constant_liar=True)
    if kind == "random":
        return RandomSampler(seed=seed)
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
    """`points`, with those that repeat one of `known` or of each other moved inside the ranges.

    One that finds no place is left out.
    """
    generator = np.random.default_rng(seed)
    found: list[Point] = []
    for point in map(space.rounded, points):
        others = [*known, *found]
        crowd = sum(space.near(point, other, _NUDGE) for other in others)
        moved = point
        for attempt in range(_ATTEMPTS):
            if not any(_same(space, moved, other) for other in others):
                found.append(moved)
                break
            reach = _NUDGE * (1 + crowd + attempt / 8)
            moved = space.rounded(
                space.moved(point, *generator.uniform(-reach, reach, 2).tolist())
            )
    return found


def _same(space: Space, a: Point, b: Point) -> bool:
    return space.near(a, b, _SAME) or space.schedule(a) == space.schedule(b)


def _sobol(space: Space, seed: int, count: int) -> list[Point]:
    """The first `count` points of a scrambled Sobol sequence."""
    if count == 0:
        return []
    anchor = Observation(Point(sum(space.mean) / 2, sum(space.slope) / 2), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    return _ask(space, sampler, [anchor], count)


def _grid(space: Space, count: int, known: Sequence[Point]) -> list[Point]:
    """`count` points: means × three slopes (one, if the slope is fixed), the means rising.

    Without those that are `known`; λ = 1 is no candidate, and where it lies on the grid, this has
    one more mean.
    """
    slopes = np.unique(np.linspace(*space.slope, _GRID_SLOPES))
    found: list[Point] = []
    for more in range(2):
        means = np.linspace(*space.mean, -(-count // len(slopes)) + more)
        grid = [space.rounded(Point(float(m), float(s))) for m in means for s in slopes]
        found = [point for point in dict.fromkeys(grid) if not space.schedule(point).is_identity]
        if len(found) >= count:
            break
    return [one for one in found[:count] if not any(_same(space, one, old) for old in known)]
