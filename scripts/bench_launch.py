#!/usr/bin/env python
"""What a launch costs before its first shard is done: seconds from the command on, part by part.

    python scripts/bench_launch.py                        # the demo's study, three launches
    python scripts/bench_launch.py --beside OTHER         # in turn with another checkout's package

A launch is watched from outside, through what any release leaves there: when its processes began,
when its driver took the study, and when the first features lay on disk. Then it is interrupted.
The processor's seconds are those of all its processes until then; on a machine that others use too
they tell more than the clock does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from lambda_search.store.store import Store

HERE = Path(__file__).parents[1]
PARTS = ("Ray begins", "Ray's node", "first worker", "study taken", "first shard")
PROCESSES = {"Ray begins": "gcs_server", "Ray's node": "raylet", "first worker": "ray::"}
LIMIT = 600.0


def measure(package: Path, study: Path, workers: int) -> dict[str, float]:
    """One launch: when each part was reached, and what all its processes used."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LAMBDA_SEARCH_HOME": home, "PYTHONPATH": str(package)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles all libraries each time
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "lambda_search",
                "launch",
                study.resolve(),
                "--workers",
                str(workers),
            ],
            env=environment,
            cwd=package,  # Python looks there first
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        whole = psutil.Process(process.pid)
        began = whole.create_time()
        try:
            shard = first_shard(Path(home), process)
            found = {"first shard": shard - began, **costs(whole, began)}
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        store = Store(f"{home}/lambda_search.db")
        taken = next(one for one in store.events(store.studies()[0].name) if one.kind == "began")
        store.close()
        return found | {"study taken": taken.at.timestamp() - began}


def first_shard(home: Path, process: subprocess.Popen[bytes]) -> float:
    """Waits for the first features on disk; when they came."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and process.poll() is None:
        for file in (home / "features").rglob("*.npy"):
            return file.stat().st_mtime
        time.sleep(0.05)
    raise SystemExit(f"No shard came: {process.communicate()[1].decode()[-500:]}")


def costs(whole: psutil.Process, began: float) -> dict[str, float]:
    """When the processes of each part began, and what all of them used."""
    found = {"processor": 0.0, "MB": 0.0, "processes": 0.0}
    for one in [whole, *whole.children(recursive=True)]:
        with suppress(psutil.Error):
            times = one.cpu_times()
            found["processor"] += times.user + times.system
            found["MB"] += one.memory_info().rss / 2**20
            found["processes"] += 1
            for part, name in PROCESSES.items():
                if one.name().startswith(name):
                    at = one.create_time() - began
                    found[part] = min(found.get(part, at), at)
    return found


def main(
    study: Annotated[Path, typer.Argument()] = HERE / "studies" / "demo.yaml",
    workers: Annotated[int, typer.Option(min=1)] = 2,
    times: Annotated[int, typer.Option(min=1, help="How often each is launched.")] = 3,
    beside: Annotated[
        Path | None, typer.Option(help="A checkout whose package is launched in turn.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Launches and prints the table: medians, and the least of the processor's seconds."""
    packages = {"here": HERE} | ({} if beside is None else {str(beside): beside})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in packages}
    for _ in range(times):
        for name, package in packages.items():
            found[name].append(measure(package, study, workers))
    table = Table(title=f"{study.name}, {workers} workers: seconds from the command on")
    table.add_column("")
    for name in packages:
        table.add_column(name, justify="right")
    for part in PARTS:
        table.add_row(part, *(f"{median(one[part] for one in f):.1f}" for f in found.values()))
    for part in ("processor", "MB", "processes"):
        least = (f"{min(one[part] for one in f):.1f}" for f in found.values())
        table.add_row(f"{part}, least", *least)
    Console().print(table)
    if to is not None:
        to.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
