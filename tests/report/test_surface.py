"""The fitted gain: near the truth as it says, honest about what it does not know."""

import random
from dataclasses import replace

import numpy as np
import pytest

from lambda_search.report.surface import PLAUSIBLE
from lambda_search.report.surface import fit_surface
from tests.report.studies import AT_ONE
from tests.report.studies import MEAN
from tests.report.studies import SLOPE
from tests.report.studies import fid
from tests.report.studies import searched


def truth(surface, steps=10):
    return np.array([[AT_ONE - fid(m, s, steps) for m in surface.means] for s in surface.slopes])


@pytest.mark.parametrize("seed", range(3))
def test_it_lies_within_its_own_error_of_the_truth(seed):
    surface = fit_surface(*searched(noise=random.Random(seed)), MEAN, SLOPE)
    off = np.abs(surface.gain - truth(surface)) / surface.error
    assert np.quantile(off, 0.9) < 2.5
    lost = AT_ONE - truth(surface).max() - fid(*surface.best, 10)
    assert abs(lost) < 4 * surface.best_error
    assert surface.shortfall.min() == 0 and surface.shortfall.max() > PLAUSIBLE


def test_the_gain_at_one_is_zero_and_known():
    surface = fit_surface(*searched(), (0.99, 1.01), (-0.001, 0.001))
    middle = len(surface.slopes) // 2, len(surface.means) // 2
    assert surface.means[middle[1]] == pytest.approx(1)
    assert surface.gain[middle] == pytest.approx(0, abs=0.01)
    assert surface.error[middle] < 0.02 < surface.error[0, 0]


def test_what_was_not_tried_is_not_known():
    trials, evaluations = searched(trials=30)
    half = [one for one in trials if one.mean < 1.02]
    surface = fit_surface(half, evaluations, MEAN, SLOPE)
    assert surface.error[:, -1].mean() > 2 * surface.error[:, :20].mean()


def test_a_best_at_the_end_of_a_range_is_told():
    surface = fit_surface(
        *searched(mean=(0.97, 1.0), slope=(0.0, 0.005)), (0.97, 1.0), (0.0, 0.005)
    )
    assert "upper end of the mean" in surface.edges
    assert fit_surface(*searched(trials=40), MEAN, SLOPE).edges == ()


@pytest.mark.parametrize(("mean", "slope"), [(MEAN, (0.0, 0.0)), ((1.02, 1.02), SLOPE)])
def test_a_search_along_a_line(mean, slope):
    surface = fit_surface(*searched(mean=mean, slope=slope, trials=9), mean, slope)
    assert min(surface.gain.shape) == 1 and max(surface.gain.shape) > 10
    off = np.abs(surface.gain - truth(surface)) / surface.error
    assert np.quantile(off, 0.9) < 3


def test_too_few_trials_make_no_surface():
    assert fit_surface(*searched(trials=5), MEAN, SLOPE) is None
    assert fit_surface([], [], MEAN, SLOPE) is None


def test_a_distance_below_zero_and_thousands_of_trials_are_fitted_too():
    trials, evaluations = searched(trials=900)
    below = [
        type(one)(**{**vars(one), "corrected": one.corrected - 2 * AT_ONE}) for one in evaluations
    ]
    assert np.isfinite(fit_surface(trials, below, MEAN, SLOPE).gain).all()


def test_a_trial_that_was_only_compared_with_itself_adds_nothing():
    trials, evaluations = searched(noise=random.Random(0))
    copies = [replace(one, first=10**6 + k, through=one.trial)
              for one in evaluations if one.trial for k in range(5)]  # fmt: skip
    before, after = (
        fit_surface(trials, some, MEAN, SLOPE) for some in (evaluations, [*evaluations, *copies])
    )
    assert (after.gain == before.gain).all() and (after.error == before.error).all()
