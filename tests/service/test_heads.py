"""HEAD says what GET would, for all that can be asked."""

import http.client

from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.browsing import reachable
from tests.service.test_access import SPEC
from tests.service.test_access import places
from tests.service.test_access import stored  # noqa: F401  the fixture

VARY = {"date", "etag", "set-cookie", "content-length"}
"""What tells the time or a number of its own; and a length, in pages that show the time."""


def test_head_is_get_without_its_body(serve, stored):  # noqa: F811
    client = serve(stored)
    found = {}
    for path in places(client):
        if path.endswith("/events"):
            continue  # below: a test's client waits for the end
        got, head = client.get(path), client.request("HEAD", path)
        assert head.content == b"", path
        assert head.status_code == got.status_code, path
        assert {*head.headers} == {*got.headers}, path
        for name in {*got.headers} - VARY:
            assert head.headers[name] == got.headers[name], (path, name)
        found[path] = head.status_code
    assert {200, 404} <= {*found.values()}
    counted = client.get("/metrics").text
    assert 'method="HEAD",route="/healthz",status="200"' in counted


def test_head_of_a_stream_ends(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    Queue(store).submit("s", SPEC)
    with reachable(store=store.url) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        for _ in range(2):  # on one connection: nothing of a body is left on it
            connection.request("HEAD", "/v1/studies/s/events")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read() == b""
            assert answer.headers["content-type"].startswith("text/event-stream")
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
    store.close()


def test_head_of_large_files_leaves_no_worker_behind(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    with reachable(store=store.url) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        for _ in range(6):  # the dashboard has four
            for path in ("/static/bundle.js", "/assets/plotly.min.js"):
                connection.request("HEAD", path, headers={"Accept-Encoding": "gzip"})
                answer = connection.getresponse()
                assert answer.status == 200 and answer.read() == b""
        connection.request("GET", "/dashboard")
        assert connection.getresponse().status == 200
        connection.close()
    store.close()
