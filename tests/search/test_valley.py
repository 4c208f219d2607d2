"""The schedule that norms name: what is exactly linear is solved exactly."""

import numpy as np
import pytest

from lambda_search.models.options import sampling_of
from lambda_search.search.valley import Reach
from lambda_search.search.valley import adds_noise
from lambda_search.search.valley import matched

REACH = Reach(0.03, 0.065, 10)
INDEX = np.arange(10)
BY_MEAN = 2 - 0.1 * INDEX
"""How log r_i changes with a unit of the mean."""
BY_TILT = np.sqrt(INDEX) - 1
NONE = np.zeros(10)


def test_a_drift_that_a_schedule_makes_is_undone_by_its_opposite():
    for mean, tilt in ((0.01, 0.02), (-0.004, 0.01), (0.0, -0.05)):
        drift = -(mean * BY_MEAN + tilt * BY_TILT)
        found = matched(REACH, drift, BY_MEAN, BY_TILT, noisy=True)
        assert found == pytest.approx((1 + mean, tilt), abs=2e-4)


def test_the_less_noisy_half_decides_nothing_where_steps_add_noise():
    drift = -(0.01 * BY_MEAN + 0.02 * BY_TILT)
    found = matched(REACH, drift, BY_MEAN, BY_TILT, noisy=True)
    drift[:5] += 1
    assert matched(REACH, drift, BY_MEAN, BY_TILT, noisy=True) == found


def test_without_noise_the_tilt_is_a_quarter_of_that_of_r_and_the_mean_on_the_line():
    drift = 0.004 * (INDEX - 3)
    mean, tilt = matched(REACH, drift, BY_MEAN, BY_TILT, noisy=False)
    assert tilt == pytest.approx(0.25 * 0.004 * 9)
    # the best mean for that tilt, by another way: the least squares of what is left
    left = (drift + tilt * BY_TILT)[5:]
    wanted = np.linalg.lstsq(BY_MEAN[5:, None], -left, rcond=None)[0][0]
    assert mean == pytest.approx(1 + wanted)


def test_it_stays_in_reach():
    far = matched(REACH, 100 * BY_MEAN, BY_MEAN, BY_TILT, noisy=True)
    assert far[0] == pytest.approx(0.97)
    for noisy in (True, False):
        _, tilt = matched(REACH, 9.0 * INDEX, BY_MEAN, BY_TILT, noisy)
        assert abs(tilt) <= 0.065


def test_where_nothing_changes_norms_it_is_one():
    assert matched(REACH, NONE + 0.01, NONE, NONE, noisy=True) == (1.0, 0.0)
    assert matched(REACH, NONE, BY_MEAN, BY_TILT, noisy=True) == (1.0, 0.0)


def test_a_tilt_that_norms_hardly_feel_is_pulled_to_zero():
    drift = np.where(INDEX % 2, 1e-4, -1e-4)
    _, tilt = matched(REACH, drift, BY_MEAN, 1e-3 * BY_TILT, noisy=True)
    assert abs(tilt) < 0.005


def test_constants_have_no_slope():
    mean, tilt = matched(Reach(0.03, 0.0, 10), -0.01 * BY_MEAN, BY_MEAN, NONE, noisy=True)
    assert (mean, tilt) == (pytest.approx(1.01), 0.0)
    assert Reach(0.03, 0.0, 10).schedule(1.01, 0.0).k == 0.0


def test_one_step_has_a_constant():
    one = np.array([0.02])
    found = matched(Reach(0.03, 0.0, 1), one, np.array([2.0]), np.array([0.0]), noisy=False)
    assert found == (pytest.approx(0.99), 0.0)


@pytest.mark.parametrize(
    ("sampler", "options", "wanted"),
    [
        ("ancestral", {}, True),
        ("ddim", {}, False),
        ("ddim", {"eta": 0.5}, True),
        ("heun", {"s_churn": 1.0}, True),
        ("heun", {}, False),
    ],
)
def test_which_samplings_add_noise(sampler, options, wanted):
    assert adds_noise(sampling_of(sampler, 5, options=options)) is wanted
