import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule

numbers = st.floats(-2, 2, allow_subnormal=False)


def test_index_zero_is_b_and_k_is_the_change_per_index():
    schedule = LambdaSchedule(1.01, 0.002)
    assert schedule.at(0) == 1.01
    assert schedule.at(3) == 1.01 + 0.002 * 3
    assert schedule.values(4) == tuple(1.01 + 0.002 * i for i in range(4))


@pytest.mark.parametrize(
    ("b", "k", "steps", "published_mean"),
    [(1.0034, 0.0008, 20, 1.011), (1.0042, 0.0004, 20, 1.008), (1.0041, 0.0002, 20, 1.006)],
)
def test_mean_of_the_published_schedules(b, k, steps, published_mean):
    assert LambdaSchedule(b, k).mean(steps) == pytest.approx(published_mean, abs=5e-4)


@given(numbers, numbers, st.integers(1, 1000))
def test_mean_is_the_average_and_from_mean_is_its_inverse(mean, slope, steps):
    schedule = LambdaSchedule.from_mean(mean, slope, steps)
    assert schedule.k == slope
    assert schedule.mean(steps) == pytest.approx(mean, abs=1e-9)
    average = sum(schedule.at(i) for i in range(steps)) / steps
    assert average == pytest.approx(mean, abs=1e-9)


def test_lambda_below_one_and_falling_is_legal():
    assert LambdaSchedule(0.9985, -0.001).values(3) == (0.9985, 0.9975, 0.9965)


@pytest.mark.parametrize(
    ("schedule", "steps", "lowest"),
    [
        (LambdaSchedule(1.0, -0.1), 11, "0"),
        (LambdaSchedule(1.0, -0.25), 6, "-0.25"),
        (LambdaSchedule(0.0, 0.1), 3, "0"),
        (LambdaSchedule(-1.0, 0.0), 1, "-1"),
    ],
)
def test_lambda_must_stay_positive(schedule, steps, lowest):
    with pytest.raises(UsageError) as caught:
        schedule.values(steps)
    assert f"reaches {lowest} in {steps} steps" in caught.value.cause
    assert "nearer to 0" in caught.value.hint


def test_one_step_less_is_still_positive():
    assert min(LambdaSchedule(1.0, -0.1).values(10)) > 0


@pytest.mark.parametrize(
    ("schedule", "identity"),
    [
        (LambdaSchedule(), True),
        (LambdaSchedule(1.0, 1e-9), False),
        (LambdaSchedule(1.0000001, 0.0), False),
    ],
)
def test_identity_is_exactly_one(schedule, identity):
    assert schedule.is_identity is identity


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (LambdaSchedule(1.005), "1.005"),
        (LambdaSchedule(1.0, 0.0025), "1 + 0.0025·i"),
        (LambdaSchedule(1.02, -0.001), "1.02 − 0.001·i"),
    ],
)
def test_people_read_it_as_a_formula(schedule, text):
    assert str(schedule) == text
