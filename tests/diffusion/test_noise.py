import numpy as np
import pytest
import torch

from lambda_search.diffusion.noise import normal
from lambda_search.setting import SEED_SCHEME

SHAPE = (3, 4, 5)
KNOWN = [-1.1291121, 0.55166155, 0.70332575, -0.61017364]


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
@pytest.mark.parametrize("index", [0, 10**6])
@pytest.mark.parametrize("draw", [0, 1, 999])
def test_is_what_a_fresh_philox_generator_draws(seed, index, draw):
    key = np.array([seed, index], dtype=np.uint64)
    bits = np.random.Philox(key=key, counter=[0, 0, draw + 1, 0])
    expected = np.random.Generator(bits).standard_normal(SHAPE, dtype=np.float32)
    found = normal(seed, [index], draw, SHAPE)
    assert found.dtype == torch.float32
    assert found.shape == (1, *SHAPE)
    assert np.array_equal(found[0].numpy(), expected)


def test_seeds_have_64_bits():
    assert not torch.equal(normal(2**63, [5], 0, (8,)), normal(2**63 + 1, [5], 0, (8,)))


def test_the_digits_of_this_scheme_never_change():
    assert SEED_SCHEME == "philox-numpy-1"
    found = normal(3, [2], 1, (4,))[0].tolist()
    assert found == pytest.approx(KNOWN, abs=1e-7)


@pytest.mark.parametrize("indices", [[4], [4, 0, 9], [9, 4, 0], [4, 4], list(range(20))])
def test_a_sample_does_not_depend_on_its_batch(indices):
    batch = normal(1, indices, 2, SHAPE)
    for row, index in zip(batch, indices, strict=True):
        assert torch.equal(row, normal(1, [index], 2, SHAPE)[0])


def test_no_indices_make_an_empty_batch():
    assert normal(0, [], 0, SHAPE).shape == (0, *SHAPE)


def test_seeds_indices_and_draws_all_make_other_noise():
    drawn = [
        normal(seed, [index], draw, (64,))[0]
        for seed in range(3)
        for index in range(3)
        for draw in range(3)
    ]
    # 64 numbers each: correlations of independent draws have a standard deviation of 1/8
    correlations = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert correlations.abs().max() < 0.6


def test_long_draws_of_one_sample_do_not_overlap():
    first, second = (normal(0, [0], draw, (100_000,))[0].numpy() for draw in (0, 1))
    # equal numbers come by chance (float32), equal neighbours do not
    pairs = [set(zip(x[:-1].tolist(), x[1:].tolist(), strict=True)) for x in (first, second)]
    assert not pairs[0] & pairs[1]


def test_is_standard_normal():
    x = normal(11, range(400), 1, (500,)).double().flatten()
    n = len(x)
    assert abs(x.mean()) < 4 / n**0.5
    assert abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert abs((x.abs() < 1).double().mean() - 0.682689) < 4 * (0.2166 / n) ** 0.5


def test_neighbours_are_independent():
    x = normal(0, range(2000), 1, (16,))
    y = normal(0, range(1, 2001), 1, (16,))
    z = normal(0, range(2000), 2, (16,))
    for other in (y, z, normal(1, range(2000), 1, (16,))):
        assert abs((x * other).mean()) < 4 / x.numel() ** 0.5
