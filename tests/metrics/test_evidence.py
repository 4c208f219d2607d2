import numpy as np
import pytest
import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.evidence import compare
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.records import Interval
from tests.metrics.world import World


class Toy:
    """Gaussian features whose distances are known; pairs share their randomness."""

    def __init__(self, d, seed=0):
        rng = np.random.default_rng(seed)
        self.mean, root = rng.standard_normal(d), rng.standard_normal((d, 2 * d)) / (2 * d) ** 0.5
        self.reference = FrechetReference(self.mean, root @ root.T)
        self.root = np.linalg.cholesky(root @ root.T)

    def parameters(self, shift, stretch):
        return self.mean + shift, self.root * stretch

    def distance(self, *change):
        mean, root = self.parameters(*change)
        return self.reference.distance(Moments.from_mean_cov(mean, root @ root.T, 2))

    def draw(self, z, *change):
        mean, root = self.parameters(*change)
        return mean + z @ root.T


BASELINE = (0.10, 1.15)
CANDIDATE = (0.08, 1.12)


def repeat(toy, n, repetitions, seed=1):
    """Scores and comparisons of many independent pairs."""
    rng = np.random.default_rng(seed)
    d = len(toy.mean)
    for _ in range(repetitions):
        z = rng.standard_normal((n, d))
        own = 0.1 * rng.standard_normal((n, d))
        features = toy.draw(z + own, *CANDIDATE), toy.draw(z, *BASELINE)
        scores = [score(x, toy.reference) for x in features]
        yield (*scores, compare(*scores, *features))


CANDIDATE_TRUE = (0.08, 1.12 * 1.01**0.5)  # with the noise of its own


def test_a_score_is_the_distance_and_its_half_split_correction():
    toy = Toy(5)
    x = toy.draw(np.random.default_rng(0).standard_normal((40, 5)), *BASELINE)
    found = score(x, toy.reference)
    distances = [toy.reference.distance(part) for part in (x, x[0::2], x[1::2])]
    assert found.n == 40
    assert found.fid == pytest.approx(distances[0], rel=1e-12)
    assert found.corrected == pytest.approx(2 * distances[0] - sum(distances[1:]) / 2, rel=1e-12)
    assert found.corrected < found.fid
    plain = toy.reference.analyse(x)[1]
    assert found.standard_error == pytest.approx(float(plain.std()) / 40**0.5, rel=1e-12)
    psi = 2 * plain
    psi[0::2] -= toy.reference.analyse(x[0::2])[1]
    psi[1::2] -= toy.reference.analyse(x[1::2])[1]
    assert torch.allclose(found.influence, psi, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [8, 9, 41])
def test_odd_and_small_numbers_are_scored(n):
    toy = Toy(5)
    found = score(np.random.default_rng(0).standard_normal((n, 5)), toy.reference)
    assert found.influence.shape == (n,)
    assert np.isfinite([found.fid, found.corrected, found.standard_error]).all()


def test_the_half_split_correction_takes_most_of_the_bias_away():
    toy, n = Toy(8), 120
    truth = toy.distance(*BASELINE)
    scores = [baseline for _, baseline, _ in repeat(toy, n, 150)]
    plain = np.mean([each.fid for each in scores]) - truth
    corrected = np.mean([each.corrected for each in scores]) - truth
    uncertain = np.std([each.corrected for each in scores]) / len(scores) ** 0.5
    assert plain > 5 * uncertain
    assert abs(corrected) < 0.25 * plain + 2 * uncertain


def test_a_comparison_is_the_difference_of_the_scores():
    toy = Toy(6)
    candidate, baseline, found = next(repeat(toy, 100, 1))
    assert found.gain == baseline.corrected - candidate.corrected
    assert found.raw_gain == baseline.fid - candidate.fid
    psi = candidate.influence - baseline.influence
    assert found.standard_error == pytest.approx(float(psi.std()) / 10, rel=1e-12)


def test_a_better_schedule_has_a_positive_gain_and_the_reverse_a_negative_one():
    toy = Toy(6)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((400, 6))
    x = {name: toy.draw(z, *change) for name, change in [("a", (0.0, 1.0)), ("b", (0.5, 1.3))]}
    scores = {name: score(features, toy.reference) for name, features in x.items()}
    forth = compare(scores["a"], scores["b"], x["a"], x["b"])
    back = compare(scores["b"], scores["a"], x["b"], x["a"])
    assert forth.interval().low > 0
    assert back.gain == -forth.gain
    assert back.standard_error == pytest.approx(forth.standard_error)
    assert forth.correlation == pytest.approx(1)


def test_a_schedule_against_itself_gains_nothing_for_sure():
    toy = Toy(6)
    x = toy.draw(np.random.default_rng(0).standard_normal((50, 6)), *BASELINE)
    one = score(x, toy.reference)
    found = compare(one, one, x, x)
    assert (found.gain, found.raw_gain, found.standard_error) == (0, 0, 0)
    assert found.correlation == pytest.approx(1)
    assert found.interval() == Interval(0, 0, 0.95)


def test_common_noise_makes_the_difference_surer_than_either_distance():
    candidate, baseline, paired = next(repeat(Toy(16), 400, 1))
    assert paired.standard_error < candidate.standard_error / 3
    assert paired.standard_error < baseline.standard_error / 3
    assert paired.correlation > 0.95


def coverage(repetitions, level=0.95):
    toy = Toy(16)
    expected = toy.distance(*BASELINE) - toy.distance(*CANDIDATE_TRUE)
    found = [pair for *_, pair in repeat(toy, 400, repetitions)]
    intervals = [pair.interval(level) for pair in found]
    share = np.mean([each.low <= expected <= each.high for each in intervals])
    claimed = np.mean([pair.standard_error for pair in found])
    return share, claimed / np.std([pair.gain for pair in found])


def test_the_paired_interval_covers_the_expected_difference():
    share, ratio = coverage(200)
    assert share >= 0.90
    assert 0.8 < ratio < 1.6


@pytest.mark.slow
@pytest.mark.parametrize(("level", "low", "high"), [(0.8, 0.77, 0.95), (0.95, 0.94, 0.995)])
def test_the_paired_interval_covers_at_its_level(level, low, high):
    share, ratio = coverage(3000, level)
    assert low <= share <= high
    assert 0.9 < ratio < 1.5


@pytest.fixture(scope="module")
def world():
    return World(128)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ratio", "value"), [(0.5, 1.03), (1, 1.03), (2, 1.03), (4, 1.03), (1, 1.1)]
)
def test_the_paired_interval_covers_the_difference_to_expect_at_its_n(world, ratio, value):
    """1,000 repetitions in a world that is not Gaussian, the difference at n on average known."""
    n, rng = int(ratio * world.d), np.random.default_rng(7)
    found = []
    for _ in range(1000):
        at_one, candidate = world.samples(rng, n, [1.0, value])
        scores = [score(x, world.reference) for x in (candidate, at_one)]
        found.append(compare(*scores, candidate, at_one))
    gains = np.array([one.gain for one in found])
    expected, spread = gains.mean(), gains.std()
    intervals = [one.interval() for one in found]
    covered = np.mean([one.low <= expected <= one.high for one in intervals])
    assert 0.93 <= covered <= 1
    assert np.mean([one.half_width for one in intervals]) <= 1.3 * 1.96 * spread
    before, after = world.truth([1.0, value])
    raw = np.mean([one.raw_gain for one in found])
    assert abs(expected - (before - after)) < abs(raw - (before - after))


def test_correlation_is_averaged_over_the_features_that_vary():
    reference = FrechetReference(np.zeros(3), np.eye(3))
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 100, 3))
    a[:, 0] = b[:, 0]
    a[:, 1] = 4.0
    expected = (1 + np.corrcoef(a[:, 2], b[:, 2])[0, 1]) / 2
    found = compare(score(a, reference), score(b, reference), a, b)
    assert found.correlation == pytest.approx(expected)


def test_features_that_never_vary_have_no_correlation():
    reference = FrechetReference(np.zeros(2), np.eye(2))
    x = np.ones((20, 2))
    one = score(x, reference)
    assert compare(one, one, x, x).correlation == 0


@pytest.mark.parametrize(
    ("level", "z"), [(0.5, 0.674490), (0.95, 1.959964), (0.99, 2.575829)], ids=str
)
def test_intervals_are_normal_and_two_sided(level, z):
    found = Interval.around(10.0, 2.0, level)
    assert (found.low, found.high) == pytest.approx((10 - 2 * z, 10 + 2 * z), abs=1e-5)
    assert found.half_width == pytest.approx(2 * z, abs=1e-5)
    assert found.level == level


def test_a_scores_interval_is_about_its_plain_distance():
    toy = Toy(6)
    found = score(np.random.default_rng(0).standard_normal((60, 6)), toy.reference)
    interval = found.interval(0.9)
    assert (interval.low + interval.high) / 2 == pytest.approx(found.fid)
    assert interval.half_width == pytest.approx(1.644854 * found.standard_error, rel=1e-5)
    assert interval.level == 0.9


@pytest.mark.parametrize("n", [2, 7])
def test_too_few_images_are_refused(n):
    with pytest.raises(LambdaSearchError) as caught:
        score(np.random.default_rng(0).standard_normal((n, 3)), Toy(3).reference)
    assert caught.value.cause == f"{n} images cannot be scored."
    assert "at least 8" in caught.value.hint


@pytest.mark.parametrize(
    ("features", "word"),
    [
        (np.full((20, 3), np.nan), "NaN"),
        (np.zeros(20), "shape"),
        (np.zeros((20, 4)), "4 wide"),
    ],
)
def test_features_that_cannot_be_scored_are_refused(features, word):
    with pytest.raises(LambdaSearchError) as caught:
        score(features, Toy(3).reference)
    assert word in caught.value.cause
    assert caught.value.hint


def test_a_pair_needs_one_number_of_images():
    toy = Toy(3)
    x = np.random.default_rng(0).standard_normal((20, 3))
    scores = score(x, toy.reference), score(x[:10], toy.reference)
    with pytest.raises(ValueError, match="20 and 10"):
        compare(*scores, x, x[:10])
