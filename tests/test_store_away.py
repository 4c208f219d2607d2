"""A store that is away for a while, and commits that nobody heard of, in the middle of a study."""

import os
import random
import signal
import threading
import time

import pytest
from sqlalchemy import make_url

import lambda_search.drive as driving
from lambda_search import studies
from lambda_search.drive import drive
from lambda_search.errors import Interrupted
from lambda_search.spec import parse_specs
from lambda_search.store import engine
from lambda_search.store import leases
from lambda_search.store import transactions
from lambda_search.store.engine import StoreAway
from lambda_search.store.leases import LeaseLost
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.search.running import record
from tests.shell import PATIENCE
from tests.shell import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def spec(study_text):
    text = study_text.replace("trials: 7", "trials: 4").replace("samples: 80", "samples: 16")
    [spec] = parse_specs(text.replace("rungs: [32, 64]", "rungs: [16, 32]"))
    return spec


@pytest.fixture
def undisturbed(spec, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path / "undisturbed"))
        store = Store()
        studies.submit(spec, store)
        drive(store, SerialPool())
        found = record(store)
        store.close()
    return found


class Server:
    """A database on a server that can be sent away."""

    def __init__(self, postgres):
        self._postgres = postgres
        self.url = postgres.new_database()
        self._name = make_url(self.url).database

    def kill(self, share=1.0, chance=random):
        """Ends connections, in whatever they are."""
        for pid in self._postgres.ask(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{self._name}'"
        ):
            if chance.random() < share:
                self._postgres.ask(f"SELECT pg_terminate_backend({pid})")

    def go_away(self, seconds):
        self._postgres.ask(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
        self.kill()
        threading.Timer(seconds, self.come_back).start()

    def come_back(self):
        self._postgres.ask(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")


@pytest.fixture
def server(postgres):
    return Server(postgres)


def go_away_at(monkeypatch, server, number, seconds):
    """Sends the server away as a study's write of that number begins."""
    real, writes = Store.write, []

    def write(self, change, lease=None):
        if lease is not None:
            writes.append(lease)
            if len(writes) == number:
                server.go_away(seconds)
        return real(self, change, lease)

    monkeypatch.setattr(Store, "write", write)


def test_a_store_that_is_away_for_seconds_is_waited_for(server, spec, undisturbed, monkeypatch):
    store = Store(server.url, 30.0)
    studies.submit(spec, store)
    go_away_at(monkeypatch, server, 2, 3.0)
    driven = drive(store, SerialPool())
    assert driven.errors == {} and record(store) == undisturbed
    assert [one.outcome for one in store.study("tiny").attempts] == ["done"]


def test_beyond_the_patience_a_study_is_left_and_can_be_gone_on_with_at_once(
    server, spec, undisturbed, monkeypatch
):
    store = Store(server.url, 1.0)
    studies.submit(spec, store)
    go_away_at(monkeypatch, server, 2, 4.0)
    began = time.monotonic()
    try:
        driven = drive(store, SerialPool())
    except StoreAway as error:
        told = error
    else:
        told = driven.errors["tiny"]
    print(f"given up after {time.monotonic() - began:.1f} s: {told}")
    assert isinstance(told, StoreAway) and "not currently accepting connections" in told.cause
    server.come_back()
    assert store.study("tiny").state in ("running", "queued")
    assert "tiny" in drive(store, SerialPool()).rows
    assert record(store) == undisturbed
    first, second = (one.outcome for one in store.study("tiny").attempts)
    assert first in ("lost", "stopped") and second == "done"


@pytest.fixture
def short_leases(monkeypatch):
    """Leases that end long before a store that is away comes back."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(driving, "_RENEW_SECONDS", 0.1)


@pytest.mark.usefixtures("short_leases")
def test_a_lease_that_ended_meanwhile_is_gone_on_with_where_nobody_took_it(
    server, spec, undisturbed, monkeypatch
):
    store = Store(server.url, 30.0)
    studies.submit(spec, store)
    go_away_at(monkeypatch, server, 2, 3.0)
    driven = drive(store, SerialPool())
    assert driven.errors == {} and record(store) == undisturbed
    assert [one.outcome for one in store.study("tiny").attempts] == ["done"]


@pytest.mark.usefixtures("short_leases")
def test_whoever_takes_it_first_goes_on_and_the_other_cannot_write(
    server, spec, undisturbed, monkeypatch
):
    """To the first driver the server is away, and it waits; it is not dead."""
    store, other, ended = Store(server.url, 60.0), Store(server.url), []
    studies.submit(spec, store)
    real, begun, waiting, taken = Store.write, [], threading.Semaphore(0), threading.Event()

    def write(self, change, lease=None):
        its = self._engine is store._engine
        if its and begun and not self._is_writing:
            waiting.release()
            assert taken.wait(PATIENCE)
        found = real(self, change, lease)
        begun.extend([lease] if its and lease is not None else [])
        return found

    def watch(studies):
        taken.set()

    monkeypatch.setattr(Store, "write", write)
    first = threading.Thread(target=lambda: ended.append(drive(store, SerialPool())))
    first.start()
    for _ in ("the study", "the loop that renews its lease"):
        assert waiting.acquire(timeout=PATIENCE)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 60.0)
    driven = wait_until(lambda: (one := drive(other, SerialPool(), watch=watch)).rows and one)
    first.join(PATIENCE)
    assert isinstance(ended[0].errors["tiny"], LeaseLost) and driven.errors == {}
    assert record(store) == undisturbed
    assert [one.outcome for one in store.study("tiny").attempts] == ["lost", "done"]


def test_a_driver_that_is_interrupted_does_not_wait_for_a_store(
    server, spec, monkeypatch, interruptible
):
    store = Store(server.url, 60.0)
    studies.submit(spec, store)
    go_away_at(monkeypatch, server, 2, 600.0)
    real, gone = server.go_away, []

    def go_away(seconds):
        real(seconds)
        gone.append(time.monotonic())
        threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    monkeypatch.setattr(server, "go_away", go_away)
    with pytest.raises(Interrupted, match="Nothing that was computed is lost"):
        drive(store, SerialPool())
    assert time.monotonic() - gone[0] < 60.0  # the store's patience
    server.come_back()
    assert Queue(store).claim().study.name == "tiny"


@pytest.mark.parametrize("seed", range(4))
def test_connections_break_at_random_moments(seed, server, spec, undisturbed):
    """In a transaction, in its commit, after it: nothing is doubled, and nothing is missing."""
    chance, ended, kills = random.Random(seed), threading.Event(), []
    store = Store(server.url, 60.0)
    studies.submit(spec, store)

    def kill():
        while not ended.wait(chance.uniform(0.0, 0.05)):
            server.kill(0.5, chance)
            kills.append(time.monotonic())
            if len(kills) % 40 == 0:
                ended.wait(2.0)  # else it would hardly get on

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        driven = drive(store, SerialPool())
    finally:
        ended.set()
        killer.join()
    print(f"connections broken {len(kills)} times")
    assert driven.errors == {} and record(store) == undisturbed
    study = store.study("tiny")
    assert (study.state, [one.outcome for one in study.attempts]) == ("done", ["done"])
    told = [(one.kind, one.text) for one in store.events("tiny")]
    assert len(told) == len(set(told))


def test_every_commit_is_done_twice(url, spec, undisturbed, monkeypatch):
    """As if no acknowledgement had ever been heard."""

    def twice(there, patience, action):
        engine.patiently(there, patience, action)
        return engine.patiently(there, patience, action)

    monkeypatch.setattr(transactions, "patiently", twice)
    store = Store(url)
    studies.submit(spec, store)
    driven = drive(store, SerialPool())
    assert driven.errors == {} and record(store) == undisturbed
    study = store.study("tiny")
    assert (study.state, [one.outcome for one in study.attempts]) == ("done", ["done"])
    told = [(one.kind, one.text) for one in store.events("tiny")]
    assert len(told) == len(set(told))
    other = spec.model_copy(update={"name": "other"})
    studies.submit(other, store)
    claim = Queue(store).claim()
    assert Queue(store).end(claim.lease, "failed", "failed", "no GPU")
    assert [one.outcome for one in store.study("other").attempts] == ["failed"]
