"""A Ray cluster of several nodes, in a process of its own: the tests' own Ray stays as it is."""

import json
import os
import signal
import subprocess
import sys
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
import ray
from lambda_search.cluster import pool
from lambda_search.cluster.worker import Worker

class OfKind(Worker):
    def ready(self):
        kind = ray.get_runtime_context().get_node_labels()["kind"]
        return super().ready()._replace(kind=kind)

pool.Worker = OfKind
from lambda_search.cli import main
sys.argv = ["lambda-search", *sys.argv[1:]]
main()
"""
"""A command line whose workers are of the kind that their node's label says."""


class Nodes:
    """A cluster whose head has no worker; nodes are added with one each."""

    def __init__(self, process):
        self._process = process
        self.address, self.dashboard = "", ""

    def add(self, name, **options):
        self._do("add", name, {"object_store_memory": 80_000_000, **options})

    def kill(self, name):
        self._do("kill", name, {})

    def _do(self, *words):
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the cluster's process has ended"
        self.address, self.dashboard = json.loads(line)


@contextmanager
def nodes(folder, environment=None, **head):
    """A cluster with its files in `folder`; all that belongs to it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "cluster.txt").open("a"),
        text=True,
        start_new_session=True,
        env=os.environ | (environment or {}),
    )
    try:
        cluster = Nodes(process)
        cluster.add("head", num_cpus=0, **head)
        yield cluster
    finally:
        for number in psutil.pids():  # Ray's have groups of their own, and its session
            with suppress(ProcessLookupError):
                if os.getsid(number) == process.pid:
                    os.kill(number, signal.SIGKILL)
        process.wait(PATIENCE)
