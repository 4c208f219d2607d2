#!/usr/bin/env python
"""How long commands take that have nothing to compute, as multiples of what they cannot avoid.

    python scripts/bench_start.py                     # a table; --json FILE for programs

Each command runs in a process of its own, a few times, in turn with `import sqlalchemy, typer`;
the least processor time of each counts, so that a busy machine changes little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lambda_search import studies
from lambda_search.records import Identity
from lambda_search.records import Interval
from lambda_search.records import Provenance
from lambda_search.setting import SEED_SCHEME
from lambda_search.spec import parse_specs
from lambda_search.spec.seen import keep_stamp
from lambda_search.spec.seen import stamp
from lambda_search.store import leases
from lambda_search.store.lookup import best
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

BASE = "import sqlalchemy, typer"
CALL = "from lambda_search.cli import main; main()"
STUDY = """
name: NAME
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 10}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""
LIMITS = {"best": 3.0, "list": 3.0, "nothing found": 3.0}
"""Multiples of the base that are promised."""

SECONDS_ABOVE = {"second launch, refused": 2.0, "finished study": 2.0}
"""Seconds above the base that are promised."""


def prepare(home: Path) -> dict[str, list[str]]:
    """A store with a finished study and one that this process drives; the commands to time."""
    os.environ["LAMBDA_SEARCH_HOME"] = str(home)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles all libraries each time
    leases.LEASE_SECONDS = 86_400.0  # nobody renews it here
    store = Store()
    files = {}
    for name in ("finished", "held"):
        text = STUDY.replace("NAME", name)
        files[name] = home / f"{name}.yaml"
        files[name].write_text(text)
        studies.submit(parse_specs(text), store)
        claim = Queue(store).claim()
        assert claim is not None
        if name == "finished":
            row = best("adm-cifar10", 20, store=store)
            identity = Identity(0, "cpu", SEED_SCHEME, 1)
            Queue(store).bind(claim.lease, row.setting, 20, identity)
            around = Interval(0.0, 9.0)
            measured = replace(
                row,
                status="measured",
                gain=1.0,
                fid_interval=around,
                baseline_interval=around,
                gain_interval=around,
                provenance=Provenance(study=name, identity=identity),
            )
            store.publish(claim.lease, measured, decisive="digest")
            keep_stamp("digest", stamp(parse_specs(text)[0], home))
    store.close()
    return {
        "--help": ["--help"],
        "best": ["best", "adm-cifar10", "--steps", "20"],
        "list": ["best", "adm-cifar10"],
        "nothing found": ["best", "nothing", "--steps", "20"],
        "status": ["status"],
        "second launch, refused": ["launch", str(files["held"])],
        "finished study": ["launch", str(files["finished"])],
        "dry run": ["launch", "--dry-run", str(files["finished"])],
        "inspect": ["models", "inspect", "bundled:fashion-mnist"],
        "doctor --quick": ["doctor", "--quick"],
    }


def seconds(code: str, arguments: list[str]) -> float:
    """Processor time of a Python process, its children's included."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return used.ru_utime + used.ru_stime


def main(
    times: Annotated[int, typer.Option(min=1, help="How often each command runs.")] = 3,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Times the commands and prints the table."""
    with tempfile.TemporaryDirectory() as home:
        commands = prepare(Path(home))
        base, found = [], {name: [] for name in commands}  # type: ignore[var-annotated]
        for _ in range(times):
            base.append(seconds(BASE, []))
            for name, arguments in commands.items():
                found[name].append(seconds(CALL, arguments))
    least = min(base)
    table = Table(title=f"{BASE}: {least:.2f} s of processor time")
    for heading in ("command", "seconds", "× base", "above it", "promised"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for name, took in found.items():
        promise = f"{LIMITS[name]:g} ×" if name in LIMITS else ""
        promise = f"{SECONDS_ABOVE[name]:g} s above" if name in SECONDS_ABOVE else promise
        mine = min(took)
        table.add_row(name, f"{mine:.2f}", f"{mine / least:.2f}", f"{mine - least:.2f}", promise)
    Console().print(table)
    if to is not None:
        to.write_text(json.dumps({"base": base, **found}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
