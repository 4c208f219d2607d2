"""Journeys to the server: few for a lookup, and no answer is lost with a dropped connection."""

import threading

import pytest
from sqlalchemy import event
from sqlalchemy import text

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import NoScheduleFound
from lambda_search.store.engine import StoreAway
from lambda_search.store.lookup import best
from lambda_search.store.queue import Queue
from lambda_search.store.tables import ContestRow
from tests.exchange.rows import setting as a_setting
from tests.store.test_store import publish
from tests.store.test_store import row


@pytest.fixture
def journeys(store, monkeypatch):
    """What is asked of the database, pings too."""
    told, real = [], store._engine.dialect.do_ping

    def ping(connection):
        told.append("ping")
        return real(connection)

    def listen(connection, cursor, statement, *_):
        told.append(statement)

    monkeypatch.setattr(store._engine.dialect, "do_ping", ping)
    event.listen(store._engine, "before_cursor_execute", listen)
    yield told
    event.remove(store._engine, "before_cursor_execute", listen)


def selects(told):
    return [one for one in told if one != "BEGIN"]  # a file's, which is no journey


def test_a_hit_is_one_journey(store, setting, journeys):
    publish(store, setting)
    for asked in ({"steps": 4}, {"nfe": 4}, {"steps": 4, "variance": "small", "weights": "00"}):
        journeys.clear()
        assert best("m", store=store, **asked).setting == setting
        assert len(selects(journeys)) == 1
    id = best("m", 4, store=store).id
    journeys.clear()
    assert store.row(id[:9]).id == id
    assert len(selects(journeys)) == 1


def test_a_miss_is_two(store, setting, journeys):
    publish(store, setting)
    Queue(store).submit("waits", "name: waits")
    for model, asked in (("m", {"steps": 5}), ("m", {"nfe": 9}), ("nobody", {"steps": 4})):
        journeys.clear()
        with pytest.raises(NoScheduleFound):
            best(model, store=store, **asked)
        assert len(selects(journeys)) == 2


def test_a_hit_by_its_url_is_two(store, setting):
    publish(store, setting)
    told, address = [], store._engine.url.render_as_string(hide_password=False)
    best("m", 4, store=address)
    from lambda_search.store.opened import _known

    [known] = [one for (_, url), one in _known.items() if url == address]
    event.listen(known._engine, "before_cursor_execute", lambda *a: told.append(a[2]))
    best("m", 4, store=address)
    assert len(selects(told)) <= 2


def test_what_a_miss_is_told_is_what_each_question_alone_finds(store):
    rows = [
        row(a_setting(steps=steps, guidance=guidance), f"{steps} {guidance}", b=1 + steps / 100)
        for steps in (2, 4, 4 + 3, 9, 12)
        for guidance in (None, 2.0, 3.0)
    ]
    store.add(rows)
    for name in ("first", "second", "third"):
        Queue(store).submit(name, f"name: {name}")
    for by, at in (("steps", 1), ("steps", 7), ("steps", 99), ("nfe", 5)):
        every = store.near("m", {}, by, at)
        for most in (1, 2, 5, 100):
            above = [one for one in every if getattr(one, by) >= at]
            below = [one for one in every if getattr(one, by) < at]
            above.sort(key=lambda one: (getattr(one, by), one.contest))
            below.sort(key=lambda one: (-getattr(one, by), one.contest))
            found = store.around("m", by, at, most)
            assert (
                found.near == [*above[:most], *below[:most]] == store.near("m", {}, by, at, most)
            )
            assert found.waiting == store.waiting() and len(found.waiting) == 3
            assert found.models == []
    for nobody in ("nobody", "\udcff"):
        found = store.around(nobody, "steps", 4, 5)
        assert (found.near, found.models) == ([], store.models())
        assert found.waiting == store.waiting()
    for one in rows:
        store.retract(one.id, "wrong")
    assert store.around("m", "steps", 4, 5).models == store.models()


@pytest.fixture
def drop(databases, store):
    """Has the server drop all connections of the store."""
    if not hasattr(databases, "run"):
        pytest.skip("a file drops no connection")
    name = databases.name(store.url)

    def drop():
        databases.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{name}'"
        )

    return drop


def fill_pool(store):
    """Two connections lie in the pool."""
    both = threading.Barrier(2)
    threads = [
        threading.Thread(target=store.read, args=(lambda session: _meet(session, both),))
        for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert store._engine.pool.checkedin() == 2


def _meet(session, both):
    session.execute(text("SELECT 1"))
    both.wait(30)


def test_a_read_survives_connections_that_were_dropped(store, setting, drop, journeys):
    publish(store, setting)
    for _ in range(2):
        fill_pool(store)
        drop()
        assert best("m", 4, store=store).setting == setting
        journeys.clear()
        assert store.row(best("m", 4, store=store).id).setting == setting
        assert len(journeys) == 2, "nothing is asked twice any more"


def test_a_write_survives_them(store, setting, drop, journeys):
    for name in ("a", "b"):
        fill_pool(store)
        drop()
        journeys.clear()
        store.add([row(setting, name, b=1.02)])
        assert journeys.count("ping") == 1
    assert store.is_there and len(store.lookup_rows("m")) == 2


def test_a_write_that_breaks_off_is_not_done_again(store, drop):
    tries = []

    def change(session):
        tries.append(session.scalar(text("SELECT 1")))
        drop()
        session.execute(text("SELECT 1"))

    with pytest.raises(StoreAway):
        store.write(change)
    assert tries == [1]


def test_a_read_that_fails_is_asked_once_and_of_a_server_that_is_away_twice(store, drop):
    tries = []

    def wrong(session):
        tries.append("wrong")
        session.execute(text("SELECT nothing"))

    with pytest.raises(LambdaSearchError, match="nothing"):
        store.read(wrong)
    assert tries == ["wrong"]

    def away(session):
        tries.append("away")
        session.query(ContestRow).first()
        drop()
        session.query(ContestRow).first()

    with pytest.raises(StoreAway):
        store.read(away)
    assert tries == ["wrong", "away", "away"]
