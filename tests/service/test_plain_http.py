"""The token over plain http: said once, where somebody could be in between."""

import warnings

import pytest

from lambda_search.remote import connection
from lambda_search.remote.connection import Connection


@pytest.fixture
def told(monkeypatch):
    """What is said of connections to several addresses."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def asked(*addresses, token="secret-of-mine"):
        connection._warn_once.cache_clear()
        monkeypatch.setenv("LAMBDA_SEARCH_TOKEN", token)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for address in addresses:
                Connection(address)
        return [str(one.message) for one in caught]

    return asked


def test_it_is_said_once_for_each_service(told):
    [first, second] = told(*["http://gpu.example:8000"] * 3, "http://192.0.2.1")
    assert "gpu.example:8000" in first and "https" in first and "192.0.2.1" in second
    assert "secret-of-mine" not in first


def test_where_nobody_is_in_between_or_nothing_is_sent_nothing_is_said(told):
    assert told("https://gpu.example", "http://127.0.0.1:8000", "http://[::1]:8") == []
    assert told("http://gpu.example", token="") == []
