"""A served process: it says where it is, and ends well."""

import json
import platform
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
import pytest

from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.conftest import TOKEN
from tests.service.processes import Served

SPEC = """
name: s
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


def test_it_says_where_it_is_and_ends_with_its_streams(url, tmp_path):
    Queue(Store(url)).submit("s", SPEC)
    with Served(url) as served:
        lines, ended = [], []

        def listen():
            with urllib.request.urlopen(f"{served.address}/v1/studies/s/events") as stream:
                lines.extend(stream)
            ended.append(time.monotonic())

        listener = threading.Thread(target=listen)
        listener.start()
        time.sleep(1.5)
        began = time.monotonic()
        code, told = served.end()
        listener.join(20)
    assert code == 0 and f"{served.address}/" in told
    assert lines[0] == b"retry: 2000\n" and ended[0] - began < 10


def test_requests_are_told_in_json_without_secrets(tmp_path):
    with Served(f"sqlite:///{tmp_path}/s.db", "--log-json") as served:
        served.get("/v1/models?token=hush", Authorization=f"Bearer {TOKEN}")
        with pytest.raises(urllib.error.HTTPError):
            served.get("/v1/rows/zz?password=hush")
        _, told = served.end()
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    paths = {one["path"]: one["status"] for one in lines if one["event"] == "request"}
    assert paths["/v1/models"] == 200 and paths["/v1/rows/zz"] == 404
    assert "hush" not in told and TOKEN not in told


def test_its_driver_ends_with_it_however_it_ends(tmp_path):
    def children(served):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            found = [
                one
                for one in psutil.Process(served.process.pid).children()
                if "drive" in one.cmdline()
            ]
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError("no driver")

    with Served(f"sqlite:///{tmp_path}/s.db", "--drive", "--workers", "1") as served:
        [driver] = children(served)
        assert TOKEN not in driver.environ().values() and "sqlite" not in " ".join(
            driver.cmdline()
        )
        served.end(90)
        assert not driver.is_running()


def test_what_cannot_be_is_said_at_once(cli, monkeypatch, tmp_path):
    code, _, told = cli("serve", "--host", "0.0.0.0")
    assert code == 2 and "LAMBDA_SEARCH_TOKEN" in told
    assert cli("serve", "--roots", tmp_path / "none")[0] == 2
    assert cli("serve", "--hub", "x")[0] == 2
    assert cli("serve", "--store", "ftp://x")[0] == 2


def test_nothing_that_computes_is_loaded():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from lambda_search.service.app import create_app;"
            "from lambda_search.service.settings import Settings; create_app(Settings());"
            "print({'torch', 'ray', 'optuna', 'scipy'} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "set()\n"


_KEEPS = """
import psutil
from lambda_search.service.running import give_memory_back
{first}
memory = psutil.Process().memory_info
bytes(20 << 20)  # from now on glibc takes smaller blocks for such that stay
before = memory().rss
several = [b"x" * 400_000 for _ in range(200)]
del several[:-1]
print(memory().rss - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_was_taken_for_a_moment_is_given_back():
    kept, given = (
        int(subprocess.check_output([sys.executable, "-c", _KEEPS.format(first=first)]))
        for first in ("", "give_memory_back()")
    )
    assert given < 4_000_000 < 40_000_000 < kept
