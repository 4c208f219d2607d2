"""The search of few images: designs, decisions, repeatability, and that it finds what is there."""

from dataclasses import replace
from itertools import islice
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from lambda_search.search.allocation import MOST
from lambda_search.search.allocation import Box
from lambda_search.search.allocation import Outlook
from lambda_search.search.allocation import opening
from lambda_search.search.allowance import Spent
from lambda_search.search.ends import unseen_end
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Field
from lambda_search.search.noise import Measurement
from lambda_search.search.plane import Plane
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.surface import Surface
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.landscapes import SIMULATED
from tests.search.players import SPACE
from tests.search.players import fewest
from tests.search.players import images_to_goal
from tests.search.players import rounds
from tests.search.players import tilt

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
    assert sure.leader == pytest.approx([0.3, -0.2], abs=0.01)
    assert sure.chance_of_better(0.01) < 0.01
    assert sure.chance_of_gain(np.array([-0.8, 0.8]), 0.01) == 1.0
    assert sure.chance_of_gain(sure.leader, 0.01) == sure.chance_of_better(0.01)
    assert outlook(bowl(noise=150.0, n=64, count=7)).chance_of_better(0.01) > 0.2


def test_the_leader_lies_between_the_points_of_the_grid_and_within_the_box():
    """Where the surface is lowest, by another library's minimiser."""
    found = outlook(bowl(noise=1.0), box=Box((-1.0, -0.1), (1.0, 1.0)))
    lowest = minimize(
        lambda at: found.surface.mean(at[None])[0],
        [0.0, 0.0],
        method="L-BFGS-B",
        bounds=[(-1.0, 1.0), (-0.1, 1.0)],
    )
    assert found.leader == pytest.approx(lowest.x, abs=2e-3)
    assert found.leader[1] == -0.1


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
    spent = Spent(0, 0, 0)
    for number in range(1, 4):
        for point in round_.points:
            found = shown.measure(point.mean, 10 * point.slope, round_.first, round_.n)
            scores.append(search.measurement(point, round_.first, *found))
        spent = Spent(number, spent.images + round_.images, 8 + 2 * (number - 1))
        round_ = search.next(scores, spent)
        assert len(set(round_.points)) == len(round_.points) == 3
        new = {*round_.points} - {ONE}
        fixed = {p.slope if slope[0] == slope[1] else p.mean for p in new}
        assert fixed == {slope[0] if slope[0] == slope[1] else mean[0]}


def test_same_seed_same_rounds_and_another_seed_others():
    shown = Emulator(BUNDLED[0], 2)
    first, again = (fewest(shown, 2, 4000) for _ in range(2))
    assert first == again
    assert fewest(shown, 3, 4000) != first


def played(search, count=1):
    """All scores of the first rounds on the emulator, and what these took."""
    shown, scores, tried, spent = Emulator(BUNDLED[0], 0), [], set(), Spent(0, 0, 0)
    for number in range(count):
        block = search.next(scores, spent) if number else search.opening()
        for one in block.points:
            found = shown.measure(one.mean, 10 * one.slope, block.first, block.n)
            scores.append(search.measurement(one, block.first, *found))
        tried |= set(block.points)
        spent = Spent(number + 1, spent.images + block.images, len(tried))
    return scores, spent


def test_rounds_have_indices_of_their_own():
    search = KnowledgeGradient(SPACE, features=128)
    then = search.next(*played(search))
    assert (then.first, then.n, len(then.points)) == (128, 256, 3)


def test_later_rounds_have_the_lowest_schedule_so_far_first():
    """With all but no noise that is the truth's own."""
    truth = replace(BUNDLED[0], noise=BUNDLED[0].noise.times(0.001), features=1)
    shown, search = Emulator(truth, 0), KnowledgeGradient(SPACE, features=128)
    tried: list[Point] = []
    scores, spent, block = [], Spent(0, 0, 0), search.opening()
    for number in range(1, 5):
        for one in block.points:
            found = shown.measure(one.mean, tilt(one), block.first, block.n)
            scores.append(search.measurement(one, block.first, *found))
        tried += block.points
        spent = Spent(number, spent.images + block.images, len({*tried}))
        block = search.next(scores, spent)
        assert block.points[0] == min(tried, key=lambda one: truth.fid(one.mean, tilt(one)))
        assert block.points[0] not in block.points[1:]


def test_what_is_expected_of_the_leader_is_its_true_gain_where_noise_is_small():
    truth = replace(BUNDLED[0], noise=BUNDLED[0].noise.times(0.01), features=1)
    shown, search = Emulator(truth, 0), KnowledgeGradient(SPACE, features=128)
    *_, (_, _, verdict) = islice(rounds(shown, search), 5)
    gain = 1 - float(truth.fid(verdict.leader.mean, tilt(verdict.leader))) / truth.one
    assert verdict.expected == pytest.approx(gain, abs=0.01) and gain > 0.1


def test_a_round_that_would_repeat_the_last_one_has_something_new(monkeypatch):
    """Where one step of looking ahead sees nothing, it would ask for the same for ever."""
    search = KnowledgeGradient(SPACE, features=128, ridge=0.0)
    scores, spent = played(search, 2)
    last = [one.at for one in scores if one.first == scores[-1].first]
    monkeypatch.setattr(Outlook, "batch", lambda *_: np.array(last[-2:]))
    asked = {search.measurement(one, 0, 1.0, scores[0].influence).at
             for one in search.next(scores, spent).points}  # fmt: skip
    assert len(asked) == 3 and len(asked - {one.at for one in scores}) == 1
    known = []
    monkeypatch.setattr(Outlook, "rival", lambda _, share, at: known.extend(at) or np.zeros(2))
    search.next(scores, spent)
    assert {tuple(at) for at in known} == {one.at for one in scores}, "it is none of these"
    monkeypatch.setattr(Outlook, "batch", lambda *_: np.array([one.at for one in scores[2:4]]))
    asked = search.next(scores, spent).points
    assert {search.measurement(one, 0, 1.0, scores[0].influence).at for one in asked[1:]} == {
        one.at for one in scores[2:4]
    }


def test_a_rival_is_where_a_better_one_is_most_likely():
    """Far from all that was measured, on the side where the bowl goes on falling."""
    shown = outlook([one for one in bowl(0.001) if one.at[0] < -0.3])
    rival = shown.rival(0.01, shown.leader[None])
    assert rival[0] > 0 and np.abs(rival - shown.leader).max() > 0.02
    again = shown.rival(0.01, np.array([shown.leader, rival]))
    assert np.abs(again - rival).max() > 0.02


CENTRED = Space((0.98, 1.02), (-0.005, 0.005), 11)


@pytest.mark.parametrize("trials", [2, 3, 4, 8, 9])
@pytest.mark.parametrize("space", [SPACE, CENTRED], ids=["usual", "centred"])
def test_every_round_measures_something_until_the_trials_are_spent(space, trials):
    """Ranges centred on λ = 1 have an opening with fewer schedules, which is not made again."""
    search = KnowledgeGradient(space, features=64, trials=trials, budget=10**6)
    blocks, scores, tried, spent = [search.opening()], [], set(), Spent(0, 0, 0)
    while True:
        block = blocks[-1]
        for one in block.points:
            psi = np.random.default_rng(len(scores)).standard_normal(block.n)
            scores.append(search.measurement(one, block.first, 20 - one.mean, psi - psi.mean()))
        tried |= set(block.points)
        spent = Spent(len(blocks), spent.images + block.images, len(tried))
        if search.ending(1.0, 1.0, scores, spent) is not None:
            break
        blocks.append(search.next(scores, spent))
        assert len(blocks[-1].points) > 1 and len(blocks) < 12
    assert search.ending(1.0, 1.0, scores, spent) == "trials" and len(tried) == trials
    assert all(a.points != b.points for a, b in pairwise(blocks))


def test_what_diverged_elsewhere_takes_none_of_the_trials():
    search = KnowledgeGradient(SPACE, features=128, trials=12)
    scores, spent = played(search)
    lost = [Point(0.9 + n / 1000, -0.02) for n in range(20)]
    assert search.ending(1.0, 1.0, scores, spent, lost) is None
    assert len(search.next(scores, spent, lost).points) == 3
    assert search.ending(1.0, 1.0, scores, replace(spent, schedules=12), lost) == "trials"


def test_the_budget_is_weighed_against_the_round_that_comes():
    """In other ranges that is an opening, which has more images than other rounds."""
    before = KnowledgeGradient(SPACE, features=128)
    scores, spent = played(before)
    moved = replace(SPACE, mean=(1.2, 1.3))
    for images, ending in ((2 * 1024 - 1, "budget"), (2 * 1024, None)):
        search = KnowledgeGradient(moved, features=128, budget=images)
        placed = [
            replace(one, at=search.measurement(point, 0, 1.0, one.influence).at)
            for one, point in zip(scores, before.opening().points, strict=True)
        ]
        assert search.ending(1.0, 1.0, placed, spent) == ending
        if ending is None:
            assert search.next(placed, spent).images == 1024
    for images, ending in ((1024 + 3 * 256 - 1, "budget"), (1024 + 3 * 256, None)):
        search = KnowledgeGradient(SPACE, features=128, budget=images)
        assert search.ending(1.0, 1.0, scores, spent) == ending


@pytest.mark.parametrize("count", [1, 3, 20, 1023])
@pytest.mark.parametrize("features", [128, 2048])
def test_no_budget_makes_more_rounds_than_can_be_weighed(count, features):
    made = KnowledgeGradient(SPACE, features, 16, count=count, budget=1_000_000)
    allowed = made.allowance
    rounds = (1_000_000 - made.first_images) / allowed.later_images
    assert rounds <= 60 and rounds * (allowed.count + 1) <= 1200
    assert allowed.count <= MOST
    usual = KnowledgeGradient(SPACE, features, 1, count=3).allowance
    assert usual.n == 2 * features, "usual budgets have rounds of the usual size"


@pytest.mark.parametrize("count", [1, 3, 15, 1023])
def test_a_budget_that_is_left_open_has_room_for_five_rounds_more(count):
    for features in (128, 2048):
        made = KnowledgeGradient(SPACE, features, 32, count=count)
        assert made.allowance.images >= made.first_images + 5 * made.allowance.later_images
        assert made.allowance.images >= max(7_500, 40 * features)


def test_a_budget_that_is_left_open_is_that_of_the_proof_within_twenty_rounds():
    least, most = 7_500, 1024 + 20 * 3 * 256
    for proof, images in ((0, least), (least, least), (9_984, 9_984), (most + 1, most)):
        assert KnowledgeGradient(SPACE, 128, proof=proof).allowance.images == images
    assert KnowledgeGradient(SPACE, 128, proof=most).allowance.n == 256, "rounds of the usual size"
    given = KnowledgeGradient(SPACE, 128, budget=8_000, proof=9_984)
    assert given.allowance.images == 8_000


def test_a_batch_has_as_many_schedules_as_are_promised():
    scores, _ = played(KnowledgeGradient(SPACE, features=128), 4)
    found = outlook(scores).batch(Field.of(scores), 192, 1023, np.zeros((1, 2)), [])
    assert MOST - 12 >= len(found) > 20
    old = [tuple(one) for one in np.random.default_rng(0).uniform(-1, 1, (40, 2))]
    again = outlook(scores).batch(Field.of(scores), 192, 1023, np.zeros((1, 2)), old)
    assert len(found) < len(again) <= min(len(found) + 12, MOST)


def test_the_plane_opens_beyond_an_edge_where_the_best_lies():
    """An optimum outside the ranges is reached."""
    truth = replace(BUNDLED[5], noise=BUNDLED[5].noise.times(0.3))
    marks = fewest(Emulator(truth, 0), 0, 8000)
    assert marks[-1].leader.mean < SPACE.mean[0]
    assert marks[-1].is_good


def test_no_search_ends_by_itself_before_it_has_looked_at_the_other_end_of_the_valley():
    """Of two basins the second has λ = 1 in it, and most of the first round."""
    two = SIMULATED[5]
    truth = replace(two, features=32, noise=two.noise.times(0.3))
    for seed in range(4):
        marks = fewest(Emulator(truth, seed), seed, 30_000, ends=True, least=128)
        assert marks[-1].ending == "found"
        assert truth.fid(marks[-1].leader.mean, tilt(marks[-1].leader)) < 1.02 * truth.best


def test_the_end_to_look_at_is_the_lower_one_unless_something_near_it_is_known():
    """A valley along (1, −1) that falls towards its lower slopes, measured in its middle."""
    measured = []
    for u, v in Box((-0.5, -0.5), (0.5, 0.5)).grid(5):
        truth = 20 * np.exp(0.5 * (u + v) ** 2 / 2 + 0.1 * v)
        measured.append(Measurement((u, v), 0, truth, np.zeros(50)))
    known, wide = outlook(measured, box=Box((-1.6, -1.6), (1.6, 1.6))), np.array([[0.0, 0.0]])
    end = unseen_end(known, wide)
    assert end[1] == -1.3 and end[0] == pytest.approx(1.3, abs=0.1)
    assert unseen_end(known, np.array([[1.0, -1.0]])) is None
    assert unseen_end(known, np.array([[1.0, 0.0]])) is not None
    assert unseen_end(outlook(measured, box=Box((-1.0, 0.0), (1.0, 0.0))), wide) is None


def test_the_plane_opens_as_far_as_lambda_stays_positive():
    """Around (−1.9, 1.9) half-widths it would open to a corner where λ(0) is below zero."""
    space = Space((0.8, 1.2), (-0.02, 0.02), 11)
    plane = Plane(space)
    box = plane.box(np.array([[-1.9, 1.9]]))
    assert plane.is_sound(box)
    assert box.low[0] < -1 and box.high[1] > 1
    assert plane.box(np.array([[-0.1, 0.2]])) == Box((-1.0, -1.0), (1.0, 1.0))


def test_a_plane_along_a_line_has_ranges_that_move_with_it():
    space = Space((0.98, 1.02), (-0.01, 0.01), 11)
    plane = Plane(space, ridge=-3.0, farthest=1.5)
    assert plane.at_one == (0.0, 0.0)
    assert plane.point(np.array([0.0, 1.0])) == Point(0.97, 0.01)
    assert plane.point(np.array([-1.0, -1.0])) == Point(1.01, -0.01)
    for at in ((0.4, -0.7), (-1.2, 1.3)):
        assert plane.place(plane.point(np.array(at))) == pytest.approx(at, abs=1e-3)
    box = plane.box(np.array([[0.9, -1.0]]))
    assert box == Box((-1.0, -1.5), (1.5, 1.0))
    for v in (-1.5, 0.0, 1.0):
        held = plane.space(box, plane.point(np.array([0.3, v])))
        ends = [plane.point(np.array([u, v])).mean for u in (-1.0, 1.5)]
        assert held == replace(space, mean=tuple(ends), slope=(-0.015, 0.01))


def test_rounds_have_as_many_images_as_they_are_told_to():
    search = KnowledgeGradient(SPACE, features=128, each=40)
    for scores, spent, _ in islice(rounds(Emulator(BUNDLED[0], 0), search), 3):
        assert {one.n for one in scores} == {40} and spent.images == 40 * len(scores)


def test_the_lowest_and_a_gain_are_the_true_ones_where_noise_is_small():
    truth = BUNDLED[0]
    quiet = replace(truth, noise=truth.noise.times(0.02))
    search = KnowledgeGradient(SPACE, features=16, each=200)
    scores, _, _ = list(islice(rounds(Emulator(quiet, 3), search), 4))[-1]
    lowest = search.lowest(scores)
    assert float(truth.fid(lowest.mean, tilt(lowest))) == pytest.approx(truth.best, rel=0.01)
    for point in (lowest, Point(1.01, -0.002), Point(1.0, 0.0)):
        gain, deviation = search.gain(scores, point)
        told = 1 - float(truth.fid(point.mean, tilt(point))) / truth.one
        assert gain == pytest.approx(told, abs=max(4 * deviation, 0.01))
    assert search.gain(scores, Point(1.0, 0.0)) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_the_plane_opens_no_less_far_for_what_was_measured_farther_out():
    plane = Plane(Space((0.7, 1.3), (-0.03, 0.03), 11))
    for u in np.linspace(0.5, 2.0, 16):
        box = plane.box(np.array([[-u, u]]))
        assert plane.is_sound(box)
        assert min(-box.low[0], box.high[1]) >= max(u, 1) - 1e-9
    assert plane.box(np.array([[-0.9, 0.9]])).high[1] == pytest.approx(1.8)


def test_beyond_the_best_of_a_relative_the_plane_opens_as_far_as_that_was_looked_beyond():
    plane, opened = Plane(SPACE), [[-3.0, 3.0], [0.9, -0.9]]
    assert plane.box(np.array(opened)) == Box((-6.0, -1.8), (1.8, 6.0))
    boxes = [
        plane.box(np.array([*opened, [-3 - far, 3 + far]]), (-3.0, 3.0)) for far in (0.0, 0.8, 2.0)
    ]
    assert boxes == [Box((-end, -1.8), (1.8, end)) for end in (4.0, 4.6, 6.0)]
    inside = np.array([[0.9, -0.9], [0.5, 0.8]])
    assert plane.box(inside, (0.5, 0.8)) == plane.box(inside), "it is what the ranges are for"


def test_the_first_schedule_of_a_round_is_one_that_was_measured_though_ranges_changed():
    """A plane that had slopes and has constants now; and constants that were told more finely."""
    finer = Space((1.0, 1.02), (0.0, 0.0), 11)
    for before, after in ((SPACE, replace(SPACE, slope=(0.0, 0.0))),
                          (finer, replace(finer, mean=(0.95, 1.05)))):  # fmt: skip
        shown, old = Emulator(BUNDLED[0], 0), KnowledgeGradient(before, features=128)
        search, block, tried = KnowledgeGradient(after, features=128), old.opening(), []
        scores = []
        for one in block.points:
            found = shown.measure(one.mean, tilt(one), block.first, block.n)
            scores.append(search.measurement(one, block.first, *found))
            tried.append(one)
        block = search.next(scores, Spent(1, block.images, 8))
        assert block.points[0] in tried


def test_it_finds_the_valley_and_says_so():
    truth = replace(BUNDLED[2], noise=BUNDLED[2].noise.times(0.5))
    marks = fewest(Emulator(truth, 1), 1, 30_000, ends=True)
    assert marks[-1].ending == "found" and marks[-1].is_good
    assert images_to_goal(marks) <= 3500


def test_lambda_one_without_gain_ends_early_and_a_budget_ends_anything():
    quiet = replace(NO_GAIN, noise=NO_GAIN.noise.times(0.3))
    marks = fewest(Emulator(quiet, 0), 0, 30_000, ends=True)
    assert marks[-1].ending == "no gain" and marks[-1].images < 15_000
    marks = fewest(Emulator(BUNDLED[0], 0), 0, 30_000, ends=True, budget=2000)
    assert marks[-1].ending == "budget" and 1024 < marks[-1].images <= 2000
