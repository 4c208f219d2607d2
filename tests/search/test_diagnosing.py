"""Diagnoses of tiny networks: every framework has one, and it is the seed's alone."""

import math
import re
from dataclasses import dataclass
from dataclasses import replace
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lambda_search as ls
from lambda_search.errors import Diverged
from lambda_search.errors import UsageError
from lambda_search.models.registry import load_model
from lambda_search.search import clean
from lambda_search.search import diagnosing
from lambda_search.search import tried
from lambda_search.search.predicting import ROUNDS
from lambda_search.search.predicting import Prediction
from lambda_search.search.space import Point
from lambda_search.search.valley import Reach
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.landscapes import Landscape
from tests.search.players import STEPS

SMALL, FEW = {"batch": 8}, 160


@pytest.fixture
def few(monkeypatch):
    """As few images as can be: what is tried is whether it runs."""
    monkeypatch.setattr(clean, "_MANY", 8)
    monkeypatch.setattr(clean, "_FINER", 2)
    monkeypatch.setattr(diagnosing, "_OWN", 16)
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
    found = ls.diagnose(case.model, sampler, case.steps, images=FEW, options=SMALL)
    assert (found.framework, found.sampler) == (case.model.framework, sampler)
    assert [one.index for one in found.curve] == list(range(found.steps))
    assert all(0 < one.ratio < math.inf for one in found.curve)
    assert min(found.schedule.values(found.steps)) > 0
    assert found.images <= FEW
    assert "own samples" in found.reference and found.reference == found.truth
    assert found.tried[0].schedule.is_identity and found.tried[0].gain == 0


def test_the_same_seed_says_the_same(tiny, few):
    one, again, other = (
        ls.diagnose(tiny, "ancestral", 4, images=FEW, options=SMALL, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one.curve != other.curve


def test_real_images_stand_for_themselves(tiny, photos, few):
    found = ls.diagnose(
        tiny, "ddim", 4, reference=f"images:{photos}/real.npz", images=FEW, options=SMALL
    )
    assert found.reference == found.truth == "70 of 70 real images, real.npz"
    assert found.images <= FEW and len(found.tried) > 1


def test_images_are_counted_and_each_schedule_is_told_once(tiny, few):
    found = ls.diagnose(tiny, "ancestral", 4, images=FEW, options=SMALL)
    schedules = [one.schedule for one in found.tried]
    assert len(set(schedules)) == len(schedules) and schedules[0].is_identity
    beside = 2 * (min(one.n for one in found.tried) // 2)  # how norms change with mean and tilt
    assert found.images == 16 + beside + sum(one.n for one in found.tried)


def test_features_are_those_at_little_noise_where_steps_add_noise(tiny, few):
    for sampler, level in (("ancestral", 0.1), ("ddim", 1.5)):
        found = ls.diagnose(tiny, sampler, 4, images=FEW, options=SMALL)
        told = re.search("at noise ([0-9.]+);", found.features)
        assert float(told[1]) == pytest.approx(level, rel=0.05)


@dataclass
class Emulated:
    """What a run would measure on a landscape, its noise so many times as large."""

    truth: Landscape
    seed: int
    noise: float = 1.0
    n: int = 54

    def score(self, schedule, first):
        low = replace(self.truth, noise=self.truth.noise.times(self.noise), features=32)
        tilt = schedule.k * (STEPS - 1)
        told = Emulator(low, self.seed).measure(schedule.mean(STEPS), tilt, first, self.n)
        return SimpleNamespace(corrected=told[0], influence=torch.from_numpy(told[1]))


def predicted(run, ridge):
    """The point that is recommended."""
    reach, farthest = Reach(0.03, 0.065, STEPS), 1.5 if "ddim" in run.truth.name else 1.0
    looked = Prediction(run, reach, ridge, farthest, 32, run.seed)
    for _ in range(1 + ROUNDS):
        looked.measure(looked.next())
    return looked.prudent


def share(run, ridge):
    """Of the gain of a landscape's optimum what a prediction has."""
    point, truth = predicted(run, ridge), run.truth
    return 1 - float(truth.fid(point.mean, point.slope * (STEPS - 1)) - truth.best) / (
        truth.one - truth.best
    )


@pytest.mark.parametrize("truth", BUNDLED, ids=lambda one: one.name)
def test_it_has_most_of_the_gain_where_features_see_as_fid_does(truth):
    """The line is off by 0.05, about as far as norms have it wrong."""
    found = [share(Emulated(truth, seed), truth.ridge - 0.05) for seed in range(5)]
    assert median(found) > 0.5


def test_without_noise_it_takes_three_quarters_of_the_way():
    truth = BUNDLED[0]
    way = float(truth.fid(1 + 0.75 * (truth.mean - 1), 0.75 * truth.tilt))
    wanted = (truth.one - way) / (truth.one - truth.best)
    assert share(Emulated(truth, 0, noise=0.02), truth.ridge) == pytest.approx(wanted, abs=0.1)


@dataclass
class Fragile(Emulated):
    """Beyond λ̄ = 1.02 nothing is finite."""

    def score(self, schedule, first):
        return None if schedule.mean(STEPS) > 1.02 else super().score(schedule, first)


@dataclass
class Strict(Emulated):
    """Refuses λ that reaches zero, as sampling does."""

    def score(self, schedule, first):
        schedule.values(STEPS)
        return super().score(schedule, first)


def test_what_reaches_zero_or_diverges_is_told_as_lost():
    for run, reach, ridge in (
        (Fragile(BUNDLED[0], 0), Reach(0.03, 0.065, STEPS), -0.3),
        (Strict(BUNDLED[0], 0), Reach(0.3, 0.9, STEPS), -1.0),
    ):
        looked = Prediction(run, reach, ridge, 1.0, 32, 0)
        for _ in range(1 + ROUNDS):
            looked.measure(looked.next())
        lost = [one for one in looked.tried if one.gain is None]
        assert lost and len(looked.tried) > len(lost)
        assert min(looked.space.schedule(looked.prudent).values(STEPS)) > 0


def test_the_edge_of_what_is_looked_at_is_told():
    looked = Prediction(Emulated(BUNDLED[0], 0), Reach(0.03, 0.065, STEPS), -0.3, 1.5, 32, 0)
    for mean, tilt, wanted in (
        (1.0, 0.0, False),
        (1 - 0.3 * 0.19, 0.19, False),
        (1 - 0.3 * 0.195, 0.195, True),  # 1.5 · 2 · 0.065
        (1.025, 0.0, False),
        (1.03, 0.0, True),  # 1.5 · 2/3 · 0.03
        (1.03 - 0.3 * 0.1, 0.1, True),
    ):
        assert looked.is_edge(Point(mean, tilt / (STEPS - 1))) is wanted


@pytest.mark.parametrize("bad", ["one", "others", "mean"])
def test_what_is_not_finite_is_an_error_only_of_lambda_one(tiny, few, monkeypatch, bad):
    real = tried.sampled

    def broken(model, sampling, schedule, seed, indices):
        states, norms = real(model, sampling, schedule, seed, indices)
        mean = schedule.mean(4)
        hit = {"one": mean == 1, "others": not schedule.is_identity, "mean": mean > 1}[bad]
        return (states * math.nan, norms * math.nan) if hit else (states, norms)

    monkeypatch.setattr(tried, "sampled", broken)
    if bad == "one":
        with pytest.raises(Diverged):
            ls.diagnose(tiny, "ddim", 4, images=FEW, options=SMALL)
        return
    found = ls.diagnose(tiny, "ddim", 4, images=FEW, options=SMALL)
    assert any(one.gain is None for one in found.tried)
    assert found.ridge == 0 and (bad == "mean" or found.schedule.is_identity)


def test_where_lambda_one_is_best_it_loses_little():
    lost = [
        NO_GAIN.fid(point.mean, point.slope * (STEPS - 1)) / NO_GAIN.one - 1
        for point in (predicted(Emulated(NO_GAIN, seed), NO_GAIN.ridge) for seed in range(6))
    ]
    assert median(lost) < 0.01 and max(lost) < 0.05


def test_constants_have_one_number(tiny, few):
    found = ls.diagnose(tiny, "ancestral", 4, images=FEW, options=SMALL, constant=True)
    assert all(one.schedule.k == 0 for one in found.tried) and found.slope == found.ridge == 0


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
