"""The posterior: against regression in the space of weights, and the joint normal's precision."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lambda_search.search.noise import Measurement
from lambda_search.search.noise import noise_covariance
from lambda_search.search.surface import Kernel
from lambda_search.search.surface import Surface
from lambda_search.search.surface import _heights

KERNEL = Kernel(0.5, 0.1, 0.6)
NEW = np.array([[0.1, 0.2], [-0.5, 0.9], [1.2, -0.3]])


def scores(shared=True, seed=0, count=9, n=150):
    rng = np.random.default_rng(seed)
    at = rng.uniform(-1, 1, (count, 2))
    common = rng.standard_normal(n)
    found = []
    for number, (u, v) in enumerate(at):
        psi = 0.5 * rng.standard_normal(n) + common * (1 + u)
        value = float(20 * np.exp(0.2 * u**2 + 0.1 * u * v + 0.05 * rng.standard_normal()))
        first = 0 if shared else number * n
        found.append(Measurement((float(u), float(v)), first, value, 5 * (psi - psi.mean())))
    return found


def near_the_lowest(measured):
    """The further variance of one block's scores that lie high, as the surface's words have it."""
    y = np.log([one.score for one in measured])
    return (0.2 * (y - y.min())) ** 2


def test_without_a_residual_it_is_bayesian_linear_regression():
    """In the space of weights (Rasmussen & Williams 2006, eq. 2.8), with noise of their own."""
    measured = scores(shared=False)
    values = np.array([one.score for one in measured])
    noise = np.diag([one.influence.var(ddof=1) / one.n for one in measured] / values**2)
    noise += 1e-9 * np.eye(9)  # alone in its block none lies high

    def features(at):
        return np.array([[1, u, v, u * u, u * v, v * v] for u, v in at])

    design = features([one.at for one in measured])
    level = np.log(values).mean()
    precision = design.T @ np.linalg.inv(noise) @ design + np.eye(6) / 0.7**2
    weights = np.linalg.solve(
        precision, design.T @ np.linalg.inv(noise) @ (np.log(values) - level)
    )
    surface = Surface(measured, kernels=[Kernel(0.7, 0.0, 1.0)])
    ours = surface.posterior(NEW)
    covariance = features(NEW) @ np.linalg.inv(precision) @ features(NEW).T
    assert ours.mean == pytest.approx(features(NEW) @ weights + level, abs=1e-7)
    assert ours.covariance == pytest.approx(covariance, rel=1e-5)
    assert surface.spread(NEW) == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-5)


def test_it_is_the_joint_normal_conditioned_by_its_precision():
    """With shared noise: the block of the inverse of the joint covariance, not a solve."""
    measured = scores()
    values = np.array([one.score for one in measured])
    at = np.array([one.at for one in measured])
    noise = noise_covariance(measured) / np.outer(values, values)
    noise += np.diag(near_the_lowest(measured)) + 1e-9 * np.eye(9)
    everything = np.concatenate([NEW, at])
    design = np.array([[1, u, v, u * u, u * v, v * v] for u, v in everything])
    apart = np.linalg.norm(everything[:, None] - everything[None], axis=-1)
    joint = 0.25 * design @ design.T + 0.01 * np.exp(-(apart**2) / (2 * 0.36))
    joint[3:, 3:] += noise
    precision = np.linalg.inv(joint)
    covariance = np.linalg.inv(precision[:3, :3])
    y = np.log(values) - np.log(values).mean()
    mean = -covariance @ precision[:3, 3:] @ y + np.log(values).mean()
    ours = Surface(measured, kernels=[KERNEL]).posterior(NEW)
    assert ours.mean == pytest.approx(mean, abs=1e-5)
    assert ours.covariance == pytest.approx(covariance, abs=1e-5)
    surface = Surface(measured, kernels=[KERNEL, Kernel(1.0, 0.03, 0.6)])
    told = multivariate_normal(np.zeros(9), joint[3:, 3:]).logpdf(y) + 4.5 * np.log(2 * np.pi)
    assert surface.evidence[0] == pytest.approx(told, abs=1e-5)
    assert surface.weights.sum() == pytest.approx(1)


def test_a_mixture_has_the_moments_of_its_parts():
    measured, kernels = scores(), [Kernel(0.5, 0.1, 0.6), Kernel(1.0, 0.3, 0.9)]
    both = Surface(measured, kernels=kernels)
    parts = [Surface(measured, kernels=[one]).posterior(NEW) for one in kernels]
    mean = sum(w * part.mean for w, part in zip(both.weights, parts, strict=True))
    second = sum(
        w * (part.covariance + np.outer(part.mean, part.mean))
        for w, part in zip(both.weights, parts, strict=True)
    )
    found = both.posterior(NEW)
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert found.covariance == pytest.approx(second - np.outer(mean, mean), abs=1e-9)
    draws = found.draws(np.random.default_rng(0).standard_normal((40_000, 3)))
    assert np.cov(draws.T) == pytest.approx(found.covariance, rel=0.1, abs=1e-4)


def test_shared_noise_that_is_told_leaves_differences_sharp():
    """Told as independent, the same errors hide them: what makes common noise worth having."""
    rng = np.random.default_rng(2)
    common = rng.standard_normal(200)
    at = [(u, 0.0) for u in np.linspace(-1, 1, 7)]
    psi = [20 * (common + 0.02 * rng.standard_normal(200)) for _ in at]
    shared = [Measurement(x, 0, 20.0, p - p.mean()) for x, p in zip(at, psi, strict=True)]
    apart = [
        Measurement(x, 200 * number, 20.0, p - p.mean())
        for number, (x, p) in enumerate(zip(at, psi, strict=True))
    ]
    ends, contrast = np.array([[-1.0, 0.0], [1.0, 0.0]]), np.array([1.0, -1.0])

    def spread(measured):
        posterior = Surface(measured, kernels=[KERNEL]).posterior(ends)
        return float(np.sqrt(contrast @ posterior.covariance @ contrast))

    assert spread(shared) < spread(apart) / 5


def test_a_level_that_a_block_shares_is_no_height():
    """However high the second block's images lie, its schedules are as sure beside each other."""
    first, second = scores(seed=1), scores(seed=2)

    def slope(level):
        moved = [
            replace(one, first=900, score=one.score * level, influence=one.influence * level)
            for one in second
        ]
        joint = Surface([*first, *moved], kernels=[KERNEL]).posterior(NEW[:2]).covariance
        return joint[0, 0] + joint[1, 1] - 2 * joint[0, 1]

    assert slope(1.6) == pytest.approx(slope(1.0), rel=1e-9)


def test_few_images_are_told_as_biased_along_the_plane():
    measured = scores(shared=False)
    far, near = np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]])
    for at, more in ((far, True), (near, False)):
        plain = Surface(measured, 0, [KERNEL]).spread(at)[0]
        biased = Surface(measured, 300, [KERNEL]).spread(at)[0]
        assert (biased > 1.1 * plain) == more


def test_heights_are_told_beside_what_an_earlier_block_has_too():
    """Whatever level a block's images have, and whichever schedule links it to the others."""
    truth = {(0.0, 0.0): 3.0, (0.5, 0.0): 2.9, (1.0, 0.0): 2.8, (2.0, 0.0): 3.5}
    blocks = [(0, 0.0, [(0.0, 0.0), (0.5, 0.0)]), (64, 0.4, [(0.5, 0.0), (1.0, 0.0)]),
              (128, -0.3, [(1.0, 0.0), (2.0, 0.0)])]  # fmt: skip
    measured = [
        Measurement(at, first, np.exp(truth[at] + level), np.zeros(64))
        for first, level, places in blocks
        for at in places
    ]
    found = _heights(measured, np.log([one.score for one in measured]))
    expected = [truth[one.at] - 2.8 for one in measured]
    assert found == pytest.approx(expected, abs=1e-12)
