"""Bodies that are too large, or do not come: whoever sends them, and with whatever method."""

import socket
import time

import pytest

from lambda_search.service import limits
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.browsing import reachable
from tests.service.conftest import AT
from tests.service.test_access import SPEC

FORM = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n"


@pytest.fixture
def port(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/s.db")
    Queue(store).submit("s", SPEC)
    with reachable(store=store.url, token="x" * 20) as address:
        yield int(address.rpartition(":")[2])
    store.close()


def ask(port, path, method="GET", more="", seconds=20):
    """A connection on which the head of a request was sent."""
    one = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    one.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode())
    return one


def test_bodies_that_never_come_hold_up_nothing(port):
    silent = [
        ask(port, path, method, FORM)
        for path in ("/api/studies/1?after=0", "/dashboard", "/static/bundle.js")
        for method in ("GET", "HEAD")
        for _ in range(3)
    ]
    chunked = "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n"
    silent += [ask(port, "/api/studies", "GET", chunked) for _ in range(4)]
    with ask(port, "/dashboard") as one:
        assert one.recv(100).startswith(b"HTTP/1.1 200")
    for one in silent:
        one.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_only_reads_brings_no_large_body(service, method):
    for path in ("/", "/v1/models", "/api/studies", "/healthz"):
        large = service.request(method, path, content=b"x" * 20_000)
        assert large.status_code == 413, path


def test_who_signs_in_is_waited_for_shortly(port, monkeypatch):
    monkeypatch.setitem(limits._BOUND_OF, "/login", limits._Bound(8 << 10, 1.0))
    began = time.monotonic()
    with ask(port, "/login", "POST", FORM) as one:
        assert one.recv(100).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 10


def test_a_token_is_no_large_body(service):
    large = {"token": "x", "next": "/" + "x" * 10_000}
    assert service.post("/login", data=large, headers={"Origin": AT}).status_code == 413
    bound = limits._BOUND_OF["/login"]
    assert (bound.most, bound.seconds) == (8 << 10, 10.0)
