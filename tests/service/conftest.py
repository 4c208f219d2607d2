"""A service in this process, and a client that asks it."""

import pytest
from starlette.testclient import TestClient

from lambda_search.service.app import create_app
from lambda_search.service.settings import Settings

TOKEN = "a-token-of-the-tests-that-nobody-guesses"
AT = "http://127.0.0.1:8000"


@pytest.fixture
def serve():
    """Starts services; gives a client of each. Its own errors are answered with 500."""
    several = []

    def started(store=None, **settings):
        app = create_app(Settings(store=store, **{"token": TOKEN, **settings}))
        client = TestClient(app, AT, follow_redirects=False, raise_server_exceptions=False)
        several.append(client.__enter__())
        return client

    yield started
    for client in several:
        client.__exit__(None, None, None)


@pytest.fixture
def service(serve):
    """A service on an empty store, asked from this machine, without the token."""
    return serve()


@pytest.fixture
def bearer():
    return {"Authorization": f"Bearer {TOKEN}"}
