"""What a confirmation may say."""

import numpy as np
import pytest
import torch

from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import compare
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import optimism
from lambda_search.search.confirm import settle


def scored(n, width):
    return Score(n, 5.0, 0.1, 5.0, torch.zeros(1), width=width)


def contender(number, gain, error=0.1):
    against = Comparison(gain, gain, error, 1.0)
    return Contender(number, LambdaSchedule(1.01), scored(100, 4), against)


@pytest.mark.parametrize(("n", "status"), [(4095, "measured"), (4096, "confirmed")])
def test_below_four_images_a_feature_nothing_is_confirmed(n, status):
    found = settle(scored(n, 1024), [contender(1, 5.0), contender(2, 6.0)])
    assert found.status == status
    assert (found.gain, found.best.trial) == (6.0, 2), "the candidate is shown all the same"
    if status == "measured":
        assert found.schedule.is_identity
        assert "4,096 or more" in found.verdict
    else:
        assert found.schedule == LambdaSchedule(1.01)


def test_a_world_where_few_images_lie():
    """3 % less contrast, truly worse: at n = d/4 it is told as better by far."""
    d, n = 128, 32
    rng = np.random.default_rng(0)
    spectrum = 1.0 / np.arange(1, d + 1)
    reference = FrechetReference(np.zeros(d), np.diag(spectrum))
    at_one = (rng.standard_normal((n, d)) * np.sqrt(spectrum)).astype(np.float32)
    worse = (0.97 * at_one).astype(np.float32)
    baseline, found = score(at_one, reference), score(worse, reference)
    against = compare(found, baseline, worse, at_one)
    assert against.interval(0.95).low > 0, "the interval lies"
    outcome = settle(baseline, [Contender(1, LambdaSchedule(1.01), found, against)])
    assert outcome.status == "measured"


@pytest.mark.parametrize(("candidates", "bias"), [(1, 0.0), (2, 0.56), (3, 0.85), (10, 1.54)])
def test_the_best_of_equal_candidates_looks_better_than_it_is(candidates, bias):
    drawn = np.random.default_rng(0).standard_normal((20_000, candidates)).max(1).mean()
    assert optimism(candidates) == pytest.approx(drawn, abs=0.05)
    assert optimism(candidates) == pytest.approx(bias, abs=0.05)


def test_the_verdict_says_that_the_best_was_picked():
    assert "picked" not in settle(scored(100, 4), [contender(1, 6.0)]).verdict
    said = settle(scored(100, 4), [contender(k, 6.0) for k in range(3)]).verdict
    assert "as the best of 3 it may be 0.087 too high" in said
