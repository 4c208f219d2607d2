"""What a tracker tells of a study: phases, speed of late, time left, never worse than λ = 1."""

import pytest

from lambda_search.records import Progress
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.search import progress
from lambda_search.search.progress import Tracker
from lambda_search.store.store import Store
from tests.search.running import Halting
from tests.search.running import run


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when it is told to."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_speed_is_that_of_late_and_time_left_follows_from_it(clock):
    tracker = Tracker("s")
    tracker.expect(12, 10_000)
    assert (tracker.snapshot().phase, tracker.snapshot().seconds_left) == ("preparing", None)
    clock(600)  # a model was read
    tracker.snapshot()
    tracker.stage = "search"
    for _ in range(120):
        clock(1)
        tracker.meter.images += 10
        told = tracker.snapshot(4)
    assert told.images_per_second == pytest.approx(10, rel=0.05)
    assert told.seconds_left == pytest.approx((10_000 - 1200) / 10, rel=0.05)
    assert told.workers == 4
    tracker.confirm(600)
    told = tracker.snapshot(4)
    assert (told.phase, told.images_expected) == ("confirm", 1800)
    assert told.seconds_left == pytest.approx(60, rel=0.05)


def test_the_best_so_far_is_not_worse_than_lambda_one():
    tracker = Tracker("s")
    assert tracker.snapshot().best is None
    worse = Trial(1, 0, LambdaSchedule(1.05), 1.05, 0.0, "stopped", 32, -3.0)
    tracker.closed([worse])
    told = tracker.snapshot()
    assert (told.best.is_identity, told.best_gain, told.best_n) == (True, 0.0, 32)


def test_a_study_goes_through_its_phases(study_text, monkeypatch):
    phases = []
    real = Tracker.__setattr__

    def remember(self, name, value):
        if name == "stage":
            phases.append(value)
        real(self, name, value)

    monkeypatch.setattr(Tracker, "__setattr__", remember)
    run(study_text, Halting(), Store())
    assert phases == ["preparing", "search", "confirm", "done"]


def test_a_study_that_is_taken_over_has_cost_what_all_its_drivers_made():
    first = Tracker("s")
    first.meter.images, first.meter.network_seconds, first.meter.feature_seconds = 640, 30.0, 6.0
    before = first.snapshot(2, [("gpu-1", "A100", 2)])
    assert (before.made_in_all, before.seconds_in_all, before.workers) == (640, 36.0, 2)
    second = Tracker("s", Progress.from_json(before.to_json()))
    second.meter.images, second.meter.network_seconds = 64, 3.0
    told = second.snapshot()
    assert (told.made, told.made_in_all, told.seconds_in_all) == (64, 704, 39.0)
