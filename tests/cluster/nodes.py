"""A Ray cluster of several nodes, in a process of its own: the tests' own Ray stays as it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from contextlib import suppress

import psutil

from tests.shell import PATIENCE

SERVER = """
import json, sys
from ray.cluster_utils import Cluster

cluster, nodes = Cluster(shutdown_at_exit=False), {}
for line in sys.stdin:
    verb, name, options = json.loads(line)
    if verb == "add":
        nodes[name] = cluster.add_node(**options)
    else:
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    print(json.dumps([cluster.address, cluster.webui_url]), flush=True)
"""

DRIVER = """
import sys
import time
import ray
from lambda_search.cluster import actors
from lambda_search.cluster.worker import Worker

class OfKind(Worker):
    def ready(self):
        return super().ready()._replace(kind=self.label("kind"))

    def run(self, task):
        time.sleep(float(self.label("nap")))
        return super().run(task)

    def label(self, name):
        return ray.get_runtime_context().get_node_labels()[name]

actors.Worker = OfKind
from lambda_search.cli import main
sys.argv = ["lambda-search", *sys.argv[1:]]
main()
"""
"""A command line whose workers do as their node's labels say: their kind, a nap before a task."""


class Nodes:
    """A cluster whose head has no worker unless told; nodes are added with one each."""

    def __init__(self, process):
        self._process = process
        self.address, self.dashboard = "", ""

    def add(self, name, kind="A100", nap=0.0, **options):
        labels = {"kind": kind, "nap": str(nap)}
        self._do("add", name, {"object_store_memory": 80_000_000, "labels": labels, **options})

    def kill(self, name):
        self._do("kill", name, {})

    def _do(self, *words):
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the cluster's process has ended"
        self.address, self.dashboard = json.loads(line)


def drive(*arguments, home):
    """A command of `DRIVER` in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, arguments)],
        env=os.environ | {"LAMBDA_SEARCH_HOME": str(home), "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextmanager
def nodes(folder, environment=None, **head):
    """A cluster that writes its log into `folder`; all that belongs to it is killed at the end."""
    short = tempfile.mkdtemp(prefix="ls-", dir="/tmp")  # sockets' paths are
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "cluster.txt").open("a"),
        text=True,
        start_new_session=True,
        env=os.environ | (environment or {}) | {"RAY_TMPDIR": short},  # nobody else's "auto"
    )
    try:
        cluster = Nodes(process)
        cluster.add("head", **({"num_cpus": 0} | head))
        yield cluster
    finally:
        for number in psutil.pids():  # Ray's have groups of their own, and its session
            with suppress(ProcessLookupError):
                if os.getsid(number) == process.pid:
                    os.kill(number, signal.SIGKILL)
        process.wait(PATIENCE)
        shutil.rmtree(short, ignore_errors=True)
