from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.exact import ExactSum

QUANTUM = Fraction(1, 2**70)

numbers = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-4)


def of(*values):
    return ExactSum.of(torch.tensor(values, dtype=torch.float64))


def added(parts):
    total, *rest = parts
    for part in rest:
        total = total + part
    return total


@settings(max_examples=200)
@given(st.lists(numbers, min_size=1, max_size=40))
def test_the_sum_is_that_of_exact_arithmetic_rounded_once_or_twice(values):
    exact = sum(map(Fraction, values))
    total = added([of(value) for value in values])
    held = Fraction(int(total.high), 2**20) + Fraction(int(total.low), 2**70)
    assert held == exact
    assert float(total.value()) == pytest.approx(float(exact), rel=3e-16, abs=1e-22)


@settings(max_examples=200)
@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_what_is_too_small_is_rounded_to_the_quantum(value):
    held = of(value)
    kept = Fraction(int(held.high), 2**20) + Fraction(int(held.low), 2**70)
    assert abs(kept - Fraction(value)) <= QUANTUM / 2


@settings(max_examples=100)
@given(st.lists(numbers, min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_any_grouping_and_any_order_give_the_same_bits(values, random):
    left = added([of(value) for value in values])
    pool = [of(value) for value in values]
    while len(pool) > 1:
        a, b = (pool.pop(random.randrange(len(pool))) for _ in range(2))
        pool.append(a + b)
    a, b = pool[0].carried(), left.carried()
    assert torch.equal(a.high, b.high)
    assert torch.equal(a.low, b.low)


@pytest.mark.parametrize("shape", [(3,), (), (200, 333)], ids=str)
def test_absorbing_gives_the_bits_of_adding(shape):
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0**power
        for power in (0, -9, 7)
    ]
    added_up = ExactSum.of(parts[0]) + ExactSum.of(parts[1]) + ExactSum.of(parts[2])
    taken = ExactSum.of(parts[2])
    for part in parts[:2]:
        before, taken = taken, taken.absorbed(part)
        assert taken.high is before.high  # no memory of its own
    for name in ("high", "low"):
        found, expected = (getattr(one.carried(), name) for one in (taken, added_up))
        assert torch.equal(found, expected)
    assert taken.terms == 3
    assert taken.bound >= max(float(part.abs().max()) for part in parts)
    with pytest.raises(LambdaSearchError, match="too large"):
        taken.absorbed(torch.full(shape, torch.nan, dtype=torch.float64))


def test_floats_themselves_do_not_add_so():
    values = [0.1, 0.2, 0.3]
    assert (values[0] + values[1]) + values[2] != values[0] + (values[1] + values[2])
    a, b, c = map(of, values)
    assert torch.equal(((a + b) + c).value(), (a + (b + c)).value())


def test_many_blocks_do_not_overflow():
    total = of(1e6, -1e-9)
    for _ in range(18):  # 2^18 terms
        total = total + total
    assert total.value().tolist() == [1e6 * 2**18, pytest.approx(-1e-9 * 2**18, rel=1e-12)]
    assert total.carried().low.abs().max() <= 2**49


@pytest.mark.parametrize("value", [2.0**42, -1e13, np.inf])
def test_what_does_not_fit_is_refused(value):
    with pytest.raises(LambdaSearchError, match="too large to be summed") as caught:
        of(0.0, value)
    assert "Scale" in caught.value.hint


def test_sums_that_grow_too_large_are_refused():
    total = of(2.0**41)
    with pytest.raises(LambdaSearchError, match="too large"):
        for _ in range(5):
            total = total + total


def test_an_empty_sum_is_legal():
    empty = of()
    assert (empty + empty).value().shape == (0,)
