"""The search of few images: designs, decisions, repeatability, and that it finds what is there."""

from dataclasses import replace

import numpy as np
import pytest

from lambda_search.search.allocation import Box
from lambda_search.search.allocation import Outlook
from lambda_search.search.allocation import opening
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Field
from lambda_search.search.noise import Measurement
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.surface import Surface
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.players import SPACE
from tests.search.players import fewest
from tests.search.players import images_to_goal

ONE = Point(1.0, 0.0)


def bowl(noise, n=200, count=30, seed=0):
    """Scores of a bowl round (0.3, −0.2) on shared images."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(n)
    at = rng.uniform(-1, 1, (count, 2))
    found = []
    for u, v in at:
        psi = noise * (common + 0.2 * rng.standard_normal(n))
        truth = 20 * np.exp(0.3 * ((u - 0.3) ** 2 + (v + 0.2) ** 2))
        found.append(Measurement((u, v), 0, truth + psi.mean(), psi - psi.mean()))
    return found


def outlook(measured, seed=0, box=None):
    box = box or Box((-1.0, -1.0), (1.0, 1.0))
    return Outlook(Surface(measured), box, np.random.default_rng(seed))


def test_the_opening_determines_a_quadratic_and_avoids_corners():
    at = opening(7)
    design = np.column_stack([np.ones(7), at, at**2, at.prod(1)])
    assert np.linalg.matrix_rank(design) == 6
    assert np.abs(at).max() <= 1 and np.abs(at).sum(1).max() < 1.5
    assert len(np.unique(opening(7, is_line=True)[:, 0])) == 7
    assert not opening(7, is_line=True)[:, 1].any()


def test_the_leader_is_the_bottom_of_a_bowl_and_certain_where_noise_is_small():
    sure = outlook(bowl(noise=1.0))
    assert sure.leader == pytest.approx([0.3, -0.2], abs=0.08)
    assert sure.chance_of_better(0.01) < 0.01
    assert sure.chance_of_gain(np.array([-0.8, 0.8]), 0.01) == 1.0
    assert sure.chance_of_gain(sure.leader, 0.01) == sure.chance_of_better(0.01)
    assert outlook(bowl(noise=150.0, n=64, count=7)).chance_of_better(0.01) > 0.2


def test_the_fitted_axes_are_the_valleys():
    """A valley along (1, −1), ten times steeper across."""
    measured = []
    for u, v in Box((-1.0, -1.0), (1.0, 1.0)).grid(7):
        truth = 20 * np.exp(0.05 * (u - v) ** 2 / 2 + 0.5 * (u + v) ** 2 / 2)
        measured.append(Measurement((u, v), 0, truth, np.zeros(50)))
    long, short = outlook(measured).axes()
    assert abs(long @ [1, -1]) > 0.98 * 2**0.5 * np.linalg.norm(long)
    assert np.linalg.norm(long) / np.linalg.norm(short) == pytest.approx(10**0.5, rel=0.25)


def test_the_batch_lowers_the_regret_more_than_as_many_schedules_at_random():
    """On the emulator: the regret that is left after a round, over seeds."""
    truth, lost = BUNDLED[0], {"ours": [], "random": []}
    middle, half = np.array([1.02, -0.015]), np.array([0.03, 0.065])
    at_one = (np.array([1.0, 0.0]) - middle) / half
    for seed in range(12):
        shown = Emulator(replace(truth, features=1), seed)

        def measured(at, first, shown=shown):
            found = [(one, shown.measure(*(middle + half * one), first, 192)) for one in at]
            return [Measurement(tuple(one), first, value, psi) for one, (value, psi) in found]

        scores = measured([at_one, *opening(7)], 0)
        found = outlook(scores, seed)
        ours = found.batch(Field.of(scores), 192, 3, at_one[None], [one.at for one in scores])
        others = np.random.default_rng(seed).uniform(-1, 1, (3, 2))
        for name, at in (("ours", ours), ("random", others)):
            after = outlook([*scores, *measured([at_one, *at], 192)], seed)
            lost[name].append(float(truth.fid(*(middle + half * after.leader))) / truth.best - 1)
    assert np.mean(lost["ours"]) < np.mean(lost["random"])


def test_the_first_round_has_lambda_one_and_d_images_in_whole_batches():
    round_ = KnowledgeGradient(SPACE, features=128, batch=50).opening()
    assert round_.points[0] == ONE and len(round_.points) == 8
    assert (round_.first, round_.n, round_.images) == (0, 150, 1200)
    assert all(SPACE.contains(point) for point in round_.points)


@pytest.mark.parametrize(
    ("mean", "slope"), [((0.98, 1.06), (0.0, 0.0)), ((1.0, 1.0), (-0.008, 0.005))]
)
def test_a_fixed_axis_stays_fixed(mean, slope):
    space = Space(mean, slope, 11)
    search = KnowledgeGradient(space, features=64, seed=1)
    shown, scores, round_ = Emulator(BUNDLED[0], 1), [], search.opening()
    for number in range(1, 4):
        for point in round_.points:
            found = shown.measure(point.mean, 10 * point.slope, round_.first, round_.n)
            scores.append(search.measurement(point, round_.first, *found))
        round_ = search.next(scores, number)
        assert len(set(round_.points)) == len(round_.points) == 4
        fixed = {p.slope if slope[0] == slope[1] else p.mean for p in round_.points[1:]}
        assert fixed == {slope[0] if slope[0] == slope[1] else mean[0]}


def test_same_seed_same_rounds_and_another_seed_others():
    shown = Emulator(BUNDLED[0], 2)
    first, again = (fewest(shown, 2, 4000) for _ in range(2))
    assert first == again
    assert fewest(shown, 3, 4000) != first


def test_rounds_have_indices_of_their_own_or_grow_one_prefix():
    shown = Emulator(BUNDLED[0], 0)
    for fresh in (True, False):
        search = KnowledgeGradient(SPACE, features=128, fresh=fresh)
        opened = search.opening()
        scores = [
            search.measurement(
                one, 0, *shown.measure(one.mean, 10 * one.slope, opened.first, opened.n)
            )
            for one in opened.points
        ]
        then = search.next(scores, 1)
        assert (then.first, then.n) == ((128, 192) if fresh else (0, 192))
        assert then.points[0] == ONE


def test_the_plane_opens_beyond_an_edge_where_the_best_lies():
    """An optimum outside the ranges is reached."""
    truth = replace(BUNDLED[5], noise=0.3)
    marks = fewest(Emulator(truth, 0), 0, 8000)
    assert marks[-1].leader.mean < SPACE.mean[0]
    assert marks[-1].is_good


def test_it_finds_the_valley_and_says_so():
    truth = replace(BUNDLED[2], noise=0.5)
    marks = fewest(Emulator(truth, 1), 1, 30_000, ends=True)
    assert marks[-1].ending == "found" and marks[-1].is_good
    assert images_to_goal(marks) <= 3500


def test_lambda_one_without_gain_ends_early_and_a_budget_ends_anything():
    quiet = replace(NO_GAIN, noise=0.3)
    marks = fewest(Emulator(quiet, 0), 0, 30_000, ends=True)
    assert marks[-1].ending == "no gain" and marks[-1].images < 15_000
    marks = fewest(Emulator(BUNDLED[0], 0), 0, 30_000, ends=True, budget=2000)
    assert marks[-1].ending == "budget" and 1024 < marks[-1].images <= 2000
