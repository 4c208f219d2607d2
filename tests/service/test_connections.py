"""Connections that hold the service up are closed."""

import socket
import threading
import time

import pytest
import uvicorn

from lambda_search.service import connections


@pytest.fixture
def server(monkeypatch):
    """One that waits shortly for the heads of requests, and the port that it listens on."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 2.0)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.2)

    async def app(scope, receive, send):
        if scope["path"] == "/slow":
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})

    config = uvicorn.Config(
        app, port=0, http=connections.Connection, lifespan="off", log_level="error"
    )
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    sockets = {"sockets": [listening]}
    thread = threading.Thread(target=server.run, kwargs=sockets, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield server, listening.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.fixture
def port(server):
    return server[1]


def test_who_sends_no_head_is_not_waited_for(port):
    silent = socket.create_connection(("127.0.0.1", port))
    trickling = socket.create_connection(("127.0.0.1", port))
    trickling.sendall(b"GET / HTTP/1.1\r\n")
    began, closed = time.monotonic(), False
    while not closed and time.monotonic() - began < 20:
        try:
            trickling.sendall(b"X: y\r\n")
            time.sleep(0.1)
        except OSError:
            closed = True
    assert closed
    silent.settimeout(20)
    assert silent.recv(1) == b""


def test_who_asks_now_and_then_is_answered_and_a_long_answer_is_waited_for(port):
    with socket.create_connection(("127.0.0.1", port)) as one:
        for _ in range(3):
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"0\r\n\r\n") and b"here" not in answer:
                piece = one.recv(1000)
                assert piece, "closed"
                answer += piece
            time.sleep(0.4)
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        time.sleep(3)
        one.sendall(b"x")
        assert one.recv(1000).startswith(b"HTTP/1.1 200")


def test_who_asks_all_the_time_is_not_closed(port):
    """Between two requests a connection waits for a head as well."""
    with socket.create_connection(("127.0.0.1", port)) as one:
        began = time.monotonic()
        while time.monotonic() - began < 4:  # twice as long as a head may take
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while b"0\r\n\r\n" not in answer:
                piece = one.recv(1000)
                assert piece, "closed"
                answer += piece
            time.sleep(0.05)


def test_what_is_answered_leaves_at_once(server):
    running, port = server
    with socket.create_connection(("127.0.0.1", port)):
        while not running.server_state.connections:
            time.sleep(0.02)
        [connection] = running.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
