"""The nearest answer: labelled, with its distance, and interpolated only where that is sound."""

import math
from dataclasses import replace

import pytest

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.store.lookup import best
from lambda_search.store.lookup import nearest
from lambda_search.store.store import Store
from tests.exchange.rows import setting as a_setting
from tests.store.test_store import row


def euler(steps, study="s", **values):
    about = a_setting(
        steps=steps,
        **{
            name: values.pop(name)
            for name in list(values)
            if name in ("sampler", "options", "guidance", "site", "weights")
        },
    )
    return row(about, f"{study}{steps}", **values)


@pytest.fixture
def three(store):
    """Rows at 10, 20 and 40 steps."""
    store.add([euler(10, b=1.03, k=-0.001), euler(20, b=1.02, k=0.0), euler(40, b=1.01, k=0.0005)])
    return store


def test_an_exact_row_is_exact(three):
    found = nearest("m", 20, store=three)
    assert (found.kind, found.distance, found.reasons) == ("exact", 0.0, ())
    assert found.rows == (best("m", 20, store=three),) and found.lambdas == found.rows[0].lambdas


def test_between_two_step_counts_both_ends_are_interpolated(three):
    found = nearest("m", 14, store=three)
    low, high = found.rows
    assert found.kind == "interpolated" and "not measured" in found.reasons[0]
    assert [len(one.lambdas) for one in found.rows] == [10, 20]
    weight = math.log(14 / 10) / math.log(2)
    assert len(found.lambdas) == found.steps == 14
    for end in (0, -1):
        expected = (1 - weight) * low.lambdas[end] + weight * high.lambdas[end]
        assert found.lambdas[end] == pytest.approx(expected, abs=1e-12)
    assert found.distance == pytest.approx(0.4)
    with pytest.raises(NoScheduleFound):
        best("m", 14, store=three)


def test_the_published_optima_of_euler_lie_on_their_interpolation():
    """Leave the middle one of EDM's step counts out (their table): it is 1.0043 and 1.0045."""
    store = Store("sqlite://")
    for model, middle in (("edm-cifar10-uncond", 1.0043), ("edm-cifar10-cond", 1.0045)):
        left_out = best(model, 21, "euler", store)
        store.retract(left_out.id, "left out")
        found = nearest(model, 21, "euler", store)
        assert [len(one.lambdas) for one in found.rows] == [13, 35]
        assert found.schedule.b == pytest.approx(middle, abs=3e-4)
        assert 1.0034 < found.schedule.b < 1.0051 and found.schedule.k == 0


def test_heun_is_never_interpolated():
    store = Store("sqlite://")
    for steps in (8, 9, 12, 15):
        found = nearest("edm-cifar10-uncond", steps, "heun", store)
        assert found.kind == "nearest" and len(found.rows) == 1
        assert found.schedule == found.rows[0].schedule and found.steps == len(
            found.rows[0].lambdas
        )


@pytest.mark.parametrize(
    "other",
    [
        {"sampler": "ancestral", "options": SamplerOptions()},
        {"sampler": "ddim", "options": SamplerOptions(eta=1)},
        {"options": SamplerOptions(s_churn=10)},
        {"sampler": "scheduler", "options": SamplerOptions()},
    ],
    ids=lambda other: f"{other.get('sampler', 'churn')}",
)
def test_what_is_no_euler_step_of_the_ode_is_not_interpolated(store, other):
    store.add([euler(10, b=1.03, **other), euler(20, b=1.02, **other)])
    assert nearest("m", 14, store=store).kind == "nearest"


def test_ddim_without_noise_is_such_a_step(store):
    other = {"sampler": "ddim", "options": SamplerOptions(eta=0)}
    store.add([euler(10, b=1.03, **other), euler(20, b=1.02, **other)])
    assert nearest("m", 14, store=store).kind == "interpolated"
    assert nearest("m", nfe=14, store=store).kind == "interpolated"


@pytest.mark.parametrize(
    "change",
    [
        {"options": SamplerOptions(s_churn=0, precision="fp16")},
        {"guidance": 2.0},
        {"site": "x0_only"},
        {"weights": "1" * 64},
        {"status": "measured"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_two_rows_that_differ_in_more_than_steps_are_not_joined(store, change):
    store.add([euler(10, b=1.03), euler(20, b=1.02, **change)])
    assert nearest("m", 11, store=store).kind == "nearest"


def test_the_nearest_says_how_far_it_is_and_why(three):
    three.add([euler(30, "h", sampler="heun"), euler(80, "g", guidance=3.0)])
    found = nearest("m", 50, store=three)
    assert found.kind == "interpolated" or found.rows[0].setting.steps == 40
    for asked, steps, distance, reason in (
        ({"steps": 9}, 10, 1 / 9, "10 steps, not 9"),
        ({"steps": 20, "sampler": "heun"}, 30, 0.5, "30 steps, not 20"),
        ({"steps": 80, "guidance": 4}, 80, 1.0, "guidance 3, not 4"),
        ({"nfe": 59}, 30, 0.0, ""),
        ({"nfe": 57}, 30, 2 / 57, "59 network evaluations, not 57"),
        ({"steps": 30, "sampler": "ddim"}, 30, 1.0, "heun, not ddim"),
    ):
        found = nearest("m", store=three, **asked)
        assert found.rows[0].setting.steps == steps
        assert found.distance == pytest.approx(distance)
        assert found.kind == ("nearest" if reason else "exact")
        assert list(found.reasons) == ([reason] if reason else [])
        assert found.schedule == found.rows[0].schedule, "as it was measured"


def test_what_changes_the_meaning_is_never_another(three):
    for asked in (
        {"site": "x0_only"},
        {"weights": "f"},
        {"extractor": "dinov2"},
        {"reference": "other"},
        {"precision": "fp16"},
    ):
        with pytest.raises(NoScheduleFound, match="It has:"):
            nearest("m", 14, store=three, **asked)
    with pytest.raises(NoScheduleFound, match="No row for the model 'nobody'"):
        nearest("nobody", 14, store=three)


def test_equally_near_rows_that_cannot_be_ranked_are_asked_back(three):
    three.add([euler(40, "x", site="x0_only")])
    with pytest.raises(UsageError, match="places where λ acts"):
        nearest("m", 45, store=three)
    assert nearest("m", 45, store=three, site="full").rows[0].schedule == LambdaSchedule(
        1.01, 0.0005
    )


def test_a_miss_names_the_nearest_first(three):
    with pytest.raises(NoScheduleFound) as caught:
        best("m", 35, store=three)
    lines = caught.value.cause.splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["40", "20", "10"]


def test_a_nearest_row_that_is_another_option_is_searched_on(store):
    """The closest contest has no row with the option that is asked for."""
    far = euler(80, "f", options=SamplerOptions(s_churn=0, precision="fp16"))
    store.add([euler(10), replace(far)])
    assert nearest("m", 11, store=store, precision="fp16").rows[0].setting.steps == 80
