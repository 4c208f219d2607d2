"""What the OpenAPI document, Allow and problems say is what is done, for every operation."""

import csv
import io

import jsonschema
import pytest

from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.remote.connection import _ERRORS
from lambda_search.service.problems import _KINDS
from lambda_search.service.problems import _STATUSES
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind
from tests.report.studies import simulate

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


@pytest.fixture
def client(serve, url):
    store = Store(url)
    store.add(every_kind())
    simulate(store, "valley", until="queued")
    store.close()
    return serve(url)


def operations(client):
    """Path, method and operation of all."""
    paths = client.get("/v1/openapi.json").json()["paths"]
    return [(path, *one) for path, several in paths.items() for one in several.items()]


def filled(path):
    return path.replace("{name}", "valley").replace("{id}", "881eef3622cd")


def test_allow_names_what_is_taken_and_nothing_else(client, bearer):
    taken = {}
    for path, method, _ in operations(client):
        taken.setdefault(path, set()).add(method.upper())
    pages = {"/": {"GET"}, "/studies/new": {"GET", "POST"}, "/studies/valley": {"GET"}}
    for path, methods in {**taken, **pages}.items():
        expected = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        asked = client.options(filled(path), headers=bearer)
        assert asked.status_code == 204 and asked.content == b"", path
        assert {*asked.headers["allow"].split(", ")} == expected, path
        for method in METHODS - methods:
            told = client.request(method, filled(path), headers=bearer)
            assert told.status_code == 405, (method, path)
            assert {*told.headers["allow"].split(", ")} == expected, (method, path)
    assert client.options("/v1/nowhere").status_code == 404
    assert client.options("/assets/icon.svg").headers["allow"] == "GET, HEAD, OPTIONS"


def test_what_writes_says_that_it_needs_the_token(client, bearer):
    document = client.get("/v1/openapi.json").json()
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert scheme["type"] == "http" and scheme["scheme"] == "bearer"
    for path, method, one in operations(client):
        reads = method == "get"
        assert ({} in one["security"]) == reads and {name: []} in one["security"], path
        if not reads:
            assert client.request(method, filled(path)).status_code == 401, path
        declared = {*map(int, one["responses"])}
        assert {401, 403, 405} <= declared
        assert (413 in declared) == (path in ("/v1/rows", "/v1/studies") and not reads), path
    by_path = {path: {*map(int, one["responses"])} for path, _, one in operations(client)}
    assert by_path["/metrics"] == {200, 401, 403, 405}
    assert by_path["/v1/studies/{name}/events"] == {*(200, 204, 401, 403, 404, 405, 422, 429, 503)}


def test_answers_are_of_the_types_and_schemas_that_are_declared(client):
    for path, method, one in operations(client):
        if method != "get" or path.endswith("/events"):
            continue
        asked = {"model": "adm-cifar10", "steps": 20} if "/schedules/" in path else {}
        asked = {"model": "adm-cifar10"} if path.endswith(("under-way", "matches")) else asked
        declared = one["responses"]["200"]["content"]
        forms = ["json", "csv"] if "text/csv" in declared else [None]
        for form in forms:
            told = client.get(filled(path), params=asked | ({"format": form} if form else {}))
            assert told.status_code == 200, (path, told.text)
            kind = told.headers["content-type"].partition(";")[0]
            assert kind in declared, path
            if kind == "application/json":
                schema = declared[kind]["schema"]
                assert schema, path
                jsonschema.validate(told.json(), schema)
            elif kind == "text/csv":
                assert len(list(csv.reader(io.StringIO(told.text)))) > 1
    csvs = [path for path, _, one in operations(client) if "text/csv" in str(one["responses"])]
    assert csvs == ["/v1/schedules", "/v1/rows"]


def test_one_fault_has_one_code_with_a_hint_and_is_bad_input_from_afar(client, bearer):
    by_status = {}
    for sent in (
        {"method": "POST", "url": "/v1/rows", "content": b"x" * ((64 << 20) + 1)},
        {"method": "POST", "url": "/v1/studies", "content": _slices(5 << 20)},
        {"method": "POST", "url": "/v1/studies", "json": {"study": 1}},
        {"method": "POST", "url": "/v1/studies", "content": b"\xff"},
        {"method": "GET", "url": "/v1/schedules?limit=0"},
        {"method": "GET", "url": "/v1/nowhere"},
        {"method": "PUT", "url": "/v1/studies"},
    ):
        told = client.request(**sent, headers=bearer)
        found = told.json()
        assert found["hint"] and found["title"] and found["detail"], found
        by_status.setdefault(told.status_code, set()).add(found["code"])
    assert by_status == {
        413: {"too-large"},
        422: {"invalid"},
        404: {"not-found"},
        405: {"method-not-allowed"},
    }


def test_every_code_of_a_fault_of_who_asks_is_known_from_afar():
    codes = {code: status for status, (code, *_) in _STATUSES.items()}
    codes |= {code: status for _, status, code, _ in _KINDS}
    for code, status in codes.items():
        of_who_asks = status < 500 and status not in (408, 429)  # these pass
        known = issubclass(_ERRORS.get(code, Exception), (UsageError, NoScheduleFound))
        assert known == of_who_asks, code


def _slices(size):
    """A body whose length is not said before."""
    for _ in range(size >> 16):
        yield b"x" * (1 << 16)
