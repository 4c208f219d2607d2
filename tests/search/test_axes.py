"""The axes that are searched, against valleys whose line is known."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from lambda_search.search import known as known_module
from lambda_search.search.allocation import Box
from lambda_search.search.allocation import opening
from lambda_search.search.axes import along_valley
from lambda_search.search.axes import moved
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Measurement
from lambda_search.search.plane import Plane
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.surface import BIAS
from lambda_search.search.surface import Surface
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import SIMULATED
from tests.search.players import SPACE
from tests.search.players import fewest
from tests.search.players import images_to_goal
from tests.search.players import rounds

ROUND = [Plane(SPACE).at_one, *map(tuple, opening(7).tolist())]


def scores(height, places=ROUND, seed=0, error=0.01):
    """What `places` would score, of log height `height`, on images that they share."""
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal((len(places), 128))
    psi = 20 * error * 128**0.5 * (psi - psi.mean(1, keepdims=True))
    return [
        Measurement(at, 0, 20 * np.exp(height(*at)) + one.mean(), one)
        for at, one in zip(places, psi, strict=True)
    ]


def line(plane):
    """Off and steepness of the line u = 0 of `plane`, in half-widths of the ranges."""
    ranges = Plane(SPACE)
    low, middle, high = (
        ranges.place(plane.point(np.array([0.0, v])))[0] for v in (-1.0, 0.0, 1.0)
    )
    return middle, (high - low) / 2


@pytest.mark.parametrize("off", [-0.5, 0.0, 0.7])
@pytest.mark.parametrize("steep", [-1.2, -0.5, 0.0, 0.4])
def test_it_is_the_line_of_a_valley(off, steep):
    told = [scores(lambda u, v: 0.3 * (u - off - steep * v) ** 2 + 0.02 * v, seed=n)
            for n in range(6)]  # fmt: skip
    found = [line(along_valley(Plane(SPACE), one, 0)) for one in told]
    assert np.median(found, axis=0) == pytest.approx([off, steep], abs=0.08)


def test_of_emulated_studies_the_first_round_tells_it():
    """Half of the runs within 0.05 of mean a unit of tilt."""
    for truth in BUNDLED:
        off = []
        for seed in range(400, 412):
            search = KnowledgeGradient(SPACE, truth.features, seed=seed)
            (told, _, _), = islice(rounds(Emulator(truth, seed), search), 1)  # fmt: skip
            _, steep = line(along_valley(Plane(SPACE), told, truth.features))
            off.append(abs(steep * 0.03 / 0.065 - truth.ridge))
        assert np.median(off) < 0.05, truth.name


def test_a_plane_stays_where_scores_tell_no_valley():
    plane, falling = Plane(SPACE), scores(lambda u, v: -0.3 * u * u + 0.1 * v)
    assert along_valley(plane, falling, 0) is plane, "a ridge is no valley"
    valley = scores(lambda u, v: 0.3 * (u + v) ** 2)
    assert along_valley(plane, valley, 0) is not plane
    assert along_valley(plane, valley[:5], 0) is plane, "five points are no quadratic"
    far = [replace(one, at=(one.at[0] + 3, one.at[1])) for one in valley]
    assert along_valley(plane, far, 0) is plane, "they lie elsewhere"
    for space in (replace(SPACE, slope=(0.0, 0.0)), replace(SPACE, mean=(1.0, 1.0))):
        fixed = Plane(space)
        assert along_valley(fixed, valley, 0) is fixed


def test_no_line_is_believed_that_is_too_steep_or_too_far_off():
    """A tilt is undone by no more of mean than its own size."""
    plane, steepest = Plane(SPACE), 0.065 / 0.03
    assert plane.steepest == pytest.approx(steepest)
    for off, steep in ((0.0, -2.9), (0.0, 2.9), (-3.0, 0.0), (3.0, 0.0)):
        told = scores(lambda u, v: 0.05 * (u - off - steep * v) ** 2, error=1e-4)  # noqa: B023
        wanted = np.clip([off, steep], [-2, -steepest], [2, steepest])
        assert line(along_valley(plane, told, 0)) == pytest.approx(wanted, abs=0.4)
    told = scores(lambda u, v: 0.3 * (u + v) ** 2)
    far = Plane(Space((1.08, 1.082), SPACE.slope, 11))
    assert along_valley(far, told, 0) is far, "λ = 1 lies 81 half-widths away"


@pytest.mark.parametrize(
    ("space", "off", "steep"),
    [(Space((0.7, 1.3), (-0.03, 0.03), 11), -1.9, -0.8),
     (Space((0.6, 1.4), (-0.02, 0.02), 11), -1.0, -0.8)],
)  # fmt: skip
def test_no_plane_is_turned_to_where_lambda_reaches_zero(space, off, steep):
    plane, whole = Plane(space), Box((-1.0, -1.0), (1.0, 1.0))
    assert plane.is_sound(whole) and not plane.along(off, steep).is_sound(whole)
    places = [plane.at_one, *map(tuple, opening(7).tolist())]
    told = scores(lambda u, v: 0.3 * (u - off - steep * v) ** 2, places, error=1e-4)
    assert along_valley(plane, told, 0) is plane
    for at in ((0.0, 0.0), (-1.0, 0.5)):
        box = plane.along(0.0, steep / 4).box(np.array([at]))
        assert plane.along(0.0, steep / 4).is_sound(box)


def test_a_turned_plane_opens_as_far_as_lambda_stays_positive():
    """The rectangle around its corners has λ below zero at one of its own."""
    turned = Plane(Space((0.7, 1.3), (-0.03, 0.03), 11)).along(0.0, -1.0)
    box = turned.box(np.array([[-0.2, 0.9], [0.2, -0.9]]))
    assert turned.is_sound(box) and box.high[1] > 1.2


def test_lines_in_a_plane_along_a_line_add_up():
    plane = Plane(SPACE).along(0.2, -0.6).along(0.1, 0.2)
    assert line(plane) == pytest.approx((0.3, -0.4), abs=1e-3)


def test_schedules_are_the_same_in_either_plane():
    plane, told = Plane(SPACE), scores(lambda u, v: u * u)
    points = [plane.point(np.array(one.at)) for one in told]
    other = plane.along(0.4, -0.9)
    found = moved(told, plane, other)
    assert [other.point(np.array(one.at)) for one in found] == points
    assert found[0].at == other.at_one and other.point(np.array(other.at_one)) == IDENTITY
    assert all(a.influence is b.influence for a, b in zip(told, found, strict=True))


def test_a_search_follows_the_line_that_its_scores_tell_unless_it_is_told_one():
    truth = BUNDLED[3]
    for ridge, wanted in ((None, truth.ridge), (0.0, 0.0)):
        search = KnowledgeGradient(SPACE, truth.features, seed=7, ridge=ridge)
        (told, _, _), = islice(rounds(Emulator(truth, 7), search), 1)  # fmt: skip
        held = search.reach(told, Point(0.98, 0.008)), search.reach(told, Point(1.0, -0.002))
        middles = [sum(one.mean) / 2 for one in held]
        assert (middles[0] - middles[1]) / 0.1 == pytest.approx(wanted, abs=0.08)


def test_narrow_ranges_far_from_the_optimum_reach_it():
    """Six half-widths of unturned ones do not: before planes were turned it ended 2 % above."""
    space = Space((1.0, 1.02), (-0.015, 0.01), 11)
    reached = []
    for seed in range(5):
        search = KnowledgeGradient(space, BUNDLED[5].features, seed=seed, budget=12_000)
        *_, (_, _, verdict) = islice(rounds(Emulator(BUNDLED[5], seed), search), 13)
        reached.append(BUNDLED[5].good(verdict.leader.mean, 10 * verdict.leader.slope))
    assert sum(reached) >= 4


@pytest.mark.parametrize("ridge", [0.3, 0.0, -0.7])
def test_valleys_that_run_otherwise_are_found_too(ridge):
    truth = replace(BUNDLED[0], ridge=ridge, mean=1.02, tilt=-0.02)
    found = [images_to_goal(fewest(Emulator(truth, seed), seed, 10_000)) for seed in range(4)]
    assert sum(one <= 10_000 for one in found) >= 3, found


def test_constants_are_where_the_slope_is_zero():
    """The line k = 0 holds in a plane along a valley, and its best constant is the true one."""
    truth = replace(SIMULATED[0], mean=0.985, tilt=0.02)
    quiet = replace(truth, noise=truth.noise.times(0.02), features=16)
    search = KnowledgeGradient(SPACE, features=16, both=True)
    told, _, _ = list(islice(rounds(Emulator(quiet, 0), search), 5))[-1]
    *_, constant = search.candidates(told, 1)
    means = np.linspace(0.95, 1.05, 2001)
    best = float(means[truth.fid(means, 0.0).argmin()])
    assert constant.slope == 0 and constant.mean == pytest.approx(best, abs=0.003)


def test_ranges_that_stand_far_from_the_valley_reach_it():
    search = KnowledgeGradient(Space((0.9, 0.96), (-0.008, 0.005), 11), features=128, seed=1)
    *_, (told, _, verdict) = islice(rounds(Emulator(BUNDLED[0], 1), search), 14)
    assert BUNDLED[0].good(verdict.leader.mean, 10 * verdict.leader.slope)
    assert search.reach(told, verdict.leader).contains(verdict.leader)


@pytest.mark.parametrize(("gain", "away"), [(0.05, 1.5), (0.2, 4.0), (0.2, 0.8)])
def test_the_bias_is_a_share_of_what_is_gained(monkeypatch, gain, away):
    """(0.36·gain + 0.003)/distance from λ = 1, and 0.02 at most."""
    asked = []
    usual = known_module.Surface

    def spied(*args, **more):
        asked.append(more.get("bias", BIAS))
        return usual(*args, **more)

    monkeypatch.setattr(known_module, "Surface", spied)
    places = [(u * away / 2, v) for u in (0.0, 1.0, 2.0, 3.0) for v in (-0.6, 0.0, 0.6)]
    told = scores(lambda u, v: -gain * (1 - (u / away - 1) ** 2) + 0.5 * v * v, places, error=1e-5)
    around = Plane(Space((0.97, 1.03), (-0.0065, 0.0065), 11))
    assert around.at_one == (0.0, 0.0)
    known = known_module.Known(around, 128, told, turns=False)
    known.outlook()
    wanted = min((0.36 * gain + 0.003) / away, BIAS)
    assert asked[-1] == pytest.approx(wanted, rel=0.06)
    told = scores(lambda u, v: 0.3 * (u * u + v * v), places, error=1e-5)
    known_module.Known(around, 128, told, turns=False).outlook()
    assert asked[-1] == pytest.approx(0.003 / 0.5, rel=0.01), "where λ = 1 is best"


def test_the_bias_is_none_at_lambda_one_and_grows_away_from_it():
    places = [(0.5, 0.5), (1.5, 0.5)]
    told = scores(lambda u, v: 0.0 * u, places, error=1e-6)
    own = [
        Surface(told, 128, bias=bias, at_one=places[0]).spread(np.array(places))
        for bias in (0.0, 0.02)
    ]
    assert own[1][0] == pytest.approx(own[0][0], abs=1e-4)
    assert own[1][1] == pytest.approx(0.02, rel=0.1)
