"""The joint covariance of scores: against its formula, and scores drawn again and again."""

import time
from dataclasses import replace

import numpy as np
import pytest

from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.search.noise import Field
from lambda_search.search.noise import Measurement
from lambda_search.search.noise import condensed
from lambda_search.search.noise import covariances
from lambda_search.search.noise import noise_covariance
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED


def block(first, n, at=(0.0, 0.0), seed=0):
    psi = np.random.default_rng([seed, first]).standard_normal(n)
    return Measurement(at, first, 10.0, psi - psi.mean())


def test_scores_on_one_block_share_its_noise_and_blocks_apart_share_nothing():
    """In any order of asking, against the formula pair by pair."""
    several = [
        block(first, 100, seed=seed) for seed, first in ((0, 0), (0, 100), (1, 0), (1, 100))
    ]
    found = noise_covariance(several)
    for a, one in enumerate(several):
        for b, other in enumerate(several):
            told = one.influence @ other.influence / (100 * 99) if one.first == other.first else 0
            assert found[a, b] == pytest.approx(told, rel=1e-12)
    assert np.linalg.eigvalsh(found).min() > 0


def test_the_noise_of_very_many_scores_takes_no_time():
    """A search that may have 1,200 of them weighs them all in every round."""
    several = [block(100 * (n // 4), 100, seed=n % 4) for n in range(1200)]
    began = time.process_time()
    noise_covariance(several)
    assert time.process_time() - began < 0.5


def test_it_is_the_covariance_of_real_scores_drawn_again_and_again():
    """Three schedules' Fréchet distances on shared images."""
    rng = np.random.default_rng(1)
    reference = FrechetReference(np.zeros(4), np.eye(4))
    scores, told = [], []
    for _ in range(400):
        x = rng.standard_normal((400, 4))
        own = 0.3 * rng.standard_normal((3, 400, 4))
        moved = [(1 + 0.1 * j) * x + 0.4 + own[j] for j in range(3)]
        found = [score(one, reference) for one in moved]
        scores.append([one.corrected for one in found])
        told.append(
            noise_covariance(
                [Measurement((0, 0), 0, one.corrected, one.influence.numpy()) for one in found]
            )
        )
    real, mean = np.cov(np.array(scores).T), np.mean(told, axis=0)
    correlation = real / np.sqrt(np.outer(np.diag(real), np.diag(real)))
    expected = mean / np.sqrt(np.outer(np.diag(mean), np.diag(mean)))
    assert np.diag(mean) == pytest.approx(np.diag(real), rel=0.2)
    assert expected == pytest.approx(correlation, abs=0.08)


def test_the_field_tells_how_schedules_differ_that_were_not_tried():
    """Its variance of a difference, against the emulator's own, on the emulator's images."""
    emulator = Emulator(BUNDLED[0], 3, own=0.3)
    places = [(1.0, 0.0), (1.02, 0.0), (1.04, -0.05), (1.0, -0.05), (1.03, 0.03), (0.99, 0.02)]
    measured = []
    for mean, tilt in places:
        found, psi = emulator.measure(mean, tilt, 0, 2000)
        measured.append(Measurement(((mean - 1) / 0.03, tilt / 0.06), 0, found, psi))
    field = Field.of(measured)
    new = [(1.01, -0.02), (1.035, 0.01)]
    at = np.array([((mean - 1) / 0.03, tilt / 0.06) for mean, tilt in new])
    apart = np.array([1.0, -1.0])
    told = apart @ field.covariance(at) @ apart
    scale = np.array([emulator.landscape.fid(*one) for one in new])
    inner = [[emulator.covariance(a, b) for b in new] for a in new]
    real = apart @ (np.array(inner) / np.outer(scale, scale)) @ apart
    assert told == pytest.approx(real, rel=0.5)
    normals = np.random.default_rng(0).standard_normal
    drawn = field.draws(at, normals((20_000, 3)), normals((20_000, 2)))
    assert np.cov(drawn.T) == pytest.approx(field.covariance(at), rel=0.05)


def test_of_influences_on_the_same_images_their_covariances_tell_all():
    """A model is told the same by condensed ones, for noise and field alike."""
    emulator = Emulator(BUNDLED[0], 4, own=0.3)
    places = [(1.0, 0.0), (1.02, 0.0), (1.04, -0.05), (1.0, -0.05), (1.03, 0.03)]
    whole = []
    for mean, tilt in places:
        found, psi = emulator.measure(mean, tilt, 500, 192)
        at = (mean - 1) / 0.03, tilt / 0.06
        whole.append(Measurement(at, 500, found, psi - psi.mean()))
    rows = condensed(covariances([one.influence for one in whole]), 192)
    brief = [replace(one, influence=row, count=192) for one, row in zip(whole, rows, strict=True)]
    assert {len(one.influence) for one in brief} == {5} and brief[0].n == 192
    assert noise_covariance(brief) == pytest.approx(noise_covariance(whole), rel=1e-9)
    known, again = Field.of(whole), Field.of(brief)
    assert again.own == pytest.approx(known.own, rel=1e-9)
    assert again.smooth == pytest.approx(known.smooth, rel=1e-6)


def test_a_field_of_few_schedules_is_what_these_show():
    alone = Field.of([block(0, 100)])
    assert alone.own == 0
    assert alone.covariance(np.zeros((1, 2)))[0, 0] == pytest.approx(
        float((block(0, 100).influence / 10).var(ddof=1)), rel=1e-9
    )
