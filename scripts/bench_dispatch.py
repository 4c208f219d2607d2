"""How fast tasks are dispatched: by the state machine alone, and by the pool on Ray.

python scripts/bench_dispatch.py [--workers 1000] [--tasks 100000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_search.cluster.dispatch import Dispatcher
from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Room
from lambda_search.cluster.messages import Send
from lambda_search.cluster.messages import Start
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.pool import RayPool


@dataclass(frozen=True)
class Nothing:
    """A task that does nothing."""

    def run(self, bench: object) -> None:
        return None


def machine(workers: int, tasks: int) -> dict[str, Any]:
    """Events a second through the state machine, each task submitted and answered once."""
    dispatcher = Dispatcher({})
    sent: deque[Send] = deque()
    begin = time.perf_counter()
    for start in dispatcher.handle(Room({f"n{i}": 8 for i in range(workers // 8)}), 0.0):
        assert isinstance(start, Start)
        dispatcher.handle(Ready(start.worker, "A100", "host", {}), 0.0)
    starting = time.perf_counter() - begin
    begin = time.perf_counter()
    for task in range(tasks):
        orders = dispatcher.handle(Submitted(task, "shard", "A100"), task * 1e-3)
        sent.extend(order for order in orders if isinstance(order, Send))
    while sent:
        done = sent.popleft()
        orders = dispatcher.handle(Answered(done.worker, done.task, None), tasks * 1e-3)
        sent.extend(order for order in orders if isinstance(order, Send))
    seconds = time.perf_counter() - begin
    dispatcher.handle(Submitted(tasks, "shard", "A100"), tasks * 1e-3)
    begin = time.perf_counter()
    dispatcher.handle(Tick(), tasks * 1e-3)
    return {
        "workers": dispatcher.size,
        "started in s": round(starting, 2),
        "events/s": round(2 * tasks / seconds),
        "tick in ms": round(1e3 * (time.perf_counter() - begin), 2),
    }


def on_ray(workers: int, tasks: int) -> dict[str, Any]:
    """Empty tasks a second through a pool on this machine."""
    pool = RayPool(workers=workers)
    try:
        while sum(pool.kinds().values()) < workers:
            time.sleep(0.05)
        begin, cpu = time.perf_counter(), time.process_time()
        for future in [pool.submit(Nothing()) for _ in range(tasks)]:
            future.result()
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    finally:
        pool.close()
    return {
        "workers": workers,
        "tasks/s": round(tasks / seconds),
        "driver's CPU in ms a task": round(1e3 * cpu / tasks, 2),
    }


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000, help="simulated (default 1000)")
    parser.add_argument("--tasks", type=int, default=100_000, help="simulated (default 100000)")
    parser.add_argument("--ray-workers", type=int, default=2, help="real (default 2)")
    parser.add_argument("--ray-tasks", type=int, default=3000, help="real (default 3000)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    found = {
        "machine": machine(given.workers, given.tasks),
        "ray": on_ray(given.ray_workers, given.ray_tasks),
    }
    for name, figures in found.items():
        print(name, *(f"{value:>10,} {what}" for what, value in figures.items()), sep="\n  ")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
