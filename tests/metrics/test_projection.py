"""The projected distance: what it is, its influences, and how sure it is at few images."""

import numpy as np
import pytest
import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.kid import KernelReference
from lambda_search.metrics.projection import Projection
from tests.metrics.spectral import Spectral

WIDTH, K = 12, 5


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(4)


@pytest.fixture(scope="module")
def real(rng):
    mixing = rng.standard_normal((WIDTH, WIDTH)) * np.arange(1, WIDTH + 1) ** -0.7
    return rng.standard_normal((4000, WIDTH)) @ mixing.T + rng.standard_normal(WIDTH)


@pytest.fixture(scope="module")
def sampled(rng, real):
    return 1.1 * real[:300] + 0.2 * rng.standard_normal((300, WIDTH)) + 0.1


def reference_of(real):
    return FrechetReference(real.mean(0), np.cov(real.T))


def by_numpy(x, real, k):
    """The definition: covariances of the others set to zero, the distance by matrix roots."""
    from scipy.linalg import sqrtm

    values, vectors = np.linalg.eigh(np.cov(real.T))
    axes = vectors[:, np.argsort(values)[::-1]]
    y, z = x @ axes, real @ axes
    covariances = []
    for one in (np.cov(y.T), np.cov(z.T)):
        kept = np.diag(np.diag(one))
        kept[:k, :k] = one[:k, :k]
        covariances.append(kept)
    a, b = covariances
    shift = y.mean(0) - z.mean(0)
    return shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real)


@pytest.mark.parametrize("k", [1, K, WIDTH])
def test_it_is_the_distance_without_the_covariances_of_the_others(real, sampled, k):
    found = Projection(reference_of(real), k).score(sampled)
    assert found.fid == pytest.approx(by_numpy(sampled, real, k), rel=1e-6)
    halves = [by_numpy(sampled[start::2], real, k) for start in (0, 1)]
    expected = 2 * by_numpy(sampled, real, k) - np.mean(halves)
    assert found.corrected == pytest.approx(expected, rel=1e-5)


def test_with_all_components_it_is_the_fid_and_with_fewer_it_is_no_larger(real, sampled):
    reference = reference_of(real)
    whole = score(sampled, reference)
    same = Projection(reference, WIDTH).score(sampled)
    assert same.corrected == pytest.approx(whole.corrected, rel=1e-6)
    np.testing.assert_allclose(same.influence, whole.influence, atol=1e-6)
    several = [Projection(reference, k).score(sampled).fid for k in range(1, WIDTH + 1)]
    assert several == sorted(several) and several[0] < 0.999 * several[-1]


def test_influences_are_what_it_costs_to_leave_an_image_out(real, sampled):
    projection = Projection(reference_of(real), K)
    _, vectors = torch.linalg.eigh(torch.from_numpy(np.cov(real.T)))
    y = torch.from_numpy(sampled) @ vectors.flip(1)
    whole, psi = projection.analyse(y)
    assert float(psi.mean()) == pytest.approx(0, abs=1e-9)
    n = len(y)
    without = np.array([projection.analyse(torch.cat([y[:i], y[i + 1 :]]))[0] for i in range(40)])
    lost = (n - 1) * (whole - without)
    assert np.corrcoef(lost, psi[:40])[0, 1] > 0.999
    np.testing.assert_allclose(
        lost - lost.mean(), (psi - psi[:40].mean())[:40], rtol=0.1, atol=0.3
    )


def test_a_feature_that_never_varies_moves_nothing(real, sampled):
    dead = real.copy()
    dead[:, 0] = 0.5
    x = sampled.copy()
    x[:, 0] = 0.5
    found = Projection(reference_of(dead), K).score(x)
    assert np.isfinite(found.corrected) and bool(torch.isfinite(found.influence).all())


def test_other_widths_are_refused(real):
    with pytest.raises(LambdaSearchError, match="wide"):
        Projection(reference_of(real), K).score(np.zeros((20, WIDTH - 1)))


def test_paired_intervals_cover_the_true_difference_at_few_images():
    """On n = 128 images of d = 96 features, where the FID's own bias exceeds its error."""
    world, n = Spectral(96, "contrast"), 128
    projection = Projection(FrechetReference(world.mean, torch.diag(world.variances)), 16)
    rng, schedules = np.random.default_rng(7), [0.0, 0.4]
    truth, held = world.truth(0.0) - world.truth(0.4), 0
    for _ in range(100):
        at_one, best = (projection.score(x) for x in world.samples(rng, n, schedules))
        error = float((at_one.influence - best.influence).std()) / n**0.5
        held += abs(at_one.corrected - best.corrected - truth) < 1.96 * error
    assert held >= 88


def test_the_simulated_world_measures_as_the_product_does():
    world = Spectral(24, "sharpness")
    reference = FrechetReference(world.mean, torch.diag(world.variances))
    [x] = world.samples(np.random.default_rng(1), 200, [0.3])
    for part in (x, x[:20]):
        assert world.distance(part) == pytest.approx(reference.distance(part), rel=1e-6)
    many = world.samples(np.random.default_rng(2), 60_000, [0.3])[0]
    assert world.distance(many) == pytest.approx(world.truth(0.3), rel=0.02)
    rng = np.random.default_rng(3)
    length = np.sqrt(rng.gamma(8.0, 1 / 8.0, (10_000, 1)))
    real = world.mean + torch.from_numpy(length * rng.standard_normal((10_000, 24))) * (
        world.variances.sqrt()
    )
    kernel = KernelReference(real)
    other = world.samples(np.random.default_rng(4), 200, [0.9])[0]
    told = kernel.distance(x) - kernel.distance(other)
    assert world.kid(x) - world.kid(other) == pytest.approx(told, rel=0.15)
