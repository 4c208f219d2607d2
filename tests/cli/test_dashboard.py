"""The dashboard answers those who mean it; Optuna's own pages are not asked here."""

import signal
import socket
import threading
import urllib.request
from contextlib import suppress

import pytest

from lambda_search.cli.commands.dashboard import dashboard
from lambda_search.cli.host_check import under_own_names


def answer(host="127.0.0.1", **headers):
    told = []

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b""]

    guarded = under_own_names(app, host)
    list(guarded({"REQUEST_METHOD": "GET", **headers}, lambda status, _: told.append(status)))
    return told[0][:3]


@pytest.mark.parametrize("name", ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080"])
def test_loopback_is_answered(name):
    assert answer(HTTP_HOST=name) == "200"
    assert answer(HTTP_HOST=name, HTTP_ORIGIN=f"http://{name}") == "200"


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "192.168.0.7:8080",
        "127.0.0.1@evil.example",
        "[::1",
        "",
    ],
)
def test_other_names_are_refused(name):
    assert answer(HTTP_HOST=name) == "403"
    assert answer(HTTP_HOST="localhost", HTTP_ORIGIN=f"http://{name}") == "403"
    assert answer(HTTP_HOST="localhost", HTTP_ORIGIN="null") == "403"


def test_the_host_that_was_given_is_answered():
    assert answer("gpu-box", HTTP_HOST="GPU-box:8080") == "200"
    assert answer("192.168.0.7", HTTP_HOST="192.168.0.7:8080") == "200"
    assert answer("192.168.0.7", HTTP_HOST="192.168.0.8:8080") == "403"


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_listening_everywhere_takes_addresses_and_its_own_name(everywhere):
    assert answer(everywhere, HTTP_HOST="192.168.0.7:8080") == "200"
    assert answer(everywhere, HTTP_HOST=socket.gethostname()) == "200"
    assert answer(everywhere, HTTP_HOST="evil.example") == "403"


def test_a_host_that_is_none_is_one_message(cli):
    code, _, err = cli("dashboard", "--host", "no.such.host.invalid")
    assert code == 2 and "cannot be used" in err and "--host" in err


@pytest.mark.timeout(60)
def test_an_interruption_in_the_middle_of_a_request_ends_it(monkeypatch, free_port, interruptible):
    main = threading.main_thread().ident

    def app(environ, start_response):
        signal.pthread_kill(main, signal.SIGINT)
        start_response("200 OK", [])
        return [b""]

    def ask():
        while True:
            with suppress(OSError):
                return urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=30).read()

    monkeypatch.setattr("lambda_search.store.optuna_view.dashboard.dashboard_app", lambda _: app)
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    with pytest.raises(KeyboardInterrupt):
        dashboard("127.0.0.1", free_port)
    asking.join()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
