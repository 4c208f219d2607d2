"""Diagnoses of tiny networks: every framework has one, and it is the seed's alone."""

import math

import numpy as np
import pytest

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.registry import load_model
from lambda_search.search import clean
from lambda_search.search import diagnosing
from lambda_search.search import tried

SMALL = {"batch": 8}


@pytest.fixture
def few(monkeypatch):
    """As few images as can be: what is tried is whether it runs."""
    monkeypatch.setattr(clean, "_MANY", 8)
    monkeypatch.setattr(clean, "_FINER", 2)
    monkeypatch.setattr(diagnosing, "_OWN", 16)
    monkeypatch.setattr(tried, "PROBED", 8)
    monkeypatch.setattr(diagnosing, "PROBED", 8)
    monkeypatch.setattr(diagnosing, "FEWEST_IMAGES", 80)


@pytest.fixture(scope="module")
def tiny(tiny_pipeline):
    return load_model("diffusers", str(tiny_pipeline))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Real images as an archive, twice the model's size in `large`."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name, size in (("real", 8), ("large", 16)):
        images = generator.integers(0, 256, (70, size, size, 1), dtype=np.uint8)
        np.savez(folder / f"{name}.npz", arr_0=images)
    return folder


def test_every_framework_has_a_diagnosis(case, few):
    sampler = case.samplers[0]
    found = ls.diagnose(case.model, sampler, case.steps, images=96, options=SMALL)
    assert (found.framework, found.sampler) == (case.model.framework, sampler)
    assert [one.index for one in found.curve] == list(range(found.steps))
    assert all(0 < one.ratio < math.inf for one in found.curve)
    assert min(found.schedule.values(found.steps)) > 0
    assert found.images <= 96
    assert "own samples" in found.reference and found.reference == found.truth
    assert found.tried[0].schedule.is_identity and found.tried[0].gain == 0


def test_the_same_seed_says_the_same(tiny, few):
    one, again, other = (
        ls.diagnose(tiny, "ancestral", 4, images=96, options=SMALL, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one.curve != other.curve


def test_real_images_stand_for_themselves(tiny, photos, few):
    found = ls.diagnose(
        tiny, "ddim", 4, reference=f"images:{photos}/real.npz", images=96, options=SMALL
    )
    assert found.reference == found.truth == "70 of 70 real images, real.npz"
    assert found.images <= 96 and len(found.tried) > 1


def test_a_schedule_is_recommended_unless_it_is_worse_than_allowed(tiny, few, monkeypatch):
    for allowed, wanted in ((1e6, False), (-1e6, True)):
        monkeypatch.setattr(diagnosing, "_ALLOWED", ((1.0, allowed), (0.5, allowed)))
        found = ls.diagnose(tiny, "ancestral", 4, images=96, options=SMALL)
        assert found.schedule.is_identity is wanted
        assert wanted or found.schedule in [one.schedule for one in found.tried[1:]]
        assert ("λ = 1" in found.words) is wanted


def test_constants_have_one_number(tiny, few):
    found = ls.diagnose(tiny, "ancestral", 4, images=96, options=SMALL, constant=True)
    assert found.matched.k == 0 and found.slope == 0


def test_what_cannot_be_used_is_refused_at_once(tiny, photos):
    for reference, word in (
        ("bundled:fashion-mnist", "holds no images"),
        (f"images:{photos}/large.npz", "16 × 16"),
        ("images:nowhere", "no reference"),
    ):
        with pytest.raises(UsageError, match=word):
            ls.diagnose(tiny, "ddim", 4, reference=reference)
    with pytest.raises(UsageError, match="too little"):
        ls.diagnose(tiny, "ddim", 4, images=100)
    with pytest.raises(UsageError, match="heun"):
        ls.diagnose(tiny, "heun", 4)
