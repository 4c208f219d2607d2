"""Step grids and noise schedules of guided-diffusion, worked out by hand or by diffusers."""

import math
from itertools import pairwise

import numpy as np
import pytest
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from lambda_search.errors import UsageError
from lambda_search.models.respacing import DiscreteSchedule
from lambda_search.models.respacing import beta_table
from lambda_search.models.respacing import plainest_word
from lambda_search.models.respacing import respacing_word
from lambda_search.models.respacing import retained_timesteps


@pytest.mark.parametrize(
    ("word", "steps", "total", "expected"),
    [
        (None, 1, 1000, [0]),
        (None, 2, 1000, [0, 999]),
        ("4", 4, 10, [0, 3, 6, 9]),
        (None, 5, 11, [0, 2, 5, 8, 10]),  # strides of 2.5: halves go to the even neighbour
        (None, 1000, 1000, list(range(1000))),
        ("2, 1, 3", 6, 11, [0, 3, 4, 8, 9, 10]),  # sections of 4, 4 and 3 timesteps
        ("4,3,5", 20, 1000, [0, 111, 222, 333, 334, 500, 666, 667, 750, 833, 916, 999]),
        ("ddim10", 10, 1000, list(range(0, 1000, 100))),
        ("ddim", 4, 10, [0, 3, 6, 9]),
        ("ddim", 30, 1000, list(range(0, 1000, 34))),
        ("ddim", 2, 10, [0, 5]),  # strides 5 to 9 give two; the smallest is taken
    ],
)
def test_grids_by_hand(word, steps, total, expected):
    assert list(retained_timesteps(word, steps, total)) == expected


@given(st.integers(2, 300), st.data())
def test_even_grids_hold_both_ends_and_rise(total, data):
    steps = data.draw(st.integers(2, total))
    grid = retained_timesteps(None, steps, total)
    assert (len(grid), grid[0], grid[-1]) == (steps, 0, total - 1)
    gaps = {after - before for before, after in pairwise(grid)}
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 2


@pytest.mark.parametrize(
    ("word", "steps", "cause"),
    [
        ("20", 10, "does not have 10 steps"),
        ("ddim20", 10, "does not have 10 steps"),
        ("uniform", 10, "'uniform' is no step grid"),
        ("", 10, "'' is no step grid"),
        ("4,,5", 9, "'4,,5' is no step grid"),
        ("4,0", 4, "'4,0' is no step grid"),
        ("ddim4,3", 7, "'ddim4,3' is no step grid"),
        (None, 1001, "1001 steps cannot be taken from 1000"),
        ("600,600", 1200, "600 steps cannot be taken from 500"),
        ("ddim", 999, "exactly 999 of 1000"),
        ("ddim", 1, "exactly 1 of 1000"),
    ],
)
def test_grids_that_cannot_be(word, steps, cause):
    with pytest.raises(UsageError, match=cause) as caught:
        retained_timesteps(word, steps, 1000)
    assert caught.value.hint


def test_a_refused_stride_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        retained_timesteps("ddim", 60, 1000)
    assert "59 or 63" in caught.value.hint  # strides 17 and 16


@pytest.mark.parametrize(
    ("word", "spelled"), [(None, "7"), ("7", "7"), ("ddim", "ddim7"), (" 4, 3 ", "4,3")]
)
def test_a_grid_has_one_spelling(word, spelled):
    assert respacing_word(word, 7) == spelled


@pytest.mark.parametrize(
    ("word", "steps", "plainest"),
    [
        (None, 20, "20"),
        ("ddim", 20, "ddim20"),
        ("ddim", 334, "334"),  # every third of 1000 ends at the last
        ("1000", 1000, "1000"),
        ("ddim1000", 1000, "1000"),
        ("1, 1", 7, "ddim2"),
        ("4,3,5", 20, "4,3,5"),
        ("500,500", 9, "1000"),
    ],
)
def test_of_the_words_for_a_grid_the_plainest_is_taken(word, steps, plainest):
    found = plainest_word(word, steps, 1000)
    assert found == plainest
    count = sum(int(n) for n in found.removeprefix("ddim").split(","))
    assert retained_timesteps(found, count, 1000) == retained_timesteps(word, steps, 1000)


@pytest.mark.parametrize(
    ("name", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_noise_schedules_are_those_of_diffusers(name, theirs):
    """Theirs is float32."""
    expected = DDPMScheduler(1000, beta_schedule=theirs).alphas_cumprod.tolist()
    found = DiscreteSchedule.of(name, 1000).alpha_bar
    assert found == pytest.approx(expected, rel=2e-4)
    assert np.array_equal(beta_table("squaredcos_cap_v2", 50), beta_table("cosine", 50))


def test_a_linear_schedule_of_other_length_ends_as_noisy():
    """β is scaled by 1000/T, so that Σ β is what it is for 1000 timesteps."""
    assert sum(beta_table("linear", 250)) == pytest.approx(sum(beta_table("linear", 1000)))
    assert beta_table("linear", 250)[0] == pytest.approx(4e-4)


@pytest.mark.parametrize(("name", "total"), [("linear", 20), ("sqrt", 1000)])
def test_schedules_that_cannot_be(name, total):
    with pytest.raises(UsageError):
        beta_table(name, total)


def test_the_grid_tells_the_network_rescaled_times():
    schedule = DiscreteSchedule.of("cosine", 500, rescale_timesteps=True)
    grid = schedule.grid("ddim", 5)
    assert grid.timesteps == (0, 200, 400, 600, 800)
    for i, t in enumerate((0, 100, 200, 300, 400)):
        level = grid.level(i)
        assert level.alpha == math.sqrt(schedule.alpha_bar[t])
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1)
    assert grid.alpha_next[0] == 1
