#!/usr/bin/env python
"""Lookups over HTTP under load: how many a second, how long, and with writes beside them.

    python scripts/bench_service.py                   # a table; --json FILE for programs

One service in a process of its own, on one core; another process asks, on another core. Then the
same while a third writes trials and events. Last, how long a better row takes to be seen
where the question was answered before, and the memory of the service before and after.

    python scripts/bench_service.py --minutes 30      # its memory, while studies run beside it
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from typing import Any

import psutil
import typer
from bench_lookup import a_row
from rich.console import Console
from rich.table import Table
from soaking import drive
from soaking import soaked

from lambda_search.events import Events
from lambda_search.records import Identity
from lambda_search.records import Interval
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Setting
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

MODELS = 10
LEAST_A_SECOND, MOST_P99_MS, LEAST_SHARE, MOST_SECONDS, MOST_GROWTH = 800, 50, 0.8, 1.0, 0.05
"""Aims: lookups a second, their p99, the share of them with writes, a new row's wait, memory."""
SPEC = """
name: written
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


def main(
    seconds: Annotated[float, typer.Option(help="Of each part.")] = 60.0,
    connections: Annotated[int, typer.Option(help="At a time.")] = 16,
    rows: Annotated[int, typer.Option(help="In the store.")] = 10_000,
    writes: Annotated[int, typer.Option(help="A second, in the second part.")] = 50,
    minutes: Annotated[float, typer.Option(help="For this long instead, for its memory.")] = 0.0,
    store: Annotated[str | None, typer.Option(help="An empty database.")] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
) -> None:
    """Measures a service; exits with 1 where an aim is missed."""
    with tempfile.TemporaryDirectory() as folder:
        url = store or f"sqlite:///{folder}/bench.db"
        questions = _fill(url, rows)
        found: dict[str, Any] = {"rows": rows, "connections": connections}
        if minutes:
            found |= _soaked(url, questions, minutes)
            Console().print(found)
            _finish(found, to, found["growth"] <= MOST_GROWTH and not found["errors"])
            return
        with _served(url) as (port, process):
            asyncio.run(_load(port, questions, connections, 2.0))
            found["rss_before"] = process.memory_info().rss
            found["alone"] = _timed(process, port, questions, connections, seconds)
            writer = multiprocessing.get_context("spawn").Process(
                target=_write, args=(url, writes, seconds + 5)
            )
            writer.start()
            time.sleep(3)
            found["with_writes"] = _timed(process, port, questions, connections, seconds)
            writer.join()
            found["new_row_seen_after_s"] = _until_seen(url, port, questions[0])
            found["rss_after"] = process.memory_info().rss
    _show(found)
    _finish(found, to, _aims_met(found))


def _finish(found: dict[str, Any], to: Path | None, met: bool) -> None:
    if to is not None:
        to.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if not met:
        Console().print("an aim is missed")
        raise typer.Exit(1)


def _aims_met(found: dict[str, Any]) -> bool:
    alone, beside = found["alone"], found["with_writes"]
    return (
        alone["per_second"] >= LEAST_A_SECOND
        and alone["p99_ms"] < MOST_P99_MS
        and not alone["errors"] + beside["errors"]
        and beside["per_second"] >= LEAST_SHARE * alone["per_second"]
        and found["new_row_seen_after_s"] < MOST_SECONDS
    )


def _soaked(url: str, questions: list[str], minutes: float) -> dict[str, Any]:
    """A service beside studies that run, watched and listened to."""
    driver = multiprocessing.get_context("spawn").Process(target=drive, args=(url, 60 * minutes))
    with _served(url) as (port, process):
        driver.start()
        time.sleep(3)
        found = soaked(process, port, questions, minutes)
        driver.join()
    return found


def _fill(url: str, count: int) -> list[str]:
    """Fills a store; paths of lookups that have an answer."""
    store = Store(url)
    several = [a_row(2 + i % (MODELS - 2), i // (MODELS - 2)) for i in range(count)]
    for first in range(0, count, 1000):
        store.add(several[first : first + 1000])
    store.close()
    asked = {(one.setting.model, one.setting.steps) for one in several}
    return [f"/v1/schedules/best?model={model}&steps={steps}" for model, steps in sorted(asked)]


@contextmanager
def _served(url: str) -> Iterator[tuple[int, psutil.Process]]:
    """A service on the first core; the rest is for who asks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "lambda_search", "serve", "--port", str(port)]
    started = subprocess.Popen([*command, "--store", url], stderr=subprocess.DEVNULL)
    process, cores = psutil.Process(started.pid), sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        process.cpu_affinity(cores[:1])
        os.sched_setaffinity(0, cores[1:])
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").read()
                break
            time.sleep(0.1)
        yield port, process
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait()


def _timed(
    process: psutil.Process, port: int, questions: list[str], connections: int, seconds: float
) -> dict[str, Any]:
    """A load, and what it took of the service's core, which others may use as well."""
    before = sum(process.cpu_times()[:2])
    found = asyncio.run(_load(port, questions, connections, seconds))
    spent = sum(process.cpu_times()[:2]) - before
    return found | {"per_cpu_second": found["answers"] / spent, "share": spent / seconds}


async def _load(
    port: int, questions: list[str], connections: int, seconds: float
) -> dict[str, Any]:
    """Asks as fast as it is answered."""
    until = time.perf_counter() + seconds
    times: list[float] = []
    errors = 0

    async def ask(seed: int) -> None:
        nonlocal errors
        chance = random.Random(seed)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            path = chance.choice(questions)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - began)
            errors += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(ask(number) for number in range(connections)))
    cuts = statistics.quantiles(times, n=1000)
    return {
        "per_second": len(times) / seconds,
        "p50_ms": 1000 * cuts[499],
        "p99_ms": 1000 * cuts[989],
        "p999_ms": 1000 * cuts[998],
        "errors": errors,
        "answers": len(times),
    }


def _write(url: str, per_second: int, seconds: float) -> None:
    """Writes trials and events, as a driver does."""
    store = Store(url)
    queue = Queue(store)
    queue.submit("written", SPEC)
    claim = queue.claim(["written"])
    assert claim is not None
    identity = Identity(0, "cpu", "philox", 1, {"torch": "2"})
    setting: Setting = a_row(2, 0).setting
    queue.bind(claim.lease, setting, setting.steps, identity)
    events, until, number = Events("written", [store.say]), time.monotonic() + seconds, 0
    while (now := time.monotonic()) < until:
        if number % 2:
            trial = Trial(number, number // 4, LambdaSchedule(), 1.0, 0.0)
            store.propose(claim.lease, [trial])
        else:
            events.say("note", f"number {number}")
        number += 1
        time.sleep(max(0.0, now + 1 / per_second - time.monotonic()))
    queue.end(claim.lease, "stopped", "stopped")
    store.close()


def _until_seen(url: str, port: int, question: str) -> float:
    """How long a question that was answered before has its old answer after a better row came."""
    address = f"http://127.0.0.1:{port}{question}"

    def answered() -> dict[str, Any]:
        told: dict[str, Any] = json.loads(urllib.request.urlopen(address).read())
        return told

    for _ in range(2):  # the second time from what is kept
        before = answered()
    store = Store(url)
    old = store.row(before["id"])
    fid, base = 0.1, old.baseline_fid
    gain = base - fid
    store.add(
        [
            replace(
                old,
                schedule=LambdaSchedule(old.schedule.b + 0.001, old.schedule.k),
                fid=fid,
                fid_interval=Interval(0.05, 0.15),
                gain=gain,
                gain_interval=Interval(gain - 0.1, gain + 0.1, 0.983),
            )
        ]
    )
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < 10 * MOST_SECONDS:
        if answered()["id"] != before["id"]:
            return time.perf_counter() - began
        time.sleep(0.01)
    return took


def _show(found: dict[str, Any]) -> None:
    table = Table(title=f"{found['rows']:,} rows, {found['connections']} connections")
    headings = ("", "lookups/s", "a CPU second", "p50 ms", "p99 ms", "p99.9 ms", "errors")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name in ("alone", "with_writes"):
        one = found[name]
        numbers = (
            one[key] for key in ("per_second", "per_cpu_second", "p50_ms", "p99_ms", "p999_ms")
        )
        table.add_row(name, *(f"{value:,.2f}" for value in numbers), str(one["errors"]))
    console = Console()
    console.print(table)
    console.print(f"a new row is seen after {found['new_row_seen_after_s']:.2f} s")
    before, after = (found[name] / 2**20 for name in ("rss_before", "rss_after"))
    console.print(f"memory of the service: {before:.0f} MiB, then {after:.0f} MiB")


if __name__ == "__main__":
    typer.run(main)
