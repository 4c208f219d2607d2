"""Studies that went wrong before: diverging candidates, changed rungs, λ = 1 alone."""

from dataclasses import replace

import pytest
import torch
import yaml

from lambda_search.errors import Diverged
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.proposals import Observation
from lambda_search.search.proposals import propose
from lambda_search.search.rungs import default_rungs
from lambda_search.search.rungs import promoted
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.store.store import Store
from lambda_search.work import tasks
from tests.search.running import Halting
from tests.search.running import plan_of
from tests.search.running import record
from tests.search.running import run

SMALL = {"trials: 7": "trials: 4", "[32, 64]": "[16, 32]", "samples: 80": "samples: 16"}


@pytest.fixture
def small(study_text):
    for old, new in SMALL.items():
        assert old in study_text
        study_text = study_text.replace(old, new)
    return study_text


@pytest.fixture
def diverging(monkeypatch):
    """Makes schedules that the returned predicate holds for sample NaN."""
    real, chosen = tasks.sample_batch, []

    def sample(model, sampling, schedule, *rest, **options):
        found = real(model, sampling, schedule, *rest, **options)
        return found * torch.nan if any(one(schedule) for one in chosen) else found

    monkeypatch.setattr(tasks, "sample_batch", sample)
    return chosen.append


def test_a_diverging_candidate_closes_and_the_study_goes_on(small, diverging, tmp_path):
    diverging(lambda schedule: schedule.mean(4) > 1.02)
    heard, store = [], Store()
    row = run(small, Halting(), store, heard)
    trials = store.trials(store.study("tiny").id)
    lost = [trial for trial in trials if trial.state == "diverged"]
    assert lost and all(trial.mean > 1.02 for trial in lost)
    assert {(trial.n, trial.gain) for trial in lost} == {(None, None)}
    assert all("NaN" in trial.reason for trial in lost)
    assert len(trials) == 4 and row.provenance.trial not in [trial.number for trial in lost]
    assert any("diverged: The sampled images" in e.text for e in heard if e.kind == "trial")
    again, first = Store(f"{tmp_path}/again.db"), Halting(5)
    with pytest.raises(Exception, match="stopped"):
        run(small, first, again)
    run(small, Halting(), again)
    assert record(again) == record(store), "replayed to the same record"


def test_lambda_one_that_diverges_is_an_error(small, diverging):
    diverging(lambda schedule: True)
    with pytest.raises(Diverged, match="NaN"):
        run(small, Halting())


def test_proposals_are_told_of_diverged_trials_as_worse_than_the_worst():
    from lambda_search.records import Trial
    from lambda_search.search.proposals import observations

    base = Trial(0, 0, None, 1.0, 0.0, "complete", 32, 0.0)
    bad = replace(base, number=1, state="diverged", n=None, gain=None)
    worse, better = replace(base, number=2, gain=-2.0), replace(base, number=3, gain=1.0)
    assert [one.value for one in observations([base, bad, worse, better])] == [
        -0.0,
        5.0,
        2.0,
        -1.0,
    ]
    assert [one.value for one in observations([base, bad])] == [-0.0, 1.0]
    assert len(observations([base, replace(base, state="proposed", gain=None)])) == 1


def test_a_diverged_trial_is_the_worst_at_its_rung():
    gains = {0: 0.0, 1: 1.0, 2: float("-inf"), 3: float("-inf")}
    assert promoted(gains, [0, 1]) == [0, 1]
    assert promoted({0: 0.0, 1: -1.0}, [0, 1]) == [0]


def test_changed_rungs_leave_the_best_out_of_nothing(small):
    """A larger last rung and other ranges: the leading trials of before compete all the same."""
    store, near = Store(), small.replace("[0.97, 1.05]", "[0.99, 1.01]")
    run(near, Halting(), store)
    later = near.replace("trials: 4", "trials: 6").replace("[16, 32]", "[24, 48]")
    row = run(later.replace("[0.99, 1.01]", "[0.98, 1.25]"), Halting(), store)
    study = store.study("tiny").id
    last = {one.trial: one.gain for one in store.evaluations(study) if one.n == 48}
    assert len(last.keys() & {1, 2, 3}) >= 2, "trials of before were scored at the new last rung"
    chosen = [one.trial for one in row.provenance.candidates]
    assert chosen == sorted(last.keys() - {0}, key=lambda number: -last[number])[:2]
    assert row.provenance.confirm_indices == (1_000_016, 1_000_032)


@pytest.mark.parametrize("kind", ["gp", "tpe", "random", "qmc", "grid"])
def test_ranges_that_hold_lambda_one_alone_are_refused_before_anything_runs(small, kind):
    changes = {
        "trials: 4": f"trials: 4, proposals: {kind}",
        "[-0.01, 0.01]": "[0, 0]",
        "[0.97, 1.05]": "[1.0, 1.000002]",
    }
    for old, new in changes.items():
        small = small.replace(old, new)
    with pytest.raises(UsageError, match="λ = 1 is the only candidate"):
        plan_of(small)


def test_a_schedule_outside_of_new_ranges_is_never_confirmed(small):
    """Whatever it gained; those inside count, and the budget is spent on the new ranges."""
    store, wide = Store(), small.replace("trials: 4", "trials: 6")
    run(wide, Halting(), store)
    study = store.study("tiny")
    before = store.trials(study.id)
    best = max(before[1:], key=lambda trial: trial.gain)
    low, high = (0.97, best.mean - 1e-4) if best.mean > 1.01 else (best.mean + 1e-4, 1.05)
    inside = [one for one in before[1:] if low <= one.mean <= high]
    row = run(wide.replace("[0.97, 1.05]", f"[{low}, {high}]"), Halting(), store)
    assert best.number not in [one.trial for one in row.provenance.candidates]
    for one in row.provenance.candidates:
        assert low - 1e-6 <= LambdaSchedule(one.b, one.k).mean(4) <= high + 1e-6
    new = store.trials(study.id)[6:]
    assert len(new) == 6 - 1 - len(inside)
    assert all(low <= one.mean <= high for one in new)


def test_evaluations_of_an_earlier_release_count(small):
    """They are known by trial and indices; their features had other names."""
    store = Store()
    run(small, Halting(), store)
    before = record(store)
    from sqlalchemy import update

    from lambda_search.store.tables import EvaluationRow
    from lambda_search.store.tables import StudyRow

    def age(session):
        for one in session.query(EvaluationRow):
            one.fingerprint = f"{one.id:064d}"
        session.execute(update(StudyRow).values(state="stopped"))

    store.write(age)
    pool = Halting()
    run(small, pool, store)
    after = record(store)
    assert after[0] == before[0] and len(after[1]) == len(before[1])
    assert {start for _, start in pool.done} == {1_000_000}, "only the confirmation's features"


def test_rungs_follow_from_the_features_width():
    assert default_rungs(128, 50) == (150, 300, 550)
    assert default_rungs(2048, 64) == (2048, 4096, 8192)
    assert default_rungs(3, 64) == (64, 128, 256)
    assert default_rungs(2048, 65536) == (65536,)


def test_what_decides_numbers_is_told_from_what_does_not(small, tiny_pipeline):
    plan = plan_of(small)
    document = yaml.safe_load(small)
    document["model"]["dataset"] = "mine"
    assert plan_of(yaml.safe_dump(document)).digest() == plan.digest()
    for old, new in {"seed: 3": "seed: 4", "top: 2": "top: 1", "[16, 32]": "[16, 48]"}.items():
        assert plan_of(small.replace(old, new)).digest() != plan.digest()
    first, second, third = plan.cautions()
    assert "trials are hard to rank" in first and "no gain can be confirmed" in second
    assert "8 × 8 pixels" in third and "28 × 28" in third


# Proposals


SPACE = Space((0.99, 1.01), (0.0, 0.0), 20)


@pytest.mark.parametrize("kind", ["gp", "tpe"])
def test_ranges_without_history_get_points_that_fill_them(kind):
    space = Space((1.1, 1.2), (0.001, 0.002), 20)
    history = [Observation(Point(1 + k / 1000, 0.0), float(k)) for k in range(12)]
    found = [propose(space, kind, 40, 0, g, history, 4) for g in (3, 4)]
    assert found == [propose(space, kind, 40, 0, g, history, 4) for g in (3, 4)]
    points = [point for generation in found for point in generation]
    assert len(set(points)) == 8 and all(map(space.contains, points))
    assert len({int((point.mean - 1.1) / 0.05) for point in found[0]}) == 2, "both halves"


def test_a_point_that_is_proposed_again_is_moved_inside_the_ranges():
    history, generation = [], 0
    while len(history) < 20:  # the optimum lies beyond the range's end
        points = propose(SPACE, "gp", 32, 0, generation, history, 4)
        assert points == propose(SPACE, "gp", 32, 0, generation, history, 4)
        history += [Observation(point, 2 * ((point.mean - 1.017) / 0.01) ** 2) for point in points]
        generation += 1
    points = [told.point for told in history]
    assert len(set(points)) == len(points) and all(map(SPACE.contains, points[1:]))
    means = sorted(point.mean for point in points)
    assert max(means) == 1.01
