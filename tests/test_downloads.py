import hashlib
import http.server
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import HTTPSHandler
from urllib.request import Request

import pytest

from lambda_search.downloads import Download
from lambda_search.downloads import go_offline
from lambda_search.downloads import obtain
from lambda_search.downloads import offline
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.files import written_whole

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATIENCE = 60

OBTAIN = """
import json, resource, signal, sys
from pathlib import Path
from lambda_search.downloads import Download, obtain
url, sha256, folder, limit = json.loads(sys.argv[1])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    print(obtain(Download("the weights", url, sha256), Path(folder)))
except Exception as error:
    print(json.dumps([type(error).__name__, getattr(error, "cause", ""), str(error)]))
"""


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` in the way that the path's first part says; counts who asks."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.requests = []
        self.connections = 0
        self.go_on = threading.Event()
        self.location = ""

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def at(self, way, name="weights.pt", sha256=SHA256):
        url = f"http://127.0.0.1:{self.server_port}/{way}/{name}"
        return Download("the weights", url, sha256, "MIT")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = self.server.content
        way = self.path.split("/")[1]
        self.server.requests.append(self.path)
        self.close_connection = True
        if way == "missing":
            self.send_error(404)
            return
        if way == "login":
            self.send_error(403)
            return
        if way == "elsewhere":
            self.send_response(302)
            self.send_header("Location", self.server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if way == "slowly":
            time.sleep(0.5)
        self.send_response(200)
        if way == "chunked-half":
            self.send_header("Transfer-Encoding", "chunked")
        elif way == "misstated":
            self.send_header("Content-Length", "many")
        elif way != "unsaid":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if way == "half":
            self.wfile.write(content[: len(content) // 2])
        elif way == "chunked-half":
            self.wfile.write(b"186a0\r\n" + content[: len(content) // 2])  # no last chunk
        elif way == "waiting":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.go_on.wait(PATIENCE)
        else:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def network(monkeypatch):
    """The network may be asked, and directly."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def contents(folder):
    """Names of all that is in `folder` but locks."""
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def refused(error, *arguments, **named):
    with pytest.raises(LambdaSearchError) as caught:
        obtain(*arguments, **named)
    assert type(caught.value) is error
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


def start(download, folder, limit=0):
    """A process that obtains the file."""
    arguments = json.dumps([download.url, download.sha256, str(folder), limit])
    return subprocess.Popen(
        [sys.executable, "-c", OBTAIN, arguments],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("way", ["plain", "unsaid"])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_file_is_fetched_once(server, tmp_path, way, sha256):
    download = server.at(way, sha256=sha256)
    folder = tmp_path / "a" / "b"
    path = obtain(download, folder)
    assert path == folder / "weights.pt"
    assert path.read_bytes() == CONTENT
    assert contents(folder) == ["weights.pt"]
    assert obtain(download, folder) == path
    assert server.requests == [f"/{way}/weights.pt"]


def test_an_empty_file_is_a_file(server, tmp_path):
    server.content = b""
    download = server.at("plain", sha256=hashlib.sha256(b"").hexdigest())
    assert obtain(download, tmp_path).read_bytes() == b""


def test_a_file_that_was_copied_here_is_not_fetched(server, tmp_path):
    (tmp_path / "weights.pt").write_bytes(CONTENT)
    assert obtain(server.at("plain"), tmp_path) == tmp_path / "weights.pt"
    assert server.connections == 0
    assert os.listdir(tmp_path) == ["weights.pt"]


def test_another_content_than_the_published_is_thrown_away(server, tmp_path):
    download = server.at("plain", sha256="0" * 64)
    cause, hint = refused(MissingFile, download, tmp_path)
    assert f"What {download.url} gave is not the weights" in cause
    assert SHA256[:12] in cause
    assert "000000000000" in cause
    assert "copy" in hint
    assert contents(tmp_path) == []


@pytest.mark.parametrize("way", ["half", "chunked-half"])
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_download_that_breaks_off_is_thrown_away(server, tmp_path, way, sha256):
    download = server.at(way, sha256=sha256)
    cause, _ = refused(MissingFile, download, tmp_path)
    assert download.url in cause
    if way == "half":
        assert "broke off after 1,536,000 of 3,072,000 bytes" in cause
    assert contents(tmp_path) == []
    server.content = CONTENT
    whole = replace(download, url=download.url.replace(way, "plain"))
    assert obtain(whole, tmp_path).read_bytes() == CONTENT


def test_a_page_that_is_not_there_is_told(server, tmp_path):
    download = server.at("missing")
    cause, hint = refused(MissingFile, download, tmp_path)
    assert cause == f"{download.url} does not give the weights: HTTP Error 404: Not Found."
    assert hint == "Check the name."
    assert contents(tmp_path) == []


def test_nobody_listens(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        download = Download("the weights", f"http://127.0.0.1:{free.getsockname()[1]}/w.pt")
        cause, _ = refused(MissingFile, download, tmp_path)
    assert cause.startswith(f"The weights cannot be fetched from {download.url}: ")
    assert "the network failed" in cause
    assert "refused" in cause
    assert contents(tmp_path) == []


def test_a_page_that_wants_a_login_is_told(server, tmp_path):
    cause, hint = refused(MissingFile, server.at("login"), tmp_path)
    assert "403" in cause
    assert "login" in hint


def test_a_redirection_is_followed(server, tmp_path):
    server.location = server.at("plain").url
    assert obtain(server.at("elsewhere"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("leads", ["ftp://127.0.0.1/w.pt", "file:///etc/passwd"])
def test_a_redirection_to_another_protocol_is_not_followed(server, tmp_path, leads):
    server.location = leads
    refused(MissingFile, server.at("elsewhere"), tmp_path)
    assert contents(tmp_path) == []


def test_a_secure_address_leads_to_none_that_is_not(server, tmp_path, monkeypatch):
    """The first address answers as a secure one would; the second is asked if it is followed."""
    server.location = server.at("plain").url
    download = server.at("elsewhere")
    secure = replace(download, url=download.url.replace("http:", "https:"))

    def https_open(handler, request):
        plain = Request(request.full_url.replace("https:", "http:"))
        plain.timeout = request.timeout
        return handler.do_open(HTTPConnection, plain)

    monkeypatch.setattr(HTTPSHandler, "https_open", https_open)
    cause, hint = refused(MissingFile, secure, tmp_path)
    assert f"leads to {server.location}, which is not secure" in cause
    assert "Copy" in hint
    assert server.requests == ["/elsewhere/weights.pt"]
    assert contents(tmp_path) == []


@pytest.mark.parametrize("way", ["plain", "unsaid", "misstated"])
def test_no_more_is_received_than_a_file_may_have(server, tmp_path, way):
    cause, hint = refused(MissingFile, replace(server.at(way), most=len(CONTENT) - 1), tmp_path)
    assert f"have at most {len(CONTENT) - 1:,}" in cause
    assert "address" in hint
    assert contents(tmp_path) == []
    whole = replace(server.at(way), most=len(CONTENT))
    assert obtain(whole, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["LAMBDA_SEARCH_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize(
    ("value", "off"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_the_network_is_not_asked_offline(server, tmp_path, monkeypatch, name, value, off):
    monkeypatch.setenv(name, value)
    assert offline() == off
    download, folder = server.at("plain"), tmp_path / "folder"
    if not off:
        assert obtain(download, folder).read_bytes() == CONTENT
        return
    cause, hint = refused(MissingFile, download, folder)
    assert cause == "The weights are not on this machine and the network may not be asked."
    assert download.url in hint
    assert "(MIT)" in hint
    assert str(folder / "weights.pt") in hint
    assert server.connections == 0
    assert not folder.exists()


def test_going_offline_holds_for_processes_that_are_started(server, tmp_path, monkeypatch):
    for name in ("LAMBDA_SEARCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "0")  # so that what go_offline sets is undone
    go_offline()
    assert offline()
    said, _ = start(server.at("plain"), tmp_path).communicate(timeout=PATIENCE)
    assert json.loads(said)[0] == "MissingFile"
    assert server.connections == 0


def test_the_network_is_not_asked_where_nothing_may_be_fetched(server, tmp_path):
    download, folder = server.at("plain"), tmp_path / "folder"
    cause, hint = refused(NotFetched, download, folder, fetch=False)
    assert cause == "The weights are not on this machine."
    assert download.url in hint
    assert server.connections == 0
    assert not folder.exists()


@pytest.mark.parametrize("fetch", [True, False])
def test_another_file_of_that_name_is_left_as_it_is(server, tmp_path, fetch):
    (tmp_path / "weights.pt").write_bytes(b"mine")
    cause, hint = refused(UsageError, server.at("plain"), tmp_path, fetch=fetch)
    assert str(tmp_path / "weights.pt") in cause
    assert hashlib.sha256(b"mine").hexdigest()[:12] in cause
    assert SHA256[:12] in cause
    assert "Delete it" in hint
    assert (tmp_path / "weights.pt").read_bytes() == b"mine"
    assert server.connections == 0


@pytest.mark.parametrize("size", [1000, len(CONTENT)])
def test_a_check_sees_the_whole_file_before_it_counts(server, tmp_path, size):
    server.content = CONTENT[:size]
    seen = []

    def check(path):
        seen.append((path.read_bytes() == CONTENT[:size], (tmp_path / "weights.pt").exists()))

    download = server.at("plain", sha256=None)
    for _ in range(2):
        obtain(download, tmp_path, check=check)
    assert seen == [(True, False)]


def test_a_file_that_fails_its_check_is_thrown_away(server, tmp_path):
    def check(path):
        raise UsageError("These are no statistics.", "Look.")

    cause, _ = refused(UsageError, server.at("plain", sha256=None), tmp_path, check=check)
    assert cause == "These are no statistics."
    assert contents(tmp_path) == []


def _ask(download, folder, barrier, answers):
    barrier.wait(PATIENCE)
    answers.put(sha256_of(obtain(download, folder)))


def test_of_several_processes_that_ask_at_once_one_fetches(server, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(4), spawn.Queue()
    arguments = (server.at("slowly"), tmp_path / "folder", barrier, answers)
    processes = [spawn.Process(target=_ask, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join(PATIENCE)
    assert found == [SHA256] * 4
    assert [process.exitcode for process in processes] == [0] * 4
    assert server.requests == ["/slowly/weights.pt"]
    assert contents(tmp_path / "folder") == ["weights.pt"]


@pytest.mark.parametrize(("size", "limit"), [(3_000_000, 1_500_000), (2000, 1000)])
def test_a_full_disk_is_told_and_leaves_nothing(server, tmp_path, size, limit):
    server.content = CONTENT[:size]
    download = server.at("plain", sha256=hashlib.sha256(CONTENT[:size]).hexdigest())
    said, _ = start(download, tmp_path / "folder", limit).communicate(timeout=PATIENCE)
    kind, cause, text = json.loads(said)
    assert kind == "LambdaSearchError"
    assert cause == f"The weights cannot be kept in {tmp_path / 'folder'}: File too large."
    assert "LAMBDA_SEARCH_HOME" in text
    assert contents(tmp_path / "folder") == []


def test_a_folder_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cause, hint = refused(LambdaSearchError, server.at("plain"), tmp_path / "file" / "folder")
    assert f"cannot be kept in {tmp_path / 'file' / 'folder'}: " in cause
    assert "LAMBDA_SEARCH_HOME" in hint
    assert server.connections == 0


def test_a_killed_download_leaves_no_file_of_that_name(server, tmp_path):
    process = start(server.at("waiting"), tmp_path)
    until = time.monotonic() + PATIENCE
    while not any(path.stat().st_size > 1_000_000 for path in tmp_path.glob("*.part")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "weights.pt").exists()
    assert obtain(server.at("plain"), tmp_path).read_bytes() == CONTENT


def test_what_is_written_whole_is_there_at_the_end_and_not_before(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with written_whole(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_what_is_not_written_whole_leaves_all_as_it_was(tmp_path, error, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), written_whole(path) as stream:
        stream.write(CONTENT)
        raise error
    assert os.listdir(tmp_path) == ([] if old is None else ["file"])
    assert old is None or path.read_bytes() == old
