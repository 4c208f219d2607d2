from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.moments import as_features


def draw_features(n=60, d=5, seed=0, offset=3.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + offset


@pytest.mark.parametrize("centre", [None, np.full(5, 3.0), np.full(5, -50.0)], ids=str)
@pytest.mark.parametrize("n", [2, 4, 60])
def test_moments_are_numpys(n, centre):
    x = draw_features(n)
    moments = Moments.from_features(x, centre)
    assert moments.n == n
    assert np.allclose(moments.mean, x.mean(0), rtol=0, atol=1e-12)
    assert np.allclose(moments.cov, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-10)


def test_sums_are_about_the_centre():
    x, c = torch.tensor([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]]), torch.tensor([1.0, 1.0])
    moments = Moments.from_features(x, c)
    shifted = (x - c).double()
    assert torch.equal(moments.total, shifted.sum(0))
    assert torch.equal(moments.outer, sum(torch.outer(row, row) for row in shifted))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arrays_and_tensors_are_one_and_computed_in_float64(kind):
    x = (1e4 + draw_features()).astype(kind)
    a, b = Moments.from_features(x), Moments.from_features(torch.from_numpy(x))
    assert a.outer.dtype == a.total.dtype == torch.float64
    assert torch.equal(a.outer, b.outer)
    # in float32 the sums about zero would leave nothing of a covariance this small
    assert np.allclose(a.cov, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-4, atol=1e-4)


def test_mean_and_covariance_make_moments_again():
    x = draw_features()
    moments = Moments.from_mean_cov(x.mean(0), np.cov(x, rowvar=False), len(x))
    assert moments.n == len(x)
    assert np.allclose(moments.mean, x.mean(0))
    assert np.allclose(moments.cov, np.cov(x, rowvar=False))


cuts = st.sets(st.integers(1, 29), max_size=8).map(lambda found: [0, *sorted(found), 30])


@settings(max_examples=50)
@given(cuts, st.integers(0, 100), st.sampled_from([0.0, 3.0]))
def test_blocks_merge_to_the_whole(ends, seed, centre):
    x = draw_features(60, seed=seed)
    c = np.full(5, centre)
    blocks = [Moments.from_features(x[2 * a : 2 * b], c) for a, b in pairwise(ends)]
    merged = blocks[0]
    for block in blocks[1:]:
        merged = merged + block
    whole = Moments.from_features(x, c)
    assert merged.n == whole.n
    for name in ("total", "outer", "mean", "cov"):
        found, expected = getattr(merged, name), getattr(whole, name)
        assert torch.allclose(found, expected, rtol=1e-10, atol=1e-9)


@settings(max_examples=30)
@given(st.permutations(range(6)), st.randoms(use_true_random=False), st.integers(0, 100))
def test_blocks_merge_in_any_grouping_and_order_to_the_same_bits(order, random, seed):
    x = draw_features(60, seed=seed)
    blocks = [Moments.from_features(x[10 * i : 10 * i + 10]) for i in range(6)]
    chain = blocks[0]
    for block in blocks[1:]:
        chain = chain + block
    groups = [blocks[i] for i in order]
    while len(groups) > 1:
        place = random.randrange(len(groups) - 1)
        groups[place : place + 2] = [groups[place] + groups[place + 1]]
    assert groups[0].n == chain.n
    for name in ("total", "outer", "mean", "cov"):
        assert torch.equal(getattr(groups[0], name), getattr(chain, name))


def test_merging_leaves_its_parts_alone():
    a, b = Moments.from_features(draw_features(seed=1)), Moments.from_features(draw_features())
    kept = a.outer.clone(), b.total.clone()
    a + b
    assert torch.equal(a.outer, kept[0])
    assert torch.equal(b.total, kept[1])


def test_moments_about_two_centres_do_not_merge():
    x = draw_features()
    with pytest.raises(ValueError, match="one centre"):
        Moments.from_features(x) + Moments.from_features(x, np.ones(5))


@pytest.mark.parametrize("make", [as_features, Moments.from_features])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (0, 5), (2, 3, 4), ()], ids=str)
def test_what_is_no_table_of_two_rows_or_more_is_refused(make, shape):
    with pytest.raises(LambdaSearchError) as caught:
        make(np.zeros(shape))
    assert f"the shape {shape}" in caught.value.cause
    assert "one row of features for each image" in caught.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_counted_by_image(value):
    x = draw_features(10)
    x[3, 1:3] = value
    x[7] = value
    with pytest.raises(LambdaSearchError) as caught:
        as_features(x)
    assert caught.value.cause == "The features of 2 of 10 images are NaN or infinite."
    assert "diverges" in caught.value.hint


def test_absorbed_blocks_give_the_bits_of_added_ones():
    x, c = draw_features(70), np.full(5, 3.0)
    blocks = [x[:20], x[20:33], x[33:]]
    first, second, third = (Moments.from_features(block, c) for block in blocks)
    expected = third + first + second
    found = Moments.from_features(blocks[1], c).absorbed(blocks[0]).absorbed(blocks[2])
    assert found.n == 70
    for name in ("total", "outer", "mean", "cov"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    with pytest.raises(LambdaSearchError, match="NaN or infinite"):
        found.absorbed(np.full((3, 5), np.nan))
