"""Proposals depend on (seed, generation, history) alone, and stay in the ranges."""

import numpy as np
import pytest
from cmaes import CMA

from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.evolution import evolved
from lambda_search.search.proposals import IDENTITY
from lambda_search.search.proposals import observations
from lambda_search.search.proposals import propose
from lambda_search.search.space import Observation
from lambda_search.search.space import Point
from lambda_search.search.space import Space

SPACE = Space((0.98, 1.06), (-0.005, 0.005), 10)
LINE = Space((0.98, 1.06), (0.0, 0.0), 10)


def loss(point):
    """A bowl with its minimum at (1.03, 0.002)."""
    return ((point.mean - 1.03) / 0.02) ** 2 + ((point.slope - 0.002) / 0.004) ** 2 - 2.25


def run(kind, trials=24, parallel=4, seed=0, space=SPACE):
    history, generation = [], 0
    while len(history) < trials:
        count = min(parallel, trials - len(history))
        points = propose(space, kind, trials, seed, generation, history, count)
        assert len(points) == count
        history += [Observation(point, loss(point)) for point in points]
        generation += 1
    return history


@pytest.mark.parametrize("kind", ["gp", "tpe", "cmaes", "random", "qmc", "grid"])
def test_starts_with_lambda_one_and_repeats_itself(kind):
    first = run(kind)
    assert first[0].point == IDENTITY
    assert all(SPACE.contains(told.point) for told in first[1:])
    assert first == run(kind)
    if kind != "grid":
        assert first[1].point == SPACE.published_centre()
        assert run(kind, seed=1) != first


@pytest.mark.parametrize("kind", ["gp", "tpe", "cmaes", "random", "qmc", "grid"])
def test_a_generation_has_no_duplicates(kind):
    history = run(kind)
    for start in range(0, 24, 4):
        points = [told.point for told in history[start : start + 4]]
        assert len(set(points)) == 4


def test_the_gp_finds_the_bowl():
    best = min(run("gp"), key=lambda told: told.value)
    assert abs(best.point.mean - 1.03) < 0.004
    assert abs(best.point.slope - 0.002) < 0.001


@pytest.mark.parametrize("parallel", [1, 4, 7])
def test_the_evolution_closes_in_on_the_bowl(parallel):
    history = run("cmaes", trials=60, parallel=parallel)
    assert min(told.value for told in history) < -2.2
    begun, rest = history[2:10], history[10:]
    assert sum(told.value for told in begun) / 8 > 0 > 1 + sum(told.value for told in rest) / 50
    line = [told.point for told in run("cmaes", trials=30, space=LINE)]
    assert {one.slope for one in line} == {0.0}
    assert abs(min(line, key=loss).mean - 1.03) < 0.003


def test_the_evolution_is_the_one_that_never_stopped():
    """One that keeps its state, told what the rebuilt one measured, stands where that stands."""
    history = run("cmaes", trials=40)
    low, wide = np.array([0.98, -0.005]), np.array([0.08, 0.01])
    at = [(np.array([told.point.mean, told.point.slope]) - low) / wide for told in history]
    best = min(range(10), key=lambda number: history[number].value)
    living = CMA(at[best], 1 / 6, bounds=np.array([[0, 1], [0, 1]]))
    for start in range(10, 36, living.population_size):
        several = range(start, start + living.population_size)
        living.tell([(at[one], history[one].value) for one in several])
    living.reseed_rng(7)
    asked = [low + wide * living.ask() for _ in range(3)]
    found = evolved(SPACE, history, 10, 3, 7)
    assert [(one.mean, one.slope) for one in found] == [pytest.approx(one) for one in asked]


def test_the_grid_is_a_product_of_means_and_three_slopes():
    points = [told.point for told in run("grid", trials=28)][1:]
    assert len({p.mean for p in points}) == 9
    assert {p.slope for p in points} == {-0.005, 0.0, 0.005}


def test_ranges_that_leave_out_lambda_one_still_measure_it():
    away = Space((1.01, 1.05), (0.001, 0.002), 10)
    history = run("gp", trials=16, space=away)
    assert history[0].point == IDENTITY
    assert all(away.contains(told.point) for told in history[1:])


def test_a_fixed_slope_is_a_line_search():
    line = Space((0.98, 1.06), (0.0, 0.0), 10)
    assert {told.point.slope for told in run("gp", trials=12, space=line)} == {0.0}


def test_the_schedule_of_lambda_one_is_exactly_one():
    assert SPACE.schedule(IDENTITY).is_identity
    assert SPACE.schedule(Point(1.02, 0.001)).b == pytest.approx(1.0155, abs=1e-12)


def test_nothing_is_told_of_what_was_never_measured():
    """A candidate that was only confirmed, and one that another search left open."""
    trials = [
        Trial(0, 0, LambdaSchedule(), 1.0, 0.0, "complete", 64, 0.0, 9.0),
        Trial(1, 0, LambdaSchedule(1.01), 1.01, 0.0, "stopped", 32, 0.2, 8.8),
        Trial(2, 0, LambdaSchedule(1.02), 1.02, 0.0, "diverged"),
        Trial(3, 0, LambdaSchedule(1.03), 1.03, 0.0, "complete"),
        Trial(4, 0, LambdaSchedule(1.04), 1.04, 0.0, "stopped"),
    ]
    told = observations(trials)
    assert [(one.point.mean, one.value) for one in told] == [
        (1.0, 0.0),
        (1.01, -0.2),
        (1.02, pytest.approx(0.2)),
    ]


def test_a_grid_of_an_older_release_goes_on_where_it_was():
    """Whose means had five digits, where three are taken now."""
    line = Space((0.99, 1.05), (0.0, 0.0), 10)
    every = [told.point for told in run("grid", space=line)]
    known = [Observation(Point(one.mean + 2e-4, 0.0), 0.0) for one in every[1:12]]
    left = propose(line, "grid", 24, 0, 3, [Observation(IDENTITY, 0.0), *known], 12)
    assert left == every[12:] and left[-1].mean == 1.05


def test_a_slope_of_nothing_has_no_sign():
    assert str(SPACE.rounded(Point(1.02, -1e-9)).slope) == "0.0"
