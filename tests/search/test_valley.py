"""The line along which norms say that good schedules lie: what is linear is solved exactly."""

import numpy as np
import pytest

from lambda_search.models.options import sampling_of
from lambda_search.search.valley import Reach
from lambda_search.search.valley import adds_noise
from lambda_search.search.valley import ridge_of

INDEX = np.arange(10)
BY_MEAN = 2 - 0.1 * INDEX
"""How log r_i changes with a unit of the mean."""


def test_norms_that_a_tilt_changes_a_mean_brings_back():
    for wanted in (-0.4, 0.0, 0.3):
        assert ridge_of(BY_MEAN, -wanted * BY_MEAN) == pytest.approx(wanted)


def test_otherwise_they_change_least_along_it():
    """By another way: the least squares of what is left of a unit of tilt."""
    by_tilt = np.sqrt(INDEX) - 1
    wanted = np.linalg.lstsq(BY_MEAN[5:, None], -by_tilt[5:], rcond=None)[0][0]
    assert ridge_of(BY_MEAN, by_tilt) == pytest.approx(wanted)


def test_the_less_noisy_half_decides_nothing():
    by_tilt = np.sqrt(INDEX) - 1
    found = ridge_of(BY_MEAN, by_tilt)
    by_tilt[:5] += 1
    assert ridge_of(BY_MEAN, by_tilt) == found


def test_where_nothing_changes_norms_the_mean_does_not_move():
    assert ridge_of(np.zeros(10), INDEX) == 0.0


def test_schedules_are_told_as_people_read_them():
    assert Reach(0.03, 0.0, 10).schedule(1.01, 0.0).k == 0.0
    found = Reach(0.03, 0.065, 11).schedule(1.0123456, 0.0333333333)
    assert (found.mean(11), found.k) == (pytest.approx(1.01235), 0.0033333)


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
