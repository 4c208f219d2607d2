import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.fid import frechet_distance as cleanfid_distance
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.frechet import frechet_distance
from lambda_search.metrics.moments import Moments


def gaussian(d, seed, rank=None):
    """(mean, covariance) of width d, not axis-aligned."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, rank or 2 * d)) / d**0.5
    return rng.standard_normal(d), root @ root.T


def draw(n, d, seed):
    rng = np.random.default_rng(seed)
    mean, cov = gaussian(d, seed + 1000)
    return rng.multivariate_normal(mean, cov, size=n)


def textbook(mean_a, cov_a, mean_b, cov_b):
    """The formula with scipy's matrix square root."""
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(
        ((mean_a - mean_b) ** 2).sum()
        + np.trace(cov_a)
        + np.trace(cov_b)
        - 2 * np.trace(root).real
    )


def moments_of(x):
    return x.mean(0), np.cov(x, rowvar=False)


@pytest.mark.parametrize("d", [1, 2, 8, 40])
@pytest.mark.parametrize("as_moments", [False, True], ids=["features", "moments"])
def test_is_the_textbook_formula(d, as_moments):
    x, reference = draw(200, d, 0), gaussian(d, 1)
    sample = Moments.from_features(x, reference[0]) if as_moments else x
    mean, cov = x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))
    expected = textbook(mean, cov, *reference)
    assert FrechetReference(*reference).distance(sample) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n", [2, 5, 30, 63])
def test_fewer_vectors_than_features_have_the_gram_form(n):
    """tr(ΣΣr)^½ is the sum of the singular values of X L/√(n − 1)."""
    d = 64
    x, (mean, cov) = draw(n, d, 0), gaussian(d, 1)
    centred = (x - x.mean(0)) / (n - 1) ** 0.5
    factor = np.linalg.cholesky(cov)
    cross = scipy.linalg.svdvals(centred @ factor).sum()
    expected = ((x.mean(0) - mean) ** 2).sum() + (centred**2).sum() + np.trace(cov) - 2 * cross
    reference = FrechetReference(mean, cov)
    assert reference.distance(x) == pytest.approx(expected, rel=1e-8)
    # the d × d form takes roots of more eigenvalues that are zero but for the rounding
    assert reference.distance(Moments.from_features(x)) == pytest.approx(expected, rel=1e-6)


def test_the_gram_form_meets_the_other_at_n_equal_to_d():
    x, reference = draw(40, 40, 0), FrechetReference(*gaussian(40, 1))
    moments = Moments.from_features(x)
    about = Moments.from_features(x, reference.mean)
    assert reference.distance(x) == pytest.approx(reference.distance(about), rel=1e-8)
    assert reference.distance(x) == pytest.approx(reference.distance(moments), rel=1e-7)


def test_a_reference_of_low_rank_is_legal():
    x, (mean, cov) = draw(100, 12, 0), gaussian(12, 1, rank=4)
    cross = scipy.linalg.svdvals((x - x.mean(0)) / 99**0.5 @ scipy.linalg.sqrtm(cov).real).sum()
    sample = np.cov(x, rowvar=False)
    expected = ((x.mean(0) - mean) ** 2).sum() + np.trace(sample) + np.trace(cov) - 2 * cross
    assert FrechetReference(mean, cov).distance(x) == pytest.approx(expected, rel=1e-6)


def test_the_factor_is_one():
    _, cov = gaussian(10, 3)
    factor = FrechetReference(np.zeros(10), cov).factor
    assert np.allclose(factor @ factor.T, cov)


@pytest.mark.parametrize("shift", [0.0, 1.5])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_gaussians_with_a_distance_known_by_heart(shift, scale):
    x = draw(50, 6, 0)
    mean, cov = moments_of(x)
    expected = 6 * shift**2 + (scale - 1) ** 2 * np.trace(cov)
    found = FrechetReference(mean + shift, cov * scale**2).distance(x)
    assert found == pytest.approx(expected, abs=1e-10)


@settings(max_examples=25)
@given(st.integers(0, 50), st.integers(51, 100), st.integers(2, 10))
def test_is_a_distance(a, b, d):
    x, y = draw(30, d, a), draw(25, d, b)
    forth, back = frechet_distance(x, y), frechet_distance(y, x)
    assert forth > 0
    assert forth == pytest.approx(back, rel=1e-7)
    assert abs(frechet_distance(x, x)) < 1e-9 * max(1, np.trace(np.cov(x, rowvar=False)))
    assert forth == pytest.approx(textbook(*moments_of(x), *moments_of(y)), rel=1e-7)


def test_moments_and_features_may_be_mixed():
    x, y = draw(60, 5, 0), draw(70, 5, 1)
    expected = frechet_distance(x, y)
    for a in (x, torch.from_numpy(x), Moments.from_features(x)):
        for b in (y, torch.from_numpy(y), Moments.from_features(y)):
            assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.parametrize(
    "sizes", [[2, 3, 7], [20, 39, 40, 41, 44, 90], [40, 90], [60], [100]], ids=str
)
def test_distances_to_prefixes_are_those_of_the_prefixes(d, sizes):
    x, reference = draw(100, d, 0) + 5, FrechetReference(*gaussian(d, 1))
    found = reference.prefix_distances(x, sizes)
    expected = [reference.distance(x[:size]) for size in sizes]
    assert found == pytest.approx(expected, rel=1e-7)


# -- influence


@pytest.mark.parametrize("d", [3, 20])
def test_influence_is_the_distances_derivative(d):
    """Mixing in a little of one vector: μ + hy and Σ + h(yyᵀ − Σ)."""
    x = draw(150, d, 0)
    reference = FrechetReference(*gaussian(d, 1))
    mean, cov = moments_of(x)
    h = 1e-4
    slopes = []
    for row in x:
        y = row - mean
        ends = [
            reference.distance(
                Moments.from_mean_cov(mean + s * y, cov + s * (np.outer(y, y) - cov), len(x))
            )
            for s in (h, -h)
        ]
        slopes.append((ends[0] - ends[1]) / (2 * h))
    found = reference.analyse(x)[1].numpy()
    expected = np.array(slopes) - np.mean(slopes)
    assert found.shape == (150,)
    assert abs(found.mean()) < 1e-10
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.std())


def test_influence_predicts_what_leaving_out_a_block_does():
    n, blocks = 2000, 20
    x = draw(n, 8, 0)
    reference = FrechetReference(*gaussian(8, 1))
    psi = reference.analyse(x)[1].numpy()
    whole = reference.distance(x)
    size = n // blocks
    left_out = [np.arange(b, n, blocks) for b in range(blocks)]
    changes = np.array([reference.distance(np.delete(x, rows, axis=0)) for rows in left_out])
    changes -= whole
    predicted = np.array([-psi[rows].sum() / (n - size) for rows in left_out])
    assert np.corrcoef(changes, predicted)[0, 1] > 0.99
    assert np.polyfit(predicted, changes, 1)[0] == pytest.approx(1, abs=0.1)
    # the jackknife's standard error against sd(ψ)/√n; 20 blocks know it to about 16 %
    jackknife = ((blocks - 1) / blocks * ((changes - changes.mean()) ** 2).sum()) ** 0.5
    assert psi.std() / n**0.5 == pytest.approx(jackknife, rel=0.45)


def test_influence_has_the_standard_error_of_repeated_sampling():
    n, reference = 300, FrechetReference(*gaussian(6, 1))
    mean, cov = gaussian(6, 2)
    rng = np.random.default_rng(0)
    samples = [rng.multivariate_normal(mean, cov, size=n) for _ in range(300)]
    actual = np.std([reference.distance(x) for x in samples])
    claimed = np.mean([float(reference.analyse(x)[1].std()) for x in samples]) / n**0.5
    assert claimed == pytest.approx(actual, rel=0.15)


@pytest.mark.parametrize("n", [8, 30])
def test_influence_of_few_vectors_is_finite(n):
    psi = FrechetReference(*gaussian(40, 1)).analyse(draw(n, 40, 0))[1]
    assert psi.shape == (n,)
    assert psi.isfinite().all()
    assert abs(psi.mean()) < 1e-10


def test_influence_of_features_that_never_vary_is_finite():
    x = draw(50, 6, 0)
    x[:, 2] = 0.0
    assert FrechetReference(*gaussian(6, 1)).analyse(x)[1].isfinite().all()


@pytest.mark.parametrize("n", [9, 39, 40, 41, 300])
def test_influence_needs_no_pseudo_inverse_for_few_vectors(n):
    """Both forms against T = L (LᵀΣL)^{-½}Lᵀ written out, with scipy."""
    d = 40
    x, (mean, cov) = draw(n, d, 0), gaussian(d, 1)
    reference = FrechetReference(mean, cov)
    factor = np.linalg.cholesky(cov)
    y = x - x.mean(0)
    w, v = np.linalg.eigh(factor.T @ (y.T @ y / (n - 1)) @ factor)
    inverse = np.where(w > 1e-9 * w.max(), w, np.inf) ** -0.5
    transport = factor @ (v * inverse) @ v.T @ factor.T
    psi = 2 * y @ (x.mean(0) - mean) + (y**2).sum(1) - np.einsum("ni,ij,nj->n", y, transport, y)
    found = reference.analyse(x)[1].numpy()
    assert np.allclose(found, psi - psi.mean(), rtol=1e-6, atol=1e-6 * psi.std())


@pytest.mark.slow
@pytest.mark.parametrize("n", [1000, 10_000])
def test_at_inceptions_width_it_is_scipys_and_exact_where_the_rank_is_low(n):
    d, rng = 2048, np.random.default_rng(0)
    mixing = rng.standard_normal((256, d)) * 0.2
    shape = np.arange(1, 257) ** -0.35

    def features(count, shift):
        latent = rng.standard_normal((count, 256)) * shape
        return np.maximum(latent @ mixing + 0.05 * rng.standard_normal((count, d)) + shift, 0)

    real, x = features(12_000, 0.02), features(n, 0.05)
    mean, cov = moments_of(real)
    reference = FrechetReference(mean, cov)
    found = {reference.distance(x), reference.analyse(x)[0]}
    if n < d:
        centred = (x - x.mean(0)) / (n - 1) ** 0.5
        cross = scipy.linalg.svdvals(centred @ reference.factor.numpy()).sum()
        expected = ((x.mean(0) - mean) ** 2).sum() + (centred**2).sum() + np.trace(cov) - 2 * cross
    else:
        expected = cleanfid_distance(*moments_of(x), mean, cov)
        found.add(reference.distance(Moments.from_features(x, mean)))
    for one in found:
        assert one == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("n", [30, 200])
def test_a_gpu_gives_the_same(n):
    x, (mean, cov) = draw(n, 64, 0), gaussian(64, 1)
    here, there = FrechetReference(mean, cov), FrechetReference(mean, cov, torch.device("cuda"))
    assert there.distance(x) == pytest.approx(here.distance(x), rel=1e-9)
    assert torch.allclose(there.analyse(x)[1], here.analyse(x)[1], rtol=1e-7, atol=1e-9)


# -- errors


@pytest.mark.parametrize("n", [3, 50])
@pytest.mark.parametrize("method", ["distance", "analyse"])
def test_another_width_is_refused(method, n):
    reference = FrechetReference(*gaussian(6, 1))
    with pytest.raises(LambdaSearchError) as caught:
        getattr(reference, method)(draw(n, 7, 0))
    assert caught.value.cause == "The features are 7 wide and the reference is 6 wide."
    assert "same extractor" in caught.value.hint


def test_moments_of_another_width_are_refused():
    with pytest.raises(LambdaSearchError, match="7 wide"):
        frechet_distance(Moments.from_features(draw(50, 7, 0)), draw(50, 6, 0))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    "bad", [np.zeros(5), np.zeros((1, 5)), np.full((9, 5), np.nan)], ids=["1-D", "few", "NaN"]
)
def test_what_are_no_features_is_refused_on_either_side(bad, side):
    pair = [draw(20, 5, 0), draw(20, 5, 1)]
    pair[side] = bad
    with pytest.raises(LambdaSearchError) as caught:
        frechet_distance(*pair)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("mean", "cov", "word"),
    [
        (np.zeros(4), np.eye(5), "shapes"),
        (np.zeros((2, 2)), np.eye(2), "shapes"),
        (np.zeros(4), np.ones(4), "shapes"),
        (np.array([0.0, np.nan]), np.eye(2), "NaN"),
        (np.zeros(2), np.full((2, 2), np.inf), "infinity"),
        (np.float64(3.0), np.eye(1), "shapes"),
        (np.zeros(2), np.array([[1.0, 0.1], [0.2, 1.0]]), "not symmetric"),
        (np.zeros(2), -np.eye(2), "negative variance"),
    ],
)
def test_a_reference_that_is_none_is_refused(mean, cov, word):
    with pytest.raises(LambdaSearchError) as caught:
        FrechetReference(mean, cov)
    assert word in caught.value.cause
    assert caught.value.hint == "Make the reference again."


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(20, 40), (40, 40), (3000, 40)])
def test_working_in_place_has_the_bits_of_the_formulas_and_leaves_the_features(n, d, dtype):
    """Rows of earlier releases stay comparable to the last digit."""
    x = draw(n, d, 3).astype(dtype)
    reference = FrechetReference(*gaussian(d, 1))
    y = torch.from_numpy(x).to(torch.float64)
    mean = y.mean(0)
    centred = (y - mean) / (n - 1) ** 0.5
    projected = centred @ reference.factor
    wide = projected if n < d else projected.T
    w, v = torch.linalg.eigh(torch.tril(wide @ wide.T))
    root = w.clamp(min=0).sqrt()
    if n < d:
        quadratic = v.square() @ root
    else:
        inverse = torch.where(root > root.max() * (d * 2.0**-52) ** 0.5, root, torch.inf)
        half = projected @ (v * inverse.reciprocal().sqrt())
        quadratic = half.square().sum(1)
    along = centred @ (mean - reference.mean) * (n - 1) ** 0.5
    psi = 2 * along + (n - 1) * centred.square().sum(1) - (n - 1) * quadratic
    apart = mean - reference.mean
    whole = apart @ apart + centred.square().sum(1).sum() + reference.cov.trace() - 2 * root.sum()
    before = x.copy()
    distance, found = reference.analyse(x)
    assert distance == float(whole) and torch.equal(found, psi - psi.mean())
    assert reference.prefix_distances(x, [n])[0] == pytest.approx(distance, rel=1e-7)
    assert np.array_equal(x, before)
