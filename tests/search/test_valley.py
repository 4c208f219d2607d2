"""The line along which norms say that good schedules lie: what is linear is solved exactly."""

import numpy as np
import pytest

from lambda_search.models.options import sampling_of
from lambda_search.models.registry import load_model
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
    by_tilt = (np.sqrt(INDEX) - 1) / 2
    wanted = np.linalg.lstsq(BY_MEAN[5:, None], -by_tilt[5:], rcond=None)[0][0]
    assert ridge_of(BY_MEAN, by_tilt) == pytest.approx(wanted)


def test_the_less_noisy_half_decides_nothing():
    by_tilt = np.sqrt(INDEX) - 1
    found = ridge_of(BY_MEAN, by_tilt)
    by_tilt[:5] += 1
    assert ridge_of(BY_MEAN, by_tilt) == found


def test_where_nothing_changes_norms_or_no_one_knows_the_mean_does_not_move():
    assert ridge_of(np.zeros(10), INDEX) == 0.0
    assert ridge_of(BY_MEAN * np.nan, INDEX) == ridge_of(BY_MEAN, INDEX + np.nan) == 0.0


def test_a_mean_that_norms_hardly_feel_moves_no_farther_than_the_tilt():
    assert ridge_of(1e-3 * BY_MEAN, -BY_MEAN) == 1.0
    assert ridge_of(1e-3 * BY_MEAN, BY_MEAN) == -1.0


def test_two_steps_both_tell():
    """Of the first start alone nothing is known: its norm no schedule changes."""
    assert ridge_of(np.array([2.0, 0.0]), np.array([1.0, 0.0])) == -0.5


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
    assert adds_noise(None, sampling_of(sampler, 5, options=options)) is wanted


@pytest.mark.parametrize(
    ("name", "config", "wanted"),
    [
        ("EulerAncestralDiscreteScheduler", {}, True),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, True),
        ("DPMSolverMultistepScheduler", {}, False),
        ("EulerDiscreteScheduler", {}, False),
    ],
)
def test_a_scheduler_is_asked_whether_it_does(tiny_pipeline, name, config, wanted):
    model = load_model("diffusers", str(tiny_pipeline))
    options = {"class": name, "config": config, "batch": 1}
    assert adds_noise(model, model.resolve(sampling_of("scheduler", 4, options=options))) is wanted
