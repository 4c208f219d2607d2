"""What is answered while the store is away: 503, whole, from every place that reads it."""

import pytest

from lambda_search.store.engine import StoreAway
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize(
    "path", ["/models.{}", "/v1/rows?format={}", "/v1/rows?format={}&model=m"]
)
def test_no_file_of_rows_begins_before_a_row_was_read(serve, url, path, form, monkeypatch):
    store = Store(url)
    store.add(every_kind())
    store.close()
    client = serve(url)
    assert client.get(path.format(form)).status_code == 200
    reads, read, less = [], Store.read, 0

    def away(self, query):
        reads.append(query)
        if len(reads) > less:
            raise StoreAway("It is away.", "Wait.")
        return read(self, query)

    monkeypatch.setattr(Store, "read", away)
    statuses = []
    for less in range(3):  # noqa: B007 - `away` reads it
        reads.clear()
        answer = client.get(path.format(form))
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            assert answer.json()["code"] == "store-away"
        else:  # it broke off later, or came whole: a row was read before it began
            assert answer.text.count("\n") >= 1
    assert statuses[:2] == [503, 503]


@pytest.mark.parametrize("path", ["/dashboard/", "/api/studies"])
def test_the_dashboard_says_so_too(serve, tmp_path, path, monkeypatch):
    client = serve(f"sqlite:///{tmp_path}/s.db")
    assert client.get("/api/studies").status_code == 200  # its storage was made
    served = client.get(path)

    def away(self, query):
        raise StoreAway("It is away at postgresql://secret-host/db.", "Wait.")

    monkeypatch.setattr(Store, "read", away)
    told = client.get(path)
    assert told.status_code == (503 if path.startswith("/api") else served.status_code), told.text
    assert "secret-host" not in told.text
