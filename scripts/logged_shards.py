"""The command line, with a log of every shard that a worker begins and ends; for `bench_kills`.

    python -c "import logged_shards; logged_shards.main()" launch STUDY…

The product is the real one: the task that samples a shard says so in a file, and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import lambda_search.work.shards as product
from lambda_search.work.context import WorkerContext
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import ShardResult

__all__ = ["LOG", "Computation", "main", "read"]

LOG = "SHARD_LOG"
"""The environment's word for the file."""


@dataclass
class Computation:
    """A worker's go at a shard.

    Arguments:
        shard: the name of its features.
        worker: a process.
        began, ended: when, seconds of the epoch; not `ended` where the worker was killed.
    """

    shard: str
    worker: int
    began: float
    ended: float | None = None


class LoggedShard(SampleShard):
    """Samples a shard, and says when it was begun and ended."""

    def run(self, context: WorkerContext) -> ShardResult:
        self._say("began")
        result = super().run(context)
        self._say("ended")
        return result

    def _say(self, what: str) -> None:
        told = {"what": what, "shard": self.names[0], "worker": os.getpid(), "at": time.time()}
        log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(log, f"{json.dumps(told)}\n".encode())  # a line is whole, whoever else writes
        finally:
            os.close(log)


def read(log: Path) -> list[Computation]:
    """All that was begun so far, in order."""
    found: list[Computation] = []
    under_way: dict[tuple[str, int], Computation] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        told = json.loads(line)
        key = told["shard"], told["worker"]
        if told["what"] == "began":
            found.append(Computation(*key, told["at"]))
            under_way[key] = found[-1]
        else:
            under_way.pop(key).ended = told["at"]
    return found


def main() -> None:
    """The command line of the product."""
    from lambda_search.cli import main as command

    product.SampleShard = LoggedShard  # type: ignore[attr-defined]
    command()
