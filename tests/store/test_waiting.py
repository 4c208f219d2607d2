"""Proofs that are asked for of studies that are done, on both databases."""

from dataclasses import replace

import pytest

from lambda_search.errors import Conflict
from lambda_search.records import Terms
from lambda_search.search.leftovers import done_families
from lambda_search.search.leftovers import needed_families
from lambda_search.store.queue import Queue
from lambda_search.store.waiting import drop_proof
from lambda_search.store.waiting import files_of
from lambda_search.store.waiting import want_proof
from tests.store.test_store import begin
from tests.store.test_store import evaluation
from tests.store.test_store import row

WANTED = {"top": 1, "samples": 64, "precision": 0.01}
SPEC = """
name: s
model: {framework: diffusers, checkpoint: tiny, name: m}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


@pytest.fixture
def done(store, setting):
    lease = begin(store, setting, spec=SPEC)
    store.close_rung(lease, [replace(evaluation("a"), terms=Terms(64, None, 1))])
    store.publish(lease, row(setting), decisive="digest")
    return store.study("s")


def test_it_is_taken_by_who_names_it_and_its_end_leaves_the_study_done(store, done):
    queue = Queue(store)
    for left in ("queued", "stopped", "failed"):
        wanted = want_proof(store, "s", WANTED)
        assert (wanted.state, wanted.proof_wanted) == ("queued", WANTED)
        assert (wanted.spec, wanted.decisive) == (done.spec, "digest")
        assert queue.claim() is None
        lease = queue.claim(["s"]).lease
        with pytest.raises(Conflict, match="being driven"):
            want_proof(store, "s", WANTED)
        assert queue.end(lease, left, left, "why")
        study = store.study("s")
        assert (study.state, study.message, study.attempts[-1].reason) == ("done", "", "why")
        assert needed_families([study]) and not done_families([study]), "its features stay"
    want_proof(store, "s", WANTED)
    drop_proof(store, "s")
    drop_proof(store, "s")
    assert store.study("s").state == "done" and queue.claim(["s"]) is None
    want_proof(store, "s", WANTED)
    assert queue.stop("s").state == "done"


def test_one_for_any_driver_is_taken_by_the_next(store, done):
    queue = Queue(store)
    assert want_proof(store, "s", WANTED, by_any=True).proof_wanted == WANTED
    claim = queue.claim()
    assert (claim.study.name, claim.study.proof_wanted) == ("s", WANTED)
    assert queue.end(claim.lease, "failed", "failed", "why")
    assert store.study("s").state == "done" and queue.claim() is None
    want_proof(store, "s", WANTED)
    assert queue.claim() is None, "asked for again, by who names it"


@pytest.mark.parametrize("outcome", ["unable", "stopped"])
def test_one_for_any_driver_outlives_a_driver_that_cannot_make_it(store, done, outcome):
    queue = Queue(store)
    want_proof(store, "s", WANTED, by_any=True)
    first = queue.claim()
    assert queue.end(first.lease, "queued", outcome, "why")
    study = store.study("s")
    assert (study.state, study.message, study.proof_wanted) == ("queued", "why", WANTED)
    assert queue.claim(unable={(first.study.id, first.queued)}) is None
    drop_proof(store, "s")  # of who asked by name, and was too late
    second = queue.claim()
    assert (second.study.name, second.study.proof_wanted) == ("s", WANTED)


def test_one_that_waits_is_still_wanted_where_its_turn_alone_is_changed(store, done):
    want_proof(store, "s", WANTED, by_any=True)
    turned = Queue(store).submit("s", f"{SPEC}queue: {{priority: 1}}", priority=1)
    assert (turned.state, turned.proof_wanted) == ("queued", WANTED)


@pytest.mark.parametrize("left", ["failed", "stopped", "queued", "waiting", "lost"])
def test_one_for_any_driver_that_none_takes_up_again_keeps_nothing(store, done, left):
    """Failed, stopped, stopped as its driver left, and stopped while nobody drove it."""
    queue = Queue(store)
    want_proof(store, "s", WANTED, by_any=True)
    if left == "waiting":
        queue.stop("s")
    else:
        lease = queue.claim().lease
        if left in ("queued", "lost"):
            queue.stop("s")
        if left == "lost":
            lease.drop()
            assert queue.claim() is None
        else:
            assert queue.end(lease, left, "stopped", "why")
    study = store.study("s")
    assert (study.state, study.message, study.proof_wanted) == ("done", "", None)
    assert done_families([study]) and not needed_families([study])
    assert (study.spec, study.decisive) == (done.spec, "digest")


def test_its_row_ends_it_and_so_does_a_file_that_is_submitted(store, done, setting):
    want_proof(store, "s", WANTED)
    lease = Queue(store).claim(["s"]).lease
    store.publish(lease, row(setting, fid=4.0), decisive="digest")
    study = store.study("s")
    assert (study.state, study.proof_wanted) == ("done", None)
    assert done_families([study]) and not needed_families([study])
    want_proof(store, "s", WANTED)
    submitted = Queue(store).submit("s", f"{SPEC}\n", files={"a.yaml": b"a: 1"})
    assert (submitted.state, submitted.proof_wanted) == ("queued", None)
    assert files_of(store, "s") == {"a.yaml": b"a: 1"}
    with pytest.raises(Conflict, match="submitted again"):
        want_proof(store, "s", WANTED)
    drop_proof(store, "s")
    assert store.study("s").state == "queued"


def test_terms_are_kept_with_what_was_seen(store, done):
    [kept] = store.evaluations(done.id)
    assert kept == replace(evaluation("a"), terms=Terms(64, None, 1))
