"""Successive halving."""

from hypothesis import given
from hypothesis import strategies as st

from lambda_search.search.rungs import promoted

GAINS = st.dictionaries(st.integers(1, 40), st.floats(-5, 5), min_size=1)


def test_the_better_half_goes_on_and_lambda_one_always():
    gains = {0: 0.0, 1: 0.5, 2: -0.2, 3: 0.9}
    assert promoted(gains, [0, 1, 2, 3]) == [0, 1, 3]
    assert promoted(gains | {4: 0.95, 5: 0.3}, [4, 5]) == [4]


def test_ties_go_to_the_earlier_trial():
    assert promoted({1: 0.5, 2: 0.5}, [1, 2]) == [1]


@given(GAINS)
def test_nobody_worse_goes_on_before_somebody_better(gains):
    chosen = promoted(gains, sorted(gains))
    assert len(chosen) == -(-len(gains) // 2)
    left = [gains[number] for number in gains if number not in chosen]
    assert all(gains[number] >= worst for number in chosen for worst in left)
