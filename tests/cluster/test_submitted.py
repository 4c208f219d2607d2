"""A launch as a job of a running head: its log, Ctrl-C, a stop, and the rows it comes to."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.store.store import Store
from tests.cluster.nodes import DRIVER
from tests.cluster.nodes import nodes
from tests.cluster.test_nodes import OfKind
from tests.cluster.test_nodes import on_its_way
from tests.conftest import STUDY
from tests.search.running import record
from tests.shell import said
from tests.shell import start
from tests.shell import wait_until

pytestmark = pytest.mark.slow

RAY = Path(sys.executable).with_name("ray")


@pytest.fixture
def programs(tmp_path):
    """A folder for PATH, whose lambda-search has workers that do as their nodes' labels say."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "lambda-search"
    program.write_text(f"#!{sys.executable}\n{DRIVER}")
    program.chmod(0o755)
    return folder


@pytest.fixture
def file(tmp_path, tiny_pipeline):
    """A study whose weights lie beside its folder."""
    shutil.copytree(tiny_pipeline, tmp_path / "mine" / "weights" / "tiny")
    path = tmp_path / "mine" / "studies" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(STUDY.format(folder="../weights/tiny"))
    return path


def wherever(found):
    """A record without where the weights lay: with a job, in its own folder."""
    trials, evaluations, rows = found
    places = [replace(row["provenance"], checkpoint="") for row in rows]
    return [trials, evaluations, places, [row | {"provenance": ""} for row in rows]]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_it_is_left_stopped_and_gone_on_with_to_the_same_rows(file, programs, tmp_path, home):
    pytest.importorskip("aiohttp", reason="ray[default] is not installed")
    store = Store()
    environment = {
        "LAMBDA_SEARCH_HOME": str(home),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    head = {  # the only node: two on one host would take a job's folder from each other
        "num_cpus": 1,
        "nap": 0.5,
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": free_port(),
        "dashboard_agent_listen_port": free_port(),  # Ray's own is one for all heads of a host
    }
    address = f"http://127.0.0.1:{head['dashboard_port']}"
    with nodes(tmp_path, environment, **head):
        first = start("launch", file, "--submit", address, home=home)
        wait_until(lambda: on_its_way(store, "tiny"), 300)
        first.send_signal(signal.SIGINT)
        log, told = first.communicate(timeout=60)
        assert first.returncode == 130 and "Traceback" not in told, told
        assert "1 study on 1 worker" in log and "tiny: searching" in log
        assert store.study("tiny").state == "running", "it goes on"
        [stop] = re.findall(r"End it with: ray (job stop .*)", told)
        subprocess.run([RAY, *shlex.split(stop)], check=True, capture_output=True, timeout=120)
        wait_until(lambda: store.study("tiny").state == "stopped")
        assert store.study("tiny").attempts[-1].outcome == "stopped", "given back, not lost"
        code, log, told = said("launch", file, "--submit", address, home=home)
        assert code == 0, log + told
        assert "going on after" in log and "λ" in log
    whole = Store(f"{tmp_path}/whole.db")
    run_studies(plans_of(file), whole, OfKind("A100"))
    assert wherever(record(store)) == wherever(record(whole))
    [row] = store.rows(store.study("tiny").id)
    assert row.provenance.checkpoint == "../weights/tiny", "its place in the job does not last"
