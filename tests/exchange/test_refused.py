"""Files of rows that are broken, of another version, impossible or hostile: refused whole."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler
from http.server import HTTPServer

import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.exchange import export_rows
from lambda_search.exchange import import_rows
from lambda_search.exchange import read_rows
from lambda_search.exchange import reading
from lambda_search.records import Row
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind
from tests.exchange.rows import setting
from tests.store.test_store import row


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A file of rows of every kind."""
    folder = tmp_path_factory.mktemp("exported")
    store = Store(f"{folder}/filled.db")
    store.add(every_kind())
    path = folder / "rows.json"
    export_rows(path, store)
    return path.read_text()


@pytest.fixture
def path(exported, tmp_path):
    """That file, to be changed."""
    path = tmp_path / "rows.json"
    path.write_text(exported)
    return path


def refused(path, words):
    store = Store()
    before = store.counts()
    with pytest.raises(UsageError) as caught:
        import_rows(path)
    assert words in caught.value.cause and caught.value.hint
    assert store.counts() == before, "nothing was written"


FILES = {
    "nothing": (lambda told: "", "no file of rows"),
    "a list": (lambda told: json.dumps(told["rows"]), "no file of rows"),
    "another format": (lambda told: json.dumps(told | {"format": "x"}), "no file of rows"),
    "another version": (lambda told: json.dumps(told | {"version": 2}), "it has version 2"),
    "a version of another type": (lambda told: json.dumps(told | {"version": "1"}), "version 1"),
    "more than rows": (lambda told: json.dumps({"more": 1} | told), "no file of rows"),
    "no version": (lambda told: json.dumps({"format": told["format"]}), "it has version None"),
    "no rows": (lambda told: json.dumps({"format": told["format"], "version": 1}), "no rows"),
    "rows of another kind": (lambda told: json.dumps(told | {"rows": 5}), "no '['"),
    "half a file": (lambda told: json.dumps(told)[: len(json.dumps(told)) // 2], "breaks off"),
    "words after its end": (lambda told: json.dumps(told) + "x", "follows after its end"),
    "a number that is none": (lambda told: json.dumps(told).replace("4.31", "NaN"), "no number"),
    "other bytes": (lambda told: "{\udcff", "utf-8"),
    "nested without end": (lambda told: _with_rows(told, "[" * 100_000), "nested"),
    "a row without end": (lambda told: _with_rows(told, '"' + "x" * (1 << 23)), "too large"),
    "a text": (lambda told: "root:x:0:0:root:/root:/bin/sh\n", "no file of rows"),
    "a line without end": (lambda told: "version," * (1 << 22), "too long"),
    "CSV of another version": (lambda told: "version,provenance\n2,{}\n", "it has version 2"),
    "CSV without columns": (lambda told: "version,provenance\n1,{}\n", "no column"),
    "CSV with cells too many": (lambda told: "version,provenance\n1,{},3\n", "more or fewer"),
}


def _with_rows(told, text):
    return json.dumps(told | {"rows": []}).replace('"rows": [', f'"rows": [{text}')


@pytest.mark.parametrize(("change", "words"), FILES.values(), ids=FILES)
def test_a_file_that_is_none(path, change, words):
    text = change(json.loads(path.read_text()))
    path.write_bytes(text.encode(errors="surrogateescape"))
    refused(path, words)


ROWS = {
    "a content that is not its id's": ({"fid": 5.5}, "its id is"),
    "an id that is none": ({"id": "x"}, "id"),
    "λ that is not positive": ({"lambdas": [1.0, -1.0, 1.0, 1.0]}, "lambdas.1"),
    "λ of another schedule": ({"lambdas": [1.01] * 4}, "are not λ(i)"),
    "λ without end": ({"b": 1e400}, "no number"),
    "more steps than λ": ({"lambdas": [1.01]}, "table"),
    "a FID outside of its interval": ({"fid_interval": [6.0, 7.0]}, "outside of its interval"),
    "an interval the wrong way": ({"fid_interval": [7.0, 3.0]}, "outside of its interval"),
    "a gain outside of its interval": ({"gain_interval": [2.0, 3.0]}, "outside"),
    "a gain that is not its candidate's": ({"gain": 1.1}, "that of trial 1"),
    "a confirmed row without a gain": ({"gain": None}, "missing"),
    "a confirmed row whose gain may be none": ({"gain_interval": [-0.5, 1.5]}, "above zero"),
    "an unknown status": ({"status": "proven"}, "status"),
    "a level that is none": ({"gain_level": 1.0}, "gain_level"),
    "no images": ({"n": 0}, "n:"),
    "other images than its indices": ({"n": 99}, "indices of 100"),
    "more images than there are numbers": ({"n": 2**40}, "n:"),
    "a FID of a text": ({"fid": "5.0"}, "fid"),
    "an unknown field": ({"more": 1}, "more"),
    "a day that is none": ({"created": "2026-02-30T00:00:00+00:00"}, "created"),
    "a time without a zone": ({"created": "2026-02-03T00:00:00"}, "created"),
    "a day to come": ({"created": "2999-01-01T00:00:00+00:00"}, "in the future"),
    "a retraction without a reason": (
        {"retraction": {"reason": "", "at": "2026-01-01T00:00:00Z"}},
        "retraction.reason",
    ),
    "a null character": ({"verdict": "a\0b"}, "null character"),
    "half a character": ({"verdict": "\ud800"}, "escape"),
    "another number of evaluations": ({"nfe": 7}, "its id is"),
    "published without a source": ({"status": "published"}, "does not say where"),
}


@pytest.mark.parametrize(("change", "words"), ROWS.values(), ids=ROWS)
def test_a_row_that_is_impossible(path, change, words):
    told = json.loads(path.read_text())
    told["rows"].append(row(setting()).to_json() | change)
    path.write_text(json.dumps(told))
    refused(path, words)


NAMES = {"model": 200, "framework": 50, "sampler": 50, "weights": 64}


@pytest.mark.parametrize(("name", "most"), NAMES.items())
def test_a_name_that_a_store_cannot_hold(path, name, most):
    told = json.loads(path.read_text())
    told["rows"].append(row(setting(**{name: "x" * (most + 1)})).to_json())
    path.write_text(json.dumps(told))
    refused(path, f"{name} has {most + 1} characters")


def test_a_row_is_what_it_was_however_its_file_is_spelled(path):
    told = json.loads(path.read_text())
    path.write_text("\ufeff\n" + json.dumps(told, indent=8, sort_keys=True), encoding="utf-8")
    rows = read_rows(path)
    assert [one.id for one in rows] == [one["id"] for one in told["rows"]]
    assert [Row.from_json(one) for one in told["rows"]] == rows


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_pieces_may_end_anywhere(path, form, piece, monkeypatch, tmp_path):
    rows = read_rows(path)
    store, small = Store(f"{tmp_path}/small.db"), tmp_path / "small"
    store.add(every_kind())
    export_rows(small, store, ["m"], form)
    monkeypatch.setattr(reading, "_PIECE", piece)
    assert {row.id for row in read_rows(small)} <= {row.id for row in rows}


def test_what_is_too_large_or_not_there(path, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "_MOST_BYTES", 1000)
    refused(path, "more than 1,000 characters")
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(MissingFile, match="cannot be read"):
            import_rows(missing)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no address of a file"):
        import_rows("file:///etc/passwd")
    with pytest.raises(UsageError, match="no address of a file"):
        import_rows("ftp://user:secret@example.org/rows.json")


@pytest.fixture
def site(path):
    """Serves the file at any address below /rows, and something else below /other."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = path.read_bytes() if "/rows" in self.path else b"<html>"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_read_like_a_file(path, site, monkeypatch, home):
    with pytest.raises(MissingFile, match="network may not be asked"):
        import_rows(f"{site}/rows.json")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = f"{site.replace('//', '//me:word@')}/rows/?token=secret"
    with pytest.raises(UsageError, match="no file of rows"):
        import_rows(f"{site}/other")
    told = import_rows(f"{site}/rows/?token=secret")
    assert told.new == len(every_kind())
    [found] = Store().firsts("p", {"steps": 4})
    assert found.arrival.source == f"{site}/rows/?token=***"
    assert "word" not in str(_error(address)) and "secret" not in str(_error(address))
    monkeypatch.setattr(reading, "_MOST_BYTES", 1000)
    with pytest.raises(MissingFile, match="at most 1,000"):
        import_rows(f"{site}/rows.json")


def _error(address):
    with pytest.raises(LambdaSearchError) as caught:
        import_rows(address.replace("http", "gopher"))
    return caught.value
