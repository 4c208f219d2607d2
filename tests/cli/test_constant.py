"""The constant beside a schedule: found by who asks for one number."""

import json
from dataclasses import replace

import pytest

from lambda_search.records import Worth
from lambda_search.store.lookup import best
from lambda_search.store.lookup import constant_beside
from lambda_search.store.store import Store
from tests.cli.test_export import setting  # noqa: F401
from tests.store.test_store import begin
from tests.store.test_store import row

WORTH = Worth(1, 2, 0.054, 0.036, 0.072, 0.98)


def told(text):
    return " ".join(text.split())


def entries(setting, b=1.0, k=0.004, constant=1.021):  # noqa: F811
    """A study's row and the companion of it; in both, the constant is trial 2."""
    own = row(setting, b=b, k=k, fid=5.0)
    [linear] = own.provenance.candidates
    second = replace(linear, trial=2, b=constant, k=0.0, fid=5.05, corrected=4.55, gain=0.95)
    provenance = replace(own.provenance, candidates=(linear, second), worth=WORTH, trial=1)
    own = replace(own, provenance=provenance)
    beside = row(setting, b=constant, k=0.0, fid=5.05, gain=0.95)
    companion = replace(provenance, trial=2, companion=own.id)
    return own, replace(beside, provenance=companion)


@pytest.fixture
def known(setting):  # noqa: F811
    store, asked = Store(), setting.model_copy(update={"sampler": "ddim"})
    own, beside = entries(asked)
    store.publish(begin(store, asked, "s"), own, beside=[(beside, [])])
    return store, own, beside


def test_best_tells_both_and_what_k_is_worth(cli, known):
    _, own, beside = known
    asked = ("best", own.setting.model, "--steps", 4)
    code, out, _ = cli(*asked)
    assert code == 0 and "k is worth 1.19 % ± 0.40 % over the best constant λ = 1.021" in told(out)
    code, out, err = cli(*asked, "--constant")
    assert (code, out.strip()) == (0, "1.021")
    assert f"confirmed, row {beside.id[:12]}" in told(err) and "k is worth 1.19 %" in told(err)
    code, out, _ = cli(*asked, "--constant", "--json")
    found = json.loads(out)
    assert (found["constant"], found["is_the_schedule"]) == (1.021, False)
    assert (found["row"]["id"], found["constant_row"]["id"]) == (own.id, beside.id)


def test_comfyui_is_given_the_constant_that_was_measured(cli, known, tmp_path):
    store, own, beside = known
    asked = ("export", own.setting.model, "--steps", 4, "--format", "comfyui")
    code, out, _ = cli(*asked)
    assert code == 0 and f"constant 1.021 (confirmed, row {beside.id[:12]})" in told(out)
    assert "scaling_factor of the node Epsilon Scaling: 1.021" in told(out)
    assert "k is worth 1.19 %" in told(out) and "not measured)" not in told(out)
    assert told(cli("export", "--format", "comfyui", "--row", own.id)[1]) == told(out)
    store.retract(beside.id, "wrong")
    code, out, _ = cli(*asked)
    assert "constant 1.006 (the mean of λ(i) = 1 + 0.004·i, not measured)" in told(out)


def test_a_constant_of_another_study_of_the_setting_serves_too(cli, setting):  # noqa: F811
    store, asked = Store(), setting.model_copy(update={"sampler": "ddim"})
    store.publish(begin(store, asked, "a"), row(asked, "a", k=0.004))
    other = asked.model_copy(update={"guidance": 2.0})
    for name, told_of, b, k in (("b", other, 1.03, 0.0), ("c", asked, 1.0, 0.0)):
        store.publish(begin(store, told_of, name), row(told_of, name, fid=5.5, b=b, k=k))
    found = best(asked.model, 4, store=store, guidance=None)
    assert constant_beside(found, store) is None, "another setting, and λ = 1"
    constant = row(asked, "d", fid=5.2, b=1.02, k=0.0)
    store.publish(begin(store, asked, "d"), constant)
    assert constant_beside(found, store).id == constant.id
    assert constant_beside(constant, store) is None, "it is one itself"


def test_a_companion_stands_until_its_study_looks_for_constants_again(known):
    store, own, beside = known
    found = store.competing(own.setting.model, {"steps": 4})
    assert [one.id for one in found] == [own.id, beside.id]
    assert store.instead_of(beside.id) is None
    linear = row(own.setting, b=1.0, k=0.0045, fid=4.95)
    store.publish(begin(store, own.setting, "s", "name: s # linear"), linear)
    found = store.competing(own.setting.model, {"steps": 4})
    assert [one.id for one in found] == [linear.id, beside.id]
    later = row(own.setting, b=1.0, k=0.005, fid=4.9)
    later = replace(later, provenance=replace(later.provenance, worth=own.provenance.worth))
    store.publish(begin(store, own.setting, "s", "name: s # again"), later)
    assert [one.id for one in store.competing(own.setting.model, {"steps": 4})] == [later.id]
    assert store.instead_of(beside.id).id == later.id == store.instead_of(own.id).id
    store.retract(later.id, "wrong")
    found = store.competing(own.setting.model, {"steps": 4})
    assert [one.id for one in found] == [linear.id, beside.id]


def test_a_companion_is_taken_back_with_its_row(known):
    store, own, beside = known
    store.retract(own.id, "of another reference")
    assert store.competing(own.setting.model, {"steps": 4}) == []
    assert (
        store.row(beside.id).retraction.reason == f"with row {own.id[:12]}: of another reference"
    )


def test_rows_travel_with_their_companions_in_any_order(known, tmp_path):
    _, own, beside = known
    for number, rows in enumerate(([own, beside], [beside, own])):
        other = Store(f"sqlite:///{tmp_path}/{number}.db")
        other.add(rows)
        found = other.competing(own.setting.model, {"steps": 4})
        assert [one.id for one in found] == [own.id, beside.id]
        assert constant_beside(found[0], other).id == beside.id


def test_a_retraction_that_is_imported_takes_its_companion_too(known, tmp_path):
    store, own, beside = known
    other = Store(f"sqlite:///{tmp_path}/other.db")
    other.add([own, beside])
    store.retract(own.id, "of another reference")
    other.add([store.row(own.id)])
    assert other.competing(own.setting.model, {"steps": 4}) == []
    assert other.row(beside.id).retraction.reason.endswith(": of another reference")
