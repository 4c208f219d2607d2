"""What answers, and what is asked back."""

import pytest
from sqlalchemy import event

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.setting import SamplerOptions
from lambda_search.store.lookup import best
from lambda_search.store.lookup import matches
from tests.store.test_store import publish


def test_a_later_poorer_study_hides_no_better_row(store, setting):
    publish(store, setting, "a", fid=4.31, gain=6.0)
    publish(store, setting, "b", fid=9.9, gain=0.8, b=1.002)
    assert best("m", 4, store=store).fid == 4.31
    publish(store, setting, "c", fid=10.3, gain=0.1, b=1.0, k=0.0, status="measured")
    assert best("m", 4, store=store).fid == 4.31
    assert [found.fid for found in matches("m", 4, store=store)] == [4.31, 9.9, 10.3]


def test_the_last_row_of_a_study_stands(store, setting):
    publish(store, setting, "a", fid=4.0)
    publish(store, setting, "a", fid=5.0, b=1.02)
    assert [found.fid for found in matches("m", 4, store=store)] == [5.0]


def test_a_schedule_measured_again_counts_once_on_most_images(store, setting):
    publish(store, setting, "a", fid=5.0, n=50_000)
    publish(store, setting, "b", fid=4.9, n=1_000)
    assert [found.n for found in matches("m", 4, store=store)] == [50_000]


def test_best_prefers_confirmed_and_says_what_it_lacks(store, setting):
    publish(store, setting, "a", fid=1.0, status="measured", b=1.001)
    publish(store, setting, "b", fid=5.0, b=1.002)
    found = best("m", 4, store=store)
    assert (found.status, found.fid, found.schedule.b) == ("confirmed", 5.0, 1.002)
    assert found.setting == setting
    assert best("m", 4, "ancestral", store, variance="small", extractor="bundled").n == 100
    for asked in ({"sampler": "ddim"}, {"eta": 0.5}, {"guidance": 2.0}):
        with pytest.raises(NoScheduleFound, match=r"It has:\n  .* m  4 steps"):
            best("m", 4, store=store, **asked)
    with pytest.raises(NoScheduleFound, match="Models with rows: m"):
        best("other", 4, store=store)
    with pytest.raises(NoScheduleFound, match="Did you mean adm-cifar10"):
        best("adm-cifar", 20, store=store)
    with pytest.raises(UsageError, match="no field 'samplr'"):
        best("m", 4, store=store, samplr="ddim")


@pytest.mark.parametrize(
    ("field", "values", "asked"),
    [
        ("extractor", ("bundled@1", "dinov2@9"), "dinov2"),
        ("reference", ("a@1", "a@2"), "@2"),
        ("guidance", (1.5, 4.0), 4),
        ("guidance", (None, 4.0), 4),
        ("site", ("full", "x0_only"), "x0_only"),
        ("weights", ("a" * 64, "b" * 64), "bbbb"),
        ("definition", ("a" * 64, "b" * 64), "bb"),
    ],
)
def test_what_cannot_be_ranked_is_asked_back(store, setting, field, values, asked):
    for name, value in zip("ab", values, strict=True):
        publish(store, setting.model_copy(update={field: value}), name, fid=5.0 if value else 4.0)
    with pytest.raises(UsageError, match=r"agree.*(?s:.)*  m  4 steps") as caught:
        best("m", 4, store=store)
    assert f"{field}=" in caught.value.hint
    assert getattr(best("m", 4, store=store, **{field: asked}).setting, field) == values[1]


def test_one_reference_under_two_names_is_one(store, setting):
    for name, label, b in (("a", "ffhq.npz@1", 1.01), ("b", "images:ffhq@1", 1.02)):
        publish(store, setting.model_copy(update={"reference": label}), name, fid=5 * b, b=b)
    assert best("m", 4, store=store).schedule.b == 1.01
    assert best("m", 4, store=store, reference="images:ffhq").schedule.b == 1.02


def test_guidance_one_is_none(store, setting):
    publish(store, type(setting)(**dict(setting) | {"guidance": 1.0}))
    assert best("m", 4, store=store, guidance=1).setting.guidance is None


def test_steps_are_those_asked_for_or_those_of_the_grid(store, setting):
    found = setting.model_copy(update={"options": SamplerOptions(grid="uniform"), "steps": 12})
    publish(store, found)
    with pytest.raises(NoScheduleFound):
        best("m", 13, store=store)
    assert best("m", 12, store=store).setting.steps == 12


def test_a_lookup_reads_in_one_go(store, setting):
    publish(store, setting, name="a", fid=7.0)
    begun = []
    event.listen(store._engine, "begin", begun.append)
    assert best("m", 4, store=store).fid == 7.0
    assert len(begun) == 1
    for model in "m", "nobody":
        with pytest.raises(NoScheduleFound):
            best(model, 9_999, store=store)
    assert len(begun) == 3
