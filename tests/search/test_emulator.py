"""The emulator draws what it says: truth, noise that indices share, bias; and is repeatable."""

import csv
from pathlib import Path

import numpy as np
import pytest

from lambda_search.paths import bundled_folder
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.landscapes import SIMULATED

FINE = np.meshgrid(np.linspace(0.88, 1.1, 441), np.linspace(-0.2, 0.25, 901))


@pytest.mark.parametrize("truth", [*BUNDLED, *SIMULATED, NO_GAIN], ids=lambda one: one.name)
def test_the_optimum_is_where_it_is_said_to_be(truth):
    values = truth.fid(*FINE)
    assert values.min() == pytest.approx(truth.best, rel=5e-4)
    at = values.argmin()
    assert (
        abs(FINE[0].flat[at] - truth.mean) < 0.002 and abs(FINE[1].flat[at] - truth.tilt) < 0.004
    )
    assert float(truth.fid(1.0, 0.0)) == pytest.approx(truth.one)


def test_the_first_is_the_bundled_models_grid():
    """truth.csv, of which it was fitted: within 3 % where FID is within a fifth of the lowest."""
    with (bundled_folder("fashion-mnist") / "truth.csv").open() as stream:
        rows = [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)
        ]
    near = [row for row in rows if row["corrected"] < 1.2 * BUNDLED[0].best]
    assert len(near) > 10
    for row in near:
        told = float(BUNDLED[0].fid(row["mean"], 9 * row["slope"]))
        assert told == pytest.approx(row["corrected"], rel=0.03)
        shown = Emulator(BUNDLED[0], 0)
        a, b = (row["mean"], 9 * row["slope"]), (1.0, 0.0)
        variance = shown.covariance(a, a) + shown.covariance(b, b) - 2 * shown.covariance(a, b)
        assert (variance / 5000) ** 0.5 == pytest.approx(row["gain_standard_error"], rel=0.75)


VALLEYS = Path(__file__).parent.parent / "data" / "valleys.csv"


@pytest.mark.parametrize("truth", BUNDLED[1:], ids=lambda one: one.name)
def test_others_are_the_bundled_models_valleys(truth):
    """As measured (`scripts/fit_landscape.py`): the floor within 2 %, all within 3 % rms."""
    with VALLEYS.open() as stream:
        rows = [
            [float(one[name]) for name in ("mean", "tilt", "fid")]
            for one in csv.DictReader(stream)
            if f"{one['sampler']}, {one['steps']} steps" == truth.name
        ]
    assert len(rows) >= 16 and rows[0][:2] == [1, 0]
    assert truth.one == pytest.approx(rows[0][2], rel=0.01)
    mean, tilt, fid = np.array(rows).T
    off = np.log(truth.fid(mean, tilt) / fid)
    assert np.sqrt(np.mean(off**2)) < 0.03
    for at in sorted({*tilt[1:]} - {0.3}):
        lowest = np.where(tilt == at, fid, np.inf).argmin()
        assert abs(off[lowest]) < 0.02


def test_two_basins_are_two():
    floor = SIMULATED[-1]
    along = np.linspace(-0.15, 0.06, 106)
    values = floor.fid(floor.mean + floor.ridge * (along - floor.tilt), along)
    inner = (values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])
    assert inner.sum() == 2


def test_the_same_indices_have_the_same_noise_in_any_order():
    one, other = Emulator(BUNDLED[0], 5), Emulator(BUNDLED[0], 5)
    whole = one.measure(1.02, -0.03, 900, 300)[1]
    other.measure(1.0, 0.0, 5000, 10)
    part = other.measure(1.02, -0.03, 1000, 100)[1]
    inside = whole[100:200]
    assert part == pytest.approx(inside - inside.mean())
    assert not np.allclose(Emulator(BUNDLED[0], 6).measure(1.02, -0.03, 900, 300)[1], whole)


def test_noise_has_the_covariance_that_is_told_and_blocks_apart_have_none():
    truth = BUNDLED[0]
    shown = Emulator(truth, 1)
    a, b = (1.03, -0.06), (1.0, 0.0)
    psi = [shown.measure(*at, 0, 40_000)[1] for at in (a, b)]
    told = [[shown.covariance(x, y) for y in (a, b)] for x in (a, b)]
    assert np.cov(psi) == pytest.approx(np.array(told), rel=0.05)
    errors = np.array(
        [
            [Emulator(truth, seed).measure(*a, first, 64)[0] for first in (0, 64)]
            for seed in range(300)
        ]
    )
    assert abs(np.corrcoef(errors.T)[0, 1]) < 0.15
    expected = float(truth.fid(*a)) + shown.bias(*a, 64)
    assert errors.mean() == pytest.approx(expected, abs=4 * errors.std() / 600**0.5)


def test_the_bias_shrinks_gains_as_a_change_of_contrast_does():
    truth = BUNDLED[0]
    shown = Emulator(truth, 0)
    lost = [
        shown.bias(truth.mean, truth.tilt, n) / (truth.gain * truth.one) for n in (128, 256, 512)
    ]
    assert lost == pytest.approx([0.36, 0.16, 0.03], abs=0.04)
    assert shown.bias(1.0, 0.0, 128) == 0


@pytest.mark.parametrize("truth", SIMULATED, ids=lambda one: one.name)
def test_what_a_score_shows_beside_the_truth_has_its_optimum_where_the_truth_is_higher(truth):
    for sign in (1, -1):
        shown = truth.beside(0.003, sign)
        assert truth.fid(shown.mean, shown.tilt) == pytest.approx(1.003 * truth.best, rel=1e-4)
        assert (shown.tilt > truth.tilt) == (sign > 0)
        emulator = Emulator(truth, 0, shown=shown)
        told = emulator.measure(1.0, 0.0, 0, 64)[0] - emulator.measure(1.02, 0.0, 0, 64)[0]
        whole = Emulator(truth, 0)
        direct = whole.measure(1.0, 0.0, 0, 64)[0] - whole.measure(1.02, 0.0, 0, 64)[0]
        assert told != direct
