"""The dashboard answers those who mean it; Optuna's own pages are not asked here."""

import socket

import pytest

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
