import numpy as np
import pytest
import torch
from cleanfid.fid import kernel_distance
from torchmetrics.image.kid import poly_mmd

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.kid import KernelReference


def draw(n, d, seed, shift=0.0):
    return np.maximum(np.random.default_rng(seed).standard_normal((n, d)) + shift, 0)


@pytest.mark.parametrize(("n", "d"), [(20, 3), (150, 16), (1100, 8)])
def test_it_is_clean_fids_over_whole_sets(n, d):
    x, y = draw(n, d, 0), draw(n, d, 1, 0.1)
    theirs = kernel_distance(x, y, num_subsets=1, max_subset_size=n)
    assert KernelReference(y).distance(x) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_it_is_torchmetrics():
    x, y = draw(90, 12, 0), draw(90, 12, 1, 0.2)
    theirs = float(poly_mmd(torch.from_numpy(y), torch.from_numpy(x)))
    assert KernelReference(y).distance(torch.from_numpy(x)) == pytest.approx(theirs, rel=1e-9)


def test_sets_of_two_sizes_are_averaged_pair_by_pair():
    x, y = draw(7, 4, 0), draw(5, 4, 1)

    def k(a, b):
        return (a @ b / 4 + 1) ** 3

    def mean(pairs):
        return np.mean([k(a, b) for a, b in pairs])

    within = [mean((a, b) for a in s for b in s if a is not b) for s in (list(x), list(y))]
    across = mean((a, b) for a in x for b in y)
    found = KernelReference(y).distance(x)
    assert found == pytest.approx(within[0] + within[1] - 2 * across, rel=1e-10)


def test_it_has_no_bias_where_the_sets_are_alike():
    y = KernelReference(draw(400, 6, 10**6))
    found = [y.distance(draw(30, 6, seed)) for seed in range(200)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 200**0.5 + 0.02
    assert min(found) < 0


def test_another_width_and_nan_are_refused():
    reference = KernelReference(draw(10, 4, 0))
    with pytest.raises(LambdaSearchError, match="5 wide"):
        reference.distance(draw(10, 5, 0))
    with pytest.raises(LambdaSearchError, match="NaN"):
        reference.distance(np.full((10, 4), np.nan))
