"""The watch over the head node, before a door that opens and closes."""

import queue
import socket

import pytest

from lambda_search.cluster import head
from lambda_search.errors import PoolLost


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(head, "_KNOCK_SECONDS", 0.02)


@pytest.fixture
def door():
    """An address where somebody listens, and what closes it."""
    server = socket.create_server(("127.0.0.1", 0))
    yield "{}:{}".format(*server.getsockname()), server
    server.close()


def test_a_door_that_closes_is_told_once(door, monkeypatch):
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "0.3")
    address, server = door
    told = queue.Queue()
    watch = head.Head(address, told.put)
    with pytest.raises(queue.Empty):
        told.get(timeout=0.5)
    server.close()
    error = told.get(timeout=60)
    assert isinstance(error, PoolLost) and address in error.cause
    assert "same command" in error.hint
    with pytest.raises(queue.Empty):
        told.get(timeout=0.5)
    watch.close()


def test_a_door_that_opens_again_is_not_lost(door, monkeypatch):
    knocks = queue.Queue()
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "1000")
    real = head.knock

    def knock(address):
        try:
            real(address)
        except OSError:
            knocks.put("closed")
            raise
        knocks.put("open")

    monkeypatch.setattr(head, "knock", knock)
    address, server = door
    told = queue.Queue()
    watch = head.Head(address, told.put)
    server.close()
    while knocks.get(timeout=60) != "closed":
        pass
    host, _, port = address.partition(":")
    with socket.create_server((host, int(port))):
        while knocks.get(timeout=60) != "open":
            pass
    watch.close()
    assert told.empty()


@pytest.mark.parametrize(("set_to", "seconds"), [(None, 20), ("300", 100), ("soon", 20)])
def test_a_head_is_waited_for_less_long_than_ray_does(set_to, seconds, monkeypatch):
    monkeypatch.delenv("RAY_gcs_rpc_server_reconnect_timeout_s", raising=False)
    if set_to is not None:
        monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", set_to)
    assert head._patience() == seconds
