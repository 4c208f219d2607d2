import numpy as np
import pytest

from lambda_search.metrics.extrapolation import fid_at_infinity
from lambda_search.metrics.frechet import FrechetReference
from tests.metrics.world import World


@pytest.fixture(scope="module")
def world():
    return World(24)


@pytest.mark.parametrize("n", [8, 9, 30, 57, 60, 500])
def test_it_is_the_end_of_a_line_over_one_over_n(world, n):
    [x] = world.samples(np.random.default_rng(0), n, [1.0])
    points = min(15, n // 4)
    sizes = [round(n // 2 + (n - n // 2) * i / (points - 1)) for i in range(points)]
    distances = [world.reference.distance(x[:size]) for size in sizes]
    ones = np.stack([np.ones(points), 1 / np.array(sizes)], 1)
    end = np.linalg.lstsq(ones, np.array(distances), rcond=None)[0][0]
    assert fid_at_infinity(x, world.reference) == pytest.approx(end, rel=1e-6)


def test_large_sets_start_at_five_thousand():
    x = np.random.default_rng(0).standard_normal((20_000, 2))
    reference = FrechetReference(np.zeros(2), np.eye(2))
    sizes = np.linspace(5000, 20_000, 15).round().astype(int)
    line = np.polyfit(1 / sizes, [reference.distance(x[:size]) for size in sizes], 1)
    assert fid_at_infinity(x, reference) == pytest.approx(line[1], rel=1e-6)


def test_it_is_nearer_to_the_truth_than_the_plain_distance(world):
    truth = world.truth([1.0])[0]
    rng = np.random.default_rng(0)
    sets = [world.samples(rng, 200, [1.0])[0] for _ in range(60)]
    plain = np.mean([world.reference.distance(x) for x in sets]) - truth
    extrapolated = np.mean([fid_at_infinity(x, world.reference) for x in sets]) - truth
    assert plain > 0
    assert abs(extrapolated) < 0.4 * plain
