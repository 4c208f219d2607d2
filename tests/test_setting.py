import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.setting import canonical
from lambda_search.setting import fingerprint

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
unmarked = words.filter(lambda word: "@" not in word)  # what stands before an @ is not in a key
options = st.builds(
    SamplerOptions,
    eta=st.none() | st.floats(0, 1),
    grid=st.none() | words,
    clip=st.none() | st.booleans(),
    variance=st.none() | st.sampled_from(["learned", "small", "large"]),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    batch=st.integers(1, 65536),
)
settings_ = st.builds(
    Setting,
    model=words,
    weights=words,
    framework=words,
    definition=words,
    sampler=words,
    options=options,
    steps=st.integers(1, 10**6),
    guidance=st.none() | st.floats(-20, 20).map(lambda scale: scale + 0.0),  # no −0.0: see below
    site=st.sampled_from(["full", "x0_only"]),
    metric=words,
    extractor=unmarked,
    reference=unmarked,
)
BASE = {
    "model": "m",
    "weights": "ab",
    "framework": "diffusers",
    "definition": "ef",
    "sampler": "ddim",
    "options": {"eta": 0.5, "grid": "leading", "clip": True},
    "steps": 10,
    "guidance": 1.5,
    "site": "full",
    "metric": "fid",
    "extractor": "e",
    "reference": "r",
}


@given(settings_)
def test_a_key_reads_back_to_its_setting(setting):
    again = Setting.from_key(setting.key)
    assert again == setting
    assert again.key == setting.key


@given(settings_, settings_, st.sets(st.sampled_from(sorted(Setting.model_fields)), max_size=2))
def test_keys_are_equal_exactly_if_settings_are(a, other, changed):
    b = Setting(**dict(a) | {name: getattr(other, name) for name in changed})
    assert (a == b) == (a.key == b.key)


@given(st.permutations(list(BASE)), st.permutations(list(BASE["options"])))
def test_the_order_of_fields_does_not_matter(order, option_order):
    shuffled = {name: BASE[name] for name in order}
    shuffled["options"] = {name: BASE["options"][name] for name in option_order}
    assert Setting(**shuffled).key == Setting(**BASE).key


def test_whole_numbers_and_floats_make_one_key():
    a = Setting(**BASE | {"guidance": 2, "options": {"eta": 1}})
    b = Setting(**BASE | {"guidance": 2.0, "options": {"eta": 1.0}})
    assert a.key == b.key


def test_the_sign_of_zero_makes_no_other_key():
    a = Setting(**BASE | {"guidance": 0.0, "options": {"eta": 0.0}})
    b = Setting(**BASE | {"guidance": -0.0, "options": {"eta": -0.0}})
    assert a == b
    assert a.key == b.key


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"weights": "cd"},
        {"framework": "adm"},
        {"definition": "gh"},
        {"sampler": "ancestral"},
        {"options": {"eta": 0.5, "grid": "leading", "clip": False}},
        {"options": {"eta": 0.5, "grid": "leading", "clip": True, "batch": 32}},
        {"steps": 11},
        {"guidance": None},
        {"site": "x0_only"},
        {"metric": "kid"},
        {"extractor": "f"},
        {"reference": "s"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_is_part_of_the_key(change):
    assert Setting(**BASE | change).key != Setting(**BASE).key


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"site": "x0"},
        {"colour": "red"},
        {"guidance": float("nan")},
        {"guidance": float("inf")},
        {"options": {"eta": -0.1}},
        {"options": {"eta": 1.1}},
        {"options": {"batch": 0}},
        {"options": {"precision": "fp8"}},
        {"options": {"etta": 1}},
    ],
)
def test_impossible_values_are_refused(change):
    with pytest.raises(ValidationError):
        Setting(**BASE | change)


def test_a_setting_cannot_be_changed():
    with pytest.raises(ValidationError):
        Setting(**BASE).steps = 3


def test_canonical_json_is_sorted_and_tight():
    assert canonical({"b": [1, 2.5], "a": "λ"}) == '{"a":"λ","b":[1,2.5]}'
    assert json.loads(Setting(**BASE).key)["steps"] == 10
    with pytest.raises(ValueError):
        canonical({"a": float("nan")})


def test_fingerprints_name_the_value_and_stay_what_they_are():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    known = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert fingerprint({"a": 1}) == known
