"""The queue and its leases: one contract, both databases."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy import text

from lambda_search import studies
from lambda_search.errors import UsageError
from lambda_search.store import leases
from lambda_search.store.leases import LeaseLost
from lambda_search.store.queue import Queue
from lambda_search.store.settings import Elsewhere
from lambda_search.store.store import Store
from tests.store.test_store import IDENTITY
from tests.store.test_store import begin
from tests.store.test_store import evaluation
from tests.store.test_store import row
from tests.store.test_store import trial


@pytest.fixture
def queue(store):
    return Queue(store)


def test_a_study_waits_without_a_setting_and_brings_its_files(store, queue):
    study = queue.submit("s", "name: s", "/base", {"config.yaml": b"a: 1"})
    assert (study.state, study.setting, study.steps, study.base) == ("queued", None, None, "/base")
    claim = queue.claim()
    assert claim.files == {"config.yaml": b"a: 1"} and claim.study.name == "s"
    assert store.study("s").state == "running" and "process" in store.study("s").driver
    assert queue.claim() is None


def test_the_longest_waiting_comes_first_and_each_once(store, queue):
    for name in "abcdef":
        queue.submit(name, f"name: {name}")
    taken, errors = [], []

    def take():
        try:
            while claim := Queue(store).claim():
                taken.append(claim.study.name)
        except Exception as error:
            errors.append(error)

    assert queue.claim().study.name == "a"
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and sorted(taken) == list("bcdef")


def test_priority_comes_first_then_the_user_of_whom_the_fewest_are_driven(queue):
    for number in range(3):
        queue.submit(f"many-{number}", "x: 1", user="anna")
    queue.submit("one", "x: 1", user="ben")
    queue.submit("nobody's", "x: 1")
    queue.submit("late", "x: 1", priority=-1)
    queue.submit("urgent", "x: 1", priority=5, user="anna")
    taken = []
    while claim := queue.claim():
        taken.append(claim.study.name)
    assert taken == ["urgent", "one", "nobody's", "many-0", "many-1", "many-2", "late"]


def test_who_submits_again_may_change_the_turn(queue):
    for name in "ab":
        queue.submit(name, "x: 1")
    queue.submit("b", "x: 1", priority=1)
    assert [queue.claim().study.name for _ in range(2)] == ["b", "a"]


STUDY = """
name: {name}
model: {{framework: diffusers, checkpoint: tiny}}
sampler: {{name: ancestral, steps: {steps}}}
metric: {{extractor: bundled, reference: "bundled:fashion-mnist"}}
queue: {{priority: {priority}, user: {user}}}
"""


def submit(queue, name, priority=0, user="anna", steps=4, files=None):
    text = STUDY.format(name=name, steps=steps, priority=priority, user=user)
    queue.check(name, text)
    return queue.submit(name, text, "/base", files, priority=priority, user=user)


def test_the_turn_of_one_that_runs_is_changed_where_it_is(store, queue):
    submit(queue, "a")
    lease = queue.claim().lease
    assert queue.stop("a").stop_wanted
    turned = submit(queue, "a", 3, "ben")
    assert (turned.state, turned.stop_wanted, turned.fence) == ("running", False, lease.fence)
    assert "priority: 3" in turned.spec and queue.keep_up([lease]) == []
    submit(queue, "b", user="ben")
    submit(queue, "c", user="carl")
    assert queue.claim().study.name == "c", "of ben one is driven"
    with pytest.raises(UsageError, match="is running with another file"):
        submit(queue, "a", 3, "ben", steps=5)
    submit(queue, "d", 1)
    lease.drop()
    assert queue.claim().study.name == "a", "taken over before d"


def test_the_turn_of_one_that_waits_is_changed_and_it_keeps_its_place(store, queue):
    files = {"config.yaml": b"a: 1"}
    for name in "abc":
        submit(queue, name, files=files)
    for name in "cb":
        submit(queue, name, 1, files=files)
    claims = [queue.claim() for _ in range(3)]
    assert [one.study.name for one in claims] == ["b", "c", "a"], "b has waited longer than c"
    assert all(one.files == files for one in claims)
    for name in "de":
        submit(queue, name, files=files)
    submit(queue, "d", 2, files={"config.yaml": b"a: 2"})
    submit(queue, "e", 2, files=files)
    claims = [queue.claim() for _ in range(2)]
    assert [one.study.name for one in claims] == ["e", "d"], "d is another one since"
    assert claims[1].files == {"config.yaml": b"a: 2"}


def test_names_and_what_a_driver_cannot_run_narrow_the_choice(queue):
    for name in "abc":
        queue.submit(name, "x: 1")
    assert queue.claim(["c"]).study.name == "c"
    first = queue.claim()
    assert first.study.name == "a"
    queue.end(first.lease, "queued", "unable", "no weights")
    unable = {(first.study.id, first.queued)}
    assert queue.claim(unable=unable).study.name == "b"
    assert queue.claim(["b", "c"]) is None and queue.claim(unable=unable) is None
    queue.submit("a", "x: 2")
    assert queue.claim(unable=unable).study.name == "a", "submitted anew, it is looked at again"


def test_submitting_again_queues_what_has_ended_and_keeps_its_attempts(store, queue, setting):
    lease = begin(store, setting)
    with pytest.raises(UsageError, match="is running with another file"):
        queue.submit("s", "name: s, trials: 9")
    assert queue.submit("s", "name: s").state == "running"
    queue.end(lease, "failed", "failed", "no GPU")
    assert (store.study("s").state, store.study("s").message) == ("failed", "no GPU")
    again = queue.submit("s", "name: s, trials: 9")
    assert (again.state, again.spec) == ("queued", "name: s, trials: 9")
    assert [(one.outcome, one.reason) for one in again.attempts] == [("failed", "no GPU")]
    assert again.setting == setting


def test_another_setting_or_identity_is_refused_by_name(store, setting):
    Queue(store).end(begin(store, setting), "stopped", "stopped")
    with pytest.raises(UsageError, match="of another setting:\n  steps: 4 →"):
        begin(store, setting.model_copy(update={"steps": 5}))
    with pytest.raises(UsageError, match="was begun with seed 0; this is seed 1") as caught:
        begin(store, setting, identity=replace(IDENTITY, seed=1))
    assert "another name" in caught.value.hint
    with pytest.raises(Elsewhere, match="begun with torch 2; this is torch 3"):
        begin(store, setting, identity=replace(IDENTITY, versions={"torch": "3"}))
    known = {"torch": "2", "numpy": "9"}  # which an older release did not keep
    assert begin(store, setting, identity=replace(IDENTITY, versions=known)) is not None


def test_a_study_of_a_release_that_spelled_its_setting_otherwise_goes_on(store, queue, setting):
    queue.end(begin(store, setting), "stopped", "stopped")
    queue.submit("s", "name: s")
    respelled = setting.model_copy(update={"steps": 5})
    study = queue.bind(queue.claim().lease, respelled, 5, IDENTITY, former=setting)
    assert study.setting == respelled


def test_a_lost_lease_cannot_write(store, queue, setting, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", -1.0)
    old = begin(store, setting)
    monkeypatch.undo()
    assert not store.is_driven(store.study("s"))
    claim = queue.claim()
    assert claim.lease.fence > old.fence
    for write in (
        lambda: store.propose(old, [trial(0)]),
        lambda: store.publish(old, row(setting)),
        lambda: store.close_rung(old, [evaluation("a")]),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert queue.keep_up([old, claim.lease]) == [old]
    assert not queue.end(old, "failed", "failed")
    assert store.study("s").state == "running"
    assert [one.outcome for one in store.study("s").attempts] == ["lost", ""]
    store.propose(claim.lease, [trial(0)])
    assert queue.end(claim.lease, "done", "done")
    assert store.study("s").state == "done" and store.rows(claim.study.id) == []


def _hold(url, ready, end):
    claim = Queue(Store(url)).claim()
    ready.put(claim.study.name)
    end.get()


def test_a_dead_driver_is_known_at_once_and_a_living_one_is_not_taken_for_dead(store, queue):
    """Also in another PID namespace, and after a step of the clock: neither is asked."""
    queue.submit("s", "name: s")
    context = multiprocessing.get_context("spawn")
    ready, end = context.Queue(), context.Queue()
    driver = context.Process(target=_hold, args=(store.url, ready, end))
    driver.start()
    assert ready.get(timeout=60) == "s"
    assert store.is_driven(store.study("s")) and queue.claim() is None
    os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    assert not store.is_driven(store.study("s"))
    assert queue.claim().study.name == "s"


def test_without_the_owners_file_a_lease_is_waited_for(store, queue, setting, home, monkeypatch):
    begin(store, setting)
    monkeypatch.setenv("LAMBDA_SEARCH_HOME", str(home / "another"))
    assert store.is_driven(store.study("s"))


def test_a_driver_of_the_same_process_that_gave_up_is_gone(store, queue, setting):
    lease = begin(store, setting)
    lease.drop()
    assert queue.claim().lease.fence == lease.fence + 1


def test_a_stop_is_heeded_or_done_at_once(store, queue, setting):
    queue.submit("waiting", "x: 1")
    assert queue.stop("waiting").state == "stopped"
    lease = begin(store, setting)
    assert queue.stop("s").state == "running" and queue.stops_wanted([lease]) == {lease.study_id}
    queue.end(lease, "stopped", "stopped", "as asked")
    with pytest.raises(UsageError, match="is stopped; there is nothing to stop"):
        queue.stop("s")
    with pytest.raises(UsageError, match="There is no study 'x'"):
        queue.stop("x")
    assert not queue.submit("s", "name: s").stop_wanted


def test_six_first_submissions_at_once_make_one_model_and_one_setting(url, setting):
    stores = [Store(url) for _ in range(6)]
    errors, gate = [], threading.Barrier(6)

    def go(number):
        try:
            gate.wait()
            begin(stores[number], setting, f"s-{number}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({store.study(f"s-{i}").setting.key for i, store in enumerate(stores)}) == 1
    for one in stores:
        one.close()


def test_a_stop_outlives_the_driver_that_was_asked(store, queue, setting):
    lease = begin(store, setting)
    queue.stop("s")
    lease.drop()
    assert queue.claim() is None
    study = store.study("s")
    assert (study.state, study.message) == ("stopped", "It was stopped as asked.")
    assert [one.outcome for one in study.attempts] == ["lost"]
    lease = begin(store, setting)
    queue.stop("s")
    queue.end(lease, "queued", "stopped", "interrupted")
    assert store.study("s").state == "stopped", "not queued again"


def test_submitting_or_resuming_takes_a_stop_back(store, queue, setting):
    lease = begin(store, setting)
    for again in (lambda: queue.submit("s", "name: s"), lambda: studies.resume("s", store)):
        queue.stop("s")
        assert queue.stops_wanted([lease])
        again()
        assert not queue.stops_wanted([lease]) and store.study("s").state == "running"


def test_stopping_what_has_lost_its_driver_closes_its_attempt(store, queue, setting):
    begin(store, setting).drop()
    assert queue.stop("s").state == "stopped"
    assert [one.outcome for one in store.study("s").attempts] == ["lost"]
    assert store.study("s").attempts[0].ended is not None


def test_a_takeover_that_is_not_committed_leaves_the_dead_known_as_dead(
    store, queue, setting, monkeypatch
):
    begin(store, setting).drop()
    with monkeypatch.context() as patch:
        patch.setattr(leases, "this_driver", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            queue.claim()
    assert queue.claim().study.name == "s"


def test_many_studies_of_a_process_have_few_connections(store, queue, databases):
    """64 that all write, read and renew at once; what they do not get they wait for."""
    if store.is_file:
        pytest.skip("a file has no server that counts")
    for number in range(64):
        queue.submit(f"s{number}", f"name: s{number}")
    claims = [queue.claim() for _ in range(64)]
    beginning, ended, counts = threading.Barrier(65), threading.Event(), []

    def work(claim):
        beginning.wait()
        for number in range(5):
            store.propose(claim.lease, [trial(number)])
            queue.keep_up([claim.lease])
            assert len(store.trials(claim.study.id)) == number + 1

    def count():
        name = databases.name(store.url)
        with databases.engine.connect() as connection:
            asked = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
            while not ended.wait(0.01):
                counts.append(connection.execute(asked, {"name": name}).scalar())

    watching = threading.Thread(target=count)
    watching.start()
    with ThreadPoolExecutor(64) as threads:
        working = [threads.submit(work, claim) for claim in claims]
        beginning.wait()
        for one in working:
            one.result()
    ended.set()
    watching.join()
    assert 2 <= max(counts) <= 5
    for claim in claims:
        claim.lease.forget()


def test_a_claim_asks_little_where_many_are_driven(store, queue):
    """Of a hundred that living drivers have, none is looked at by itself."""

    def statements():
        asked = []

        def note(connection, cursor, statement, *rest):
            asked.append(statement)

        event.listen(store._engine, "before_cursor_execute", note)
        claim = queue.claim()
        event.remove(store._engine, "before_cursor_execute", note)
        return len(asked), claim

    for number in range(102):
        queue.submit(f"s{number}", f"name: s{number}")
    first, claim = statements()
    held = [claim, *(queue.claim() for _ in range(100))]
    last, claim = statements()
    assert claim.study.name == "s101" and last < first + 10
    for one in (*held, claim):
        one.lease.forget()
