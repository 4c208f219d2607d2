"""A whole study in this process: from the file to the row, and every way to be interrupted."""

from dataclasses import replace

import pytest

from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import compare
from lambda_search.metrics.evidence import score
from lambda_search.paths import features_folder
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import level_for
from lambda_search.search.confirm import settle
from lambda_search.store.store import Store
from tests.search.running import Halting
from tests.search.running import record
from tests.search.running import run


def launch(text, pool, store=None):
    store = store or Store()
    run(text, pool, store)
    return record(store)


@pytest.fixture
def whole(study_text, tmp_path):
    """The record of an undisturbed run, and its shards."""
    pool = Halting()
    return launch(study_text, pool, Store(f"{tmp_path}/whole.db")), pool.done


def test_a_study_ends_in_a_row(study_text, whole):
    (trials, evaluations, rows), shards = whole
    assert [trial["number"] for trial in trials] == list(range(7))
    assert [trial["generation"] for trial in trials] == [0, 0, 0, 1, 1, 1, 2]
    assert (trials[0]["schedule"].is_identity, trials[0]["gain"]) == (True, 0.0)
    assert {trial["state"] for trial in trials} == {"complete", "stopped"}
    assert all(trial["n"] == (64 if trial["state"] == "complete" else 32) for trial in trials)
    [row] = rows
    confirmed = [e for e in evaluations if e["phase"] == "confirm"]
    assert {e["first"] for e in confirmed} == {1_000_000}
    assert len(confirmed) == 3
    assert row["provenance"].confirm_indices == (1_000_000, 1_000_080)
    assert (
        row["provenance"].trial
        == max(row["provenance"].candidates, key=lambda one: one.gain).trial
    )
    assert row["status"] == "measured" and row["schedule"].is_identity
    assert "too few" in row["verdict"] and "512 or more" in row["verdict"]
    assert row["n"] == 80
    starts = {start for _, start in shards}
    assert starts == {0, 16, 32, 48, *range(1_000_000, 1_000_080, 16)}
    assert len(set(shards)) == len(shards), "no shard is computed twice"


def test_every_trial_has_a_picture_of_its_first_images(study_text):
    store, pool = Store(), Halting()
    run(study_text, pool, store)
    firsts = {}
    for one in store.evaluations(store.study("tiny").id):
        if one.phase == "search":
            firsts.setdefault(one.trial, store.images(one.fingerprint))
    assert len(firsts) == 7 and all(len(images) == 1 for images in firsts.values())
    assert all(image.content.startswith(b"\x89PNG") for [image] in firsts.values())
    assert len(set(pool.done)) == len(pool.done), "nothing is sampled for them"


@pytest.mark.parametrize(
    "after", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (9, 20)), 35]
)
def test_interrupted_anywhere_it_goes_on_to_the_same_record(
    after, study_text, whole, home, monkeypatch
):
    store = Store()
    first = Halting(after)
    interrupted = False
    try:
        launch(study_text, first, store)
    except Interrupted:
        interrupted = True
    assert interrupted
    second = Halting()
    assert launch(study_text, second, store) == whole[0]
    assert sorted(first.done + second.done, key=str) == sorted(whole[1], key=str)


def test_features_are_pruned_when_the_study_is_done(study_text):
    launch(study_text, Halting())
    assert list(features_folder().rglob("*.npy")) == []


@pytest.mark.slow
def test_damaged_feature_files_are_computed_again(study_text, whole):
    store = Store()
    try:
        launch(study_text, Halting(20), store)
    except Interrupted:
        pass
    for file in features_folder().rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    second = Halting()
    assert launch(study_text, second, store) == whole[0]
    assert len(second.done) > len(whole[1]) - 20


@pytest.mark.slow
def test_a_larger_budget_goes_on_from_the_record(study_text, whole):
    store = Store()
    launch(study_text, Halting(), store)
    more = launch(study_text.replace("trials: 7", "trials: 9"), Halting(), store)
    assert len(more[0]) == 9
    assert more[0][:7] == whole[0][0]
    old, new = (row["provenance"].confirm_indices for row in more[2])
    assert (old, new) == ((1_000_000, 1_000_080), (1_000_080, 1_000_160)), "a round of its own"


def test_another_setting_under_the_same_name_is_refused_before_sampling(study_text):
    store = Store()
    launch(study_text, Halting(), store)
    pool = Halting()
    with pytest.raises(UsageError, match="of another setting:\n  steps: 4 →"):
        launch(study_text.replace("steps: 4", "steps: 5"), pool, store)
    assert pool.done == []


def test_a_disk_that_fills_stops_the_study_and_loses_nothing(study_text, monkeypatch):
    import errno

    from lambda_search.work.storage import FolderStorage

    store, write, left = Store(), FolderStorage.write, [12]

    def fills(self, name, content):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", "features")
        write(self, name, content)

    monkeypatch.setattr(FolderStorage, "write", fills)
    with pytest.raises(LambdaSearchError, match=r"cannot be written to .*No space left on device"):
        launch(study_text, Halting(), store)
    monkeypatch.undo()
    assert launch(study_text, Halting(), store)[2] != []


def test_settling_demands_an_interval_above_zero():
    import numpy as np

    from lambda_search.metrics.frechet import FrechetReference
    from lambda_search.schedule import LambdaSchedule

    noise = np.random.default_rng(0).normal(size=(400, 4))
    reference = FrechetReference(np.zeros(4), np.eye(4))
    baseline = score(noise + 0.5, reference)
    better, same = noise + 0.3, noise + 0.5 + np.random.default_rng(1).normal(size=(400, 4)) * 1e-3

    def contender(number, features):
        found = score(features, reference)
        against = compare(found, baseline, features, noise + 0.5)
        return Contender(number, LambdaSchedule(1.01 * number), found, against)

    won = settle(baseline, [contender(1, same), contender(2, better)])
    assert (won.best.trial, won.status, won.interval.level) == (2, "confirmed", level_for(2))
    lost = settle(baseline, [contender(1, same)])
    assert lost.status == "measured"
    assert lost.schedule.is_identity and "no significant gain" in lost.verdict
    barely = contender(3, better)
    wide = replace(
        barely,
        against_baseline=replace(
            barely.against_baseline, standard_error=barely.against_baseline.gain / 2.1
        ),
    )
    assert settle(baseline, [wide]).status == "confirmed"
    assert settle(baseline, [wide, wide]).status == "measured", "two candidates need more"
