#!/usr/bin/env python
"""How long each page of the service takes with 100,000 rows in its store.

    python scripts/bench_pages.py                     # a table; --json FILE for programs

Two stores: ten models of 10,000 rows each, as in bench_lookup, and 10,000 models of ten. The pages
are asked in this process, the medians of a few times each.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from bench_lookup import a_row
from bench_lookup import fill
from rich.console import Console
from rich.table import Table
from simulated import SPEC
from simulated import searched
from starlette.testclient import TestClient

from lambda_search.records import Origins
from lambda_search.records import Row
from lambda_search.service.app import create_app
from lambda_search.service.settings import Settings
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

REPEATS = 5
AT_ONCE = 10_000
STUDIES, QUEUED = (40, 3000), 60
"""Trials of studies, and how many studies wait."""
PROMISED = 500.0
"""Milliseconds for a page."""


def main(
    rows: Annotated[int, typer.Option(help="In each store.")] = 100_000,
    to: Annotated[Path | None, typer.Option("--json", help="A file for the figures.")] = None,
) -> None:
    """Time the pages of a large store."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, fills in {"ten models": fill, "many models": fill_many}.items():
            url = f"sqlite:///{folder}/{name.replace(' ', '-')}.db"
            store = Store(url)
            fills(store, rows)
            for trials in STUDIES:
                searched(store, f"searched-{trials}", trials)
            for number in range(QUEUED):
                Queue(store).submit(f"waits-{number}", SPEC.format(name=f"waits-{number}"))
            found[name] = timed(url, pages(store))
            store.close()
    table = Table(title=f"{rows:,} rows, ms a page (promised: {PROMISED:g})")
    table.add_column("page")
    for name in found:
        table.add_column(name, justify="right")
    for page in next(iter(found.values())):
        table.add_row(page, *(f"{took[page]:.0f}" for took in found.values()))
    Console().print(table)
    if to is not None:
        to.write_text(json.dumps(found, indent=2))
    if any(one > PROMISED for took in found.values() for one in took.values()):
        raise typer.Exit(1)


def fill_many(store: Store, count: int) -> None:
    """Ten rows a model, each at its own number of steps."""
    for first in range(0, count, AT_ONCE):
        store.add([_of_many(i) for i in range(first, min(first + AT_ONCE, count))])


def _of_many(i: int) -> Row:
    model, place = divmod(i, 10)
    row, steps = a_row(2, place), 10 + 5 * place
    update = {
        "model": f"model-{model:05}",
        "weights": f"{model:064x}",
        "steps": steps,
        "framework": ("adm", "edm", "diffusers")[model % 3],
    }
    return replace(
        row,
        setting=row.setting.model_copy(update=update),
        lambdas=row.schedule.values(steps),
        provenance=replace(row.provenance, study=f"study-{i}"),
        origins=Origins("photos", f"owner/model-{model}", "f" * 40, f"file-{model}.safetensors"),
    )


def pages(store: Store) -> dict[str, str]:
    """Addresses by what they show."""
    names = [one for one in store.models() if one.startswith("m")]
    listed = store.rows_page(200)[0]
    first, last = listed[0].id[:12], listed[-1].id[:12]
    return {
        "models": "/",
        "models, the last page": f"/?page={max(1, len(names) // 20)}",
        "models, by a name": f"/?q={names[-1]}",
        "models, by a SHA-256": f"/?q={listed[0].setting.weights}",
        "models, by steps and sampler": "/?steps=20&sampler=ddim",
        "models, by a status that none has": "/?status=measured",
        "models, by steps that none has": "/?steps=999",
        "a model": f"/models/{names[1]}",
        "a model, by steps": f"/models/{names[1]}?steps=20",
        "the first model": f"/models/{names[0]}",
        "a row": f"/rows/{first}",
        "two rows": f"/compare?a={first}&b={last}",
        "a comparison as a file": f"/compare.json?a={first}&b={last}",
        "studies": "/studies",
        "studies, a later page": "/studies?page=2",
        "studies as a file": "/studies.csv",
        **{f"a study of {count:,} trials": f"/studies/searched-{count}" for count in STUDIES},
        "its older trials": f"/studies/searched-{STUDIES[-1]}?page=9",
        "its trials as a file": f"/studies/searched-{STUDIES[-1]}/trials.csv",
        "its events as a file": f"/studies/searched-{STUDIES[-1]}/events.json",
    }


def timed(url: str, addresses: dict[str, str]) -> dict[str, float]:
    """Medians in milliseconds, the first time apart."""
    found = {}
    with TestClient(create_app(Settings(store=url)), "http://127.0.0.1:8000") as client:
        for name, address in addresses.items():
            took = []
            for _ in range(REPEATS + 1):
                began = time.perf_counter()
                answer = client.get(address, headers={"Accept": "text/html"})
                took.append(1e3 * (time.perf_counter() - began))
                assert answer.status_code == 200, (address, answer.text)
            found[name] = statistics.median(took[1:])
    return found


if __name__ == "__main__":
    typer.run(main)
