"""Finished studies that are proven again: the study stays as it was, whatever becomes of it."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

import lambda_search as ls
from lambda_search import proving
from lambda_search import studies
from lambda_search.drive import drive
from lambda_search.errors import Conflict
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.paths import features_folder
from lambda_search.proving import prepare_proof
from lambda_search.records import Terms
from lambda_search.spec import Bounds
from lambda_search.spec import parse_specs
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.store.waiting import want_proof
from lambda_search.work.pool import SerialPool
from lambda_search.work.tasks import SampleShard
from tests.search.running import Halting


@pytest.fixture
def text(study_text):
    """Three trials, of which one goes on, and a proof of two shards for each schedule."""
    small = study_text.replace("trials: 7", "trials: 3").replace("[32, 64]", "[16]")
    return small.replace("samples: 80", "samples: 32")


@pytest.fixture
def finished(text):
    store = Store()
    [row] = launched(store, text)
    return store, row


def launched(store, text, pool=None):
    return run_studies(plans_of(parse_specs(text)), store, pool or SerialPool())


def again(store, pool=None, **changed):
    return prepare_proof("tiny", store, **changed).run(store, pool or SerialPool())


def standing(store):
    """What a study is known by as done."""
    study = store.study("tiny")
    rows = [row.id for row in store.rows(study.id)]
    return study.state, study.message, study.spec, study.decisive, rows


def starts(pool):
    return {start for _, start in pool.done}


def test_one_that_was_asked_for_is_made_by_any_driver(finished):
    store, before = finished
    asked = studies.confirm("tiny", store, samples=48)
    assert asked.state == "queued" and store.events("tiny")[-1].kind == "queued"
    row = drive(store, SerialPool()).rows["tiny"]
    assert standing(store)[0] == "done" and standing(store)[-1] == [before.id, row.id]
    assert (
        row.n == 48 and row.provenance.confirm_indices[0] >= before.provenance.confirm_indices[1]
    )
    assert store.study("tiny").proof_wanted is None


def test_one_for_any_driver_waits_for_the_next_where_a_driver_was_interrupted(finished):
    store, before = finished
    studies.confirm("tiny", store, samples=48)
    with pytest.raises(Interrupted) as caught:
        drive(store, SerialPool(), watch=interrupt)
    assert "wait in the queue for the next driver" in caught.value.hint
    assert [row.id for row in store.rows(store.study("tiny").id)] == [before.id]
    row = drive(store, SerialPool()).rows["tiny"]
    assert row.n == 48 and standing(store)[0] == "done" and standing(store)[-1][-1] == row.id


def test_python_makes_one_here(finished, monkeypatch):
    store, before = finished
    monkeypatch.setattr(proving, "Store", lambda *_: store)
    opening = SimpleNamespace(begin=lambda: None, pool=SerialPool)
    monkeypatch.setattr(proving, "Opening", lambda *_: nullcontext(opening))
    row = ls.confirm("tiny", samples=48)
    assert row.n == 48 and row.id != before.id
    with pytest.raises(UsageError, match="no study"):
        ls.confirm("other")


def test_a_proof_is_made_again_on_images_of_its_own_and_nothing_is_searched(finished):
    store, _ = finished
    trials, pool = store.trials(store.study("tiny").id), Halting()
    last = store.events("tiny")[-1].number
    state, message, spec, decisive, rows = standing(store)
    row = again(store, pool)
    assert row.provenance.confirm_indices == (1_000_032, 1_000_064)
    assert starts(pool) == {1_000_032, 1_000_048}
    assert store.trials(store.study("tiny").id) == trials
    kinds = [event.kind for event in store.events("tiny", last)]
    assert "confirm" in kinds and "search" not in kinds
    further = again(store, samples=48, precision="20%", top=1)
    assert further.provenance.confirm_indices == (1_000_064, 1_000_112)
    assert len(further.provenance.candidates) == 1 and further.provenance.looks.made == (48,)
    after = [*rows, row.id, further.id]
    assert standing(store) == (state, message, spec, decisive, after), "the file is the user's"
    assert store.study("tiny").proof_wanted is None and not list(features_folder().iterdir())


def broken_off(store, how):
    match how:
        case "stopped":
            with pytest.raises(LambdaSearchError, match="stopped"):
                again(store, Halting(3), samples=48)
        case "failed":
            pool = SerialPool()
            pool.submit = lambda *_, **__: 1 / 0
            with pytest.raises(ZeroDivisionError):
                again(store, pool, samples=48)
        case "stopped while it waits":
            want_proof(store, "tiny", {"samples": 48})
            assert store.study("tiny").state == "queued"
            assert studies.stop("tiny", store).state == "done"
        case "unable":
            want_proof(store, "tiny", {"samples": 48})
            claim = Queue(store).claim(["tiny"])
            Queue(store).end(claim.lease, "queued", "unable", "its weights are not here")
        case "interrupted":
            with pytest.raises(Interrupted) as caught:
                prepare_proof("tiny", store, samples=48).run(store, SerialPool(), interrupt)
            assert caught.value.hint == "Go on with the same command."


def interrupt(_):
    raise KeyboardInterrupt


WAYS = ["stopped", "failed", "stopped while it waits", "unable", "interrupted"]


@pytest.mark.parametrize("how", ["done", *WAYS])
def test_whatever_becomes_of_it_the_file_that_is_launched_again_is_done(finished, text, how):
    store, before = finished
    was = standing(store)
    if how == "done":
        before = again(store, samples=48)
        was = (*was[:-1], [*was[-1], before.id])
    else:
        broken_off(store, how)
    assert standing(store) == was
    pool = Halting()
    assert launched(store, text, pool) == [before] and not pool.done
    [spec] = parse_specs(text)
    studies.submit(spec, store)
    assert not drive(store, pool).rows and standing(store) == was


def test_the_same_command_goes_on_where_it_was(finished):
    store, _ = finished
    broken_off(store, "stopped")
    pool = Halting()
    row = again(store, pool, samples=48)
    assert row.provenance.confirm_indices == (1_000_032, 1_000_080)
    assert len(pool.done) == 9 - 3, "and what was computed is kept"


class Refusing(Halting):
    """Workers that stop before their first shard, and know where it was to begin."""

    def submit(self, task, *arguments, **options):
        if isinstance(task, SampleShard):
            self.start = task.start
            raise Interrupted("The workers were stopped.")
        return super().submit(task, *arguments, **options)


def test_what_has_looked_goes_on_under_no_other_terms(text):
    """Whoever has seen a look must not choose by it where the confirmation ends."""
    store, told = Store(), {"samples": 50_000, "precision": "0.01%", "top": 2}
    launched(store, text.replace("batch: 16", "batch: 64").replace("[16]", "[64]"))
    first = 1_000_064

    def begins(**changed):
        """Where a proof begins, and with which look."""
        pool, heard = Refusing(), []
        with pytest.raises(LambdaSearchError, match="stopped"):
            prepare_proof("tiny", store, **told | changed).run(store, pool, None, [heard.append])
        [text] = [one.text for one in heard if one.kind == "confirm"]
        return pool.start, "look 2 of" in text

    assert begins() == (first, False)
    with pytest.raises(LambdaSearchError, match="stopped"):
        again(store, Halting(3 * 8), **told)  # after its first look, at 512 images
    study = store.study("tiny")
    looked = [one for one in store.evaluations(study.id) if one.first == first]
    assert [one.n for one in looked] == [512] * 3
    assert {one.terms for one in looked} == {Terms(50_000, 0.0001, 2)}
    assert begins() == (first + 512, True)
    others = [{"samples": n} for n in (256, 512, 49_999)] + [{"precision": "0.02%"}, {"top": 1}]
    for changed in others:
        assert begins(**changed) == (first + 512, False), changed


def test_a_driver_that_dies_leaves_it_to_the_same_command(finished, text):
    store, before = finished
    was = standing(store)
    want_proof(store, "tiny", {"samples": 48})
    assert Queue(store).claim() is None, "it is for who asked"
    Queue(store).claim(["tiny"]).lease.drop()  # as the death of its process does
    assert store.study("tiny").state == "running"
    row = again(store, samples=48)
    assert standing(store) == (*was[:-1], [before.id, row.id])
    want_proof(store, "tiny", {"samples": 48})
    Queue(store).claim(["tiny"]).lease.drop()
    pool = Halting()
    assert launched(store, text, pool) == [row] and not pool.done, "nor does a launch finish it"
    assert store.study("tiny").proof_wanted is None


def test_all_is_looked_at_before_the_study_is_touched(finished, tmp_path, monkeypatch):
    store, _ = finished
    was = standing(store)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(LambdaSearchError, match="0 MB are free"):
            prepare_proof("tiny", store)
    for changed, said in (
        ({"precision": "2"}, r"like 1% or 0\.01"),
        ({"samples": 3}, "confirm.samples"),
        ({"top": 0}, "confirm.top"),
    ):
        with pytest.raises(UsageError, match=said):
            prepare_proof("tiny", store, **changed)
    assert standing(store) == was


def test_what_cannot_be_confirmed_is_said_in_one_message(cli):
    store = Store()
    Queue(store).submit("waiting", "name: waiting")
    for name, said in (("nobody", "There is no study"), ("waiting", "only what is done")):
        code, _, err = cli("confirm", name)
        assert code == 2 and said in " ".join(err.split())


def test_a_study_that_was_submitted_in_the_meantime_is_left_alone(finished, text):
    store, _ = finished
    proof = prepare_proof("tiny", store)
    [spec] = parse_specs(text.replace("trials: 3", "trials: 4"))
    studies.submit(spec, store)
    with pytest.raises(Conflict, match="submitted again"):
        proof.run(store, SerialPool())
    assert store.study("tiny").state == "queued" and store.study("tiny").proof_wanted is None


def test_files_are_looked_up_where_a_driver_would(text, tiny_pipeline):
    store, folders = Store(), [tiny_pipeline.parent]
    [spec] = parse_specs(text.replace(str(tiny_pipeline), "./tiny"))
    studies.submit([spec], store)
    assert drive(store, SerialPool(), folders=folders).rows
    was = standing(store)
    with pytest.raises(UsageError, match="tiny"):
        prepare_proof("tiny", store)
    assert standing(store) == was
    row = prepare_proof("tiny", store, folders).run(store, SerialPool())
    assert row.provenance.confirm_indices == (1_000_032, 1_000_064)


def test_what_was_posted_is_proven_within_bounds(text, tiny_pipeline, cli):
    store, bounds = Store(), Bounds.of([tiny_pipeline.parent])
    studies.post(text, {}, store, bounds)
    assert drive(store, SerialPool(), bounds=bounds).rows
    was = standing(store)
    with pytest.raises(UsageError, match="A posted study may not name"):
        prepare_proof("tiny", store)
    code, _, err = cli("confirm", "tiny")
    assert code == 2 and "A posted study may not name" in " ".join(err.split())
    assert standing(store) == was
    row = prepare_proof("tiny", store, bounds=bounds).run(store, SerialPool())
    assert row.provenance.confirm_indices == (1_000_032, 1_000_064)
