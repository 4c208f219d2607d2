"""Boundaries against published tables, and against simulated Brownian motion."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from scipy.stats import norm

from lambda_search.metrics.spending import boundaries
from lambda_search.metrics.spending import spent

EQUAL = {
    2: (2.9626, 1.9686),
    3: (3.7103, 2.5114, 1.9930),
    4: (4.3326, 2.9631, 2.3590, 2.0141),
    5: (4.8769, 3.3569, 2.6803, 2.2898, 2.0310),
}
"""Two-sided α = 0.05, O'Brien–Fleming type (Reboussin, DeMets, Kim & Lan 2000)."""


@pytest.mark.parametrize("looks", EQUAL)
def test_equal_looks_have_the_published_values(looks):
    found = boundaries(0.05, [(look + 1) / looks for look in range(looks)])
    assert found == pytest.approx(EQUAL[looks], abs=1.5e-4)  # theirs are coarser


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3, 0.001])
def test_one_look_is_the_normal_quantile(alpha):
    assert boundaries(alpha, [1.0]) == pytest.approx([norm.isf(alpha / 2)], rel=1e-12)
    assert boundaries(alpha, [0.2], ended=True) == pytest.approx([norm.isf(alpha / 2)], rel=1e-12)


@pytest.mark.parametrize("shares", [(0.11, 0.93), (0.5, 0.51), (0.02, 0.9)])
def test_two_looks_against_the_bivariate_normal(shares):
    z = boundaries(0.05, shares, ended=True)
    assert 2 * norm.sf(z[0]) == pytest.approx(spent(0.05, shares[0]), rel=1e-9)
    both = multivariate_normal(cov=[[1, r := math.sqrt(shares[0] / shares[1])], [r, 1]])
    upper, lower = np.array(z), -np.array(z)
    assert 1 - both.cdf(upper, lower_limit=lower) == pytest.approx(0.05, abs=2e-5)


def test_all_of_the_level_is_spent_whenever_the_last_look_is():
    rng = np.random.default_rng(0)
    for alpha, shares in ((0.05, (0.1, 0.3, 0.35, 0.8, 1.0)), (0.1, (0.05, 0.2, 0.4))):
        z = boundaries(alpha, shares, ended=True)
        steps = np.sqrt(np.diff(shares, prepend=0.0))
        paths = (rng.standard_normal((400_000, len(shares))) * steps).cumsum(1)
        crossed = np.abs(paths) >= np.array(z) * np.sqrt(shares)
        first = crossed.any(1).mean()
        assert first == pytest.approx(alpha, abs=4 * math.sqrt(alpha / 400_000))
        by_second = crossed[:, :2].any(1).mean()
        assert by_second == pytest.approx(
            spent(alpha, shares[1]), abs=1e-5 + 4 * math.sqrt(spent(alpha, shares[1]) / 400_000)
        )


def test_a_very_early_look_costs_nothing():
    early, late = boundaries(0.05, (1e-4, 1.0))
    assert early > 30 and late == pytest.approx(norm.isf(0.025), rel=1e-9)


@pytest.mark.parametrize("shares", [(0.0, 1.0), (0.5, 0.5), (0.5, 1.1), (-1.0,)])
def test_impossible_looks_are_refused(shares):
    with pytest.raises(ValueError, match="fractions"):
        boundaries(0.05, shares)
