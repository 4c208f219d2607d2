"""A service that runs for long beside studies: what `bench_service.py --minutes` does to it."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.request
from contextlib import suppress

import psutil
from simulated import begun
from simulated import scored

from lambda_search.events import Events
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

__all__ = ["drive", "soaked"]

_FIRST_MINUTES = 5.0
_TRIALS = 300
"""Of a study, before the next begins."""


def drive(url: str, seconds: float, a_second: float = 4.0) -> None:
    """Writes studies one after another, trial by trial, as a driver does."""
    store, until, study = Store(url), time.monotonic() + seconds, 0
    queue = Queue(store)
    while time.monotonic() < until:
        name = f"soak-{study}"
        claim, events = begun(store, name), Events(name, [store.say])
        for number in range(_TRIALS):
            trial, evaluation = scored(number)
            store.propose(claim.lease, [trial])
            store.close_rung(claim.lease, [evaluation], [trial])
            events.say("trial", f"trial {number}: gain {trial.gain:.3f}")
            queue.keep_up([claim.lease])
            time.sleep(1 / a_second)
            if time.monotonic() > until:
                break
        queue.end(claim.lease, "stopped", "stopped")
        events.say("stopped", "enough")
        study += 1
    store.close()


def soaked(
    process: psutil.Process, port: int, questions: list[str], minutes: float
) -> dict[str, float]:
    """Asks pages, lookups and streams for so long; the memory at 5 minutes and at the end.

    Of less than 10 minutes the first half counts as the first five.
    """
    at, ended = f"http://127.0.0.1:{port}", threading.Event()
    asked = {"pages": 0, "streams": 0, "errors": 0}
    pages = ["/", "/studies", "/studies.json", "/v1/studies", "/metrics", "/models/m2", *questions]

    def ask(path: str, most: int = -1) -> bytes:
        request = urllib.request.Request(at + path, headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read(most))

    def watch() -> None:
        chance = random.Random(0)
        while not ended.is_set():
            try:
                latest = _latest(ask("/studies.json?q=soak"))
                ask(chance.choice([*pages, f"/studies/{latest}", f"/studies/{latest}/trials.csv"]))
                asked["pages"] += 1
            except OSError:
                asked["errors"] += 1
            time.sleep(0.2)

    def listen() -> None:
        while not ended.is_set():
            with suppress(OSError):
                ask(f"/v1/studies/{_latest(ask('/studies.json?q=soak'))}/events", 2000)
                asked["streams"] += 1
            time.sleep(0.5)

    several = [threading.Thread(target=one) for one in (watch, listen, listen)]
    for one in several:
        one.start()
    first = min(_FIRST_MINUTES, minutes / 2)
    time.sleep(60 * first)
    before = process.memory_info().rss
    time.sleep(60 * (minutes - first))
    after = process.memory_info().rss
    ended.set()
    for one in several:
        one.join()
    growth = after / before - 1
    return {**asked, "rss_first": before, "rss_last": after, "growth": growth}


def _latest(studies: bytes) -> str:
    found = json.loads(studies)
    return str(found[0]["study"]) if found else "soak-0"
