#!/usr/bin/env python
"""How a driver keeps hundreds of workers busy: the real loop, queue, dispatcher and store.

    python scripts/bench_scale.py [--workers 256] [--studies 64] [--speed 10] [--json FILE]
    python scripts/bench_scale.py --fill       # how many studies fill 256 and 1,000 workers
    python scripts/bench_scale.py --rate       # shards/s where workers and proposals take no time

Workers are simulated (`simulated_workers`), with images that nobody samples; studies are default
ones (24 trials at 2,048 to 8,192 images, four schedules confirmed on 10,000) whose scoring takes
as long as at d = 2048. While the driver computes, simulated time goes as fast as its CPU time, and
`--speed` times as fast as real time while it sleeps (`simulated_time`): workers wait for it as
long as real ones would, and longer where it waits for a timer or the disk. Utilisation is the time
of first answers over workers × time, in a window after all are busy; second copies, lost work,
starts and waiting are idle.

The driver's cores are CPU seconds per *simulated* second: what studies and tasks cost happens in
simulated time; the loop that polls, renews leases and writes progress runs by the real clock, and
its thread is counted per real second. What simulates the workers is left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table
from simulated_workers import WIDTH
from simulated_workers import Habits
from simulated_workers import SimulatedPool
from simulated_workers import Span
from sqlalchemy import event

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_search.drive import drive
from lambda_search.errors import Interrupted
from lambda_search.launching import plans_of
from lambda_search.records import Progress
from lambda_search.search.plan import Plan
from lambda_search.spec import parse_specs
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

STUDY = """
name: default
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 10}
search: {mean: [0.99, 1.05], slope: [-0.002, 0.004], proposals: gp}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


@dataclass(frozen=True)
class Figures:
    """What one run showed.

    Arguments:
        workers, studies: of the pool, and active at a time.
        window: simulated seconds that were looked at.
        utilisation: share of the workers' time that first answers took.
        scoring: the part of it that was scoring.
        duplicated: share that second copies and lost work took.
        shards_per_second: answered, per simulated second.
        shards_per_real_second: the same by a clock that stands still while other programs have
            the cores, and never runs fast.
        tail, longest_tail: of rounds, simulated seconds, at the median and at 95 %.
        cores: of the driver, as the module says.
        loop_cores: the part of it that is the loop's, by the real clock.
        memory: of the process at its highest, GB; the simulation's own included.
        commits_per_round: transactions that changed something, for each closed round of a study.
        commits_per_minute: all others, by the real clock: leases, progress, events.
        lost: workers.
    """

    workers: int
    studies: int
    window: float
    utilisation: float
    scoring: float
    duplicated: float
    shards_per_second: float
    shards_per_real_second: float
    tail: float
    longest_tail: float
    cores: float
    loop_cores: float
    memory: float
    commits_per_round: float
    commits_per_minute: float
    lost: int


def main(
    workers: Annotated[list[int] | None, typer.Option(min=1, help="Several may be given.")] = None,
    studies: Annotated[int, typer.Option(min=1, help="Active at a time.")] = 64,
    minutes: Annotated[float, typer.Option(help="Simulated, that are looked at.")] = 20.0,
    speed: Annotated[float, typer.Option(help="Simulated seconds in an idle real one.")] = 10.0,
    shard: Annotated[float, typer.Option(help="Its median time, simulated seconds.")] = 20.0,
    spread: Annotated[float, typer.Option(help="σ of its logarithm.")] = 0.2,
    slow: Annotated[float, typer.Option(help="Share of workers ten times slower.")] = 0.02,
    failing: Annotated[float, typer.Option(help="Share of tasks that cost a worker.")] = 0.01,
    store: Annotated[str | None, typer.Option(help="A store's URL; a new file's.")] = None,
    fill: Annotated[bool, typer.Option("--fill", help="With 4, 8 … studies.")] = False,
    rate: Annotated[bool, typer.Option("--rate", help="Without simulated time.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Simulates and prints."""
    habits = Habits(shard=shard, spread=spread, slow=slow, failing=failing)
    if rate:
        habits = Habits(shard=1e-9, scoring=1e-9, slow=0.0, failing=0.0, start=1e-9)
    counts = [4, 8, 16, 32, 64] if fill else [studies]
    found = []
    for several in workers or [256, 1000]:
        for active in counts:
            study = STUDY.replace("proposals: gp", "proposals: qmc") if rate else STUDY
            found.append(measured(several, active, 60 * minutes, speed, habits, store, study))
            Console(width=110).print(_table(found))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(one) for one in found], indent=2))


def measured(
    workers: int,
    active: int,
    window: float,
    speed: float,
    habits: Habits,
    url: str | None,
    study: str = STUDY,
) -> Figures:
    """One run: so many such studies active at a time, more waiting."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        os.environ["LAMBDA_SEARCH_HOME"] = folder
        store = Store(url or f"{folder}/store.db")
        plans = _queued(store, 3 * active, study)
        commits = _Commits(store)
        pool = SimulatedPool(workers, habits, speed)
        run = _Run(pool, window, 4 * habits.shard, 11 * habits.shard, commits)
        with suppress(Interrupted):
            drive(store, pool, plans=plans, at_once=active, watch=run.watch, until_empty=True)
        figures = run.figures(workers, active)
        pool.close()
        store.close()
    return figures


def _queued(store: Store, count: int, study: str) -> dict[str, Plan]:
    """Studies that wait, each with a seed of its own; their plans by the studies' files."""
    queue, plans = Queue(store), default_plans(count, study)
    for text, plan in plans.items():
        queue.submit(plan.spec.name, text)
    return plans


def default_plans(count: int, study: str = STUDY) -> dict[str, Plan]:
    """Plans of default studies, by the studies' files."""
    [plan] = plans_of(parse_specs(study))
    measures = tuple(replace(one, width=WIDTH) for one in plan.recipe.measures)
    plans = {}
    for seed in range(count):
        search = plan.spec.search.model_copy(update={"seed": seed})
        spec = plan.spec.model_copy(update={"name": f"default-{seed}", "search": search})
        recipe = replace(plan.recipe, measures=measures, seed=seed)
        plans[spec.to_yaml()] = replace(plan, spec=spec, recipe=recipe)
    return plans


class _Commits:
    """Counts transactions that changed something, by whether a study's thread made them."""

    def __init__(self, store: Store) -> None:
        self.of_studies = self.of_loop = 0
        self._loop = threading.current_thread()
        self._changed: set[int] = set()
        event.listen(store._engine, "before_cursor_execute", self._executed)
        event.listen(store._engine, "commit", self._committed)

    def _executed(self, connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE"):
            self._changed.add(id(connection))

    def _committed(self, connection: object) -> None:
        if id(connection) not in self._changed:
            return
        self._changed.discard(id(connection))
        if threading.current_thread() is self._loop:
            self.of_loop += 1
        else:
            self.of_studies += 1


@dataclass(frozen=True)
class _Mark:
    """What the counters said at a moment."""

    now: float
    own: float
    wall: float
    cpu: float
    loop: float
    answers: int
    rounds: int
    of_studies: int
    of_loop: int


class _Run:
    """Looks at a pool from when it is busy until the window is over, and some time beyond.

    Arguments:
        pool: the workers.
        window, before, after: simulated seconds: looked at, let pass first, and waited for the
            answers of what was under way at the window's end.
        commits: are counted.
    """

    def __init__(
        self, pool: SimulatedPool, window: float, before: float, after: float, commits: _Commits
    ) -> None:
        self._pool = pool
        self._window, self._before, self._after = window, before, after
        self._commits = commits
        self._marks: list[_Mark] = []
        self._busy_since: float | None = None
        self._studies: Sequence[Progress] = ()

    def watch(self, studies: Sequence[Progress]) -> None:
        """Is called by the driver's loop; ends it when enough was seen."""
        self._studies, now = studies, self._pool.clock.now
        if self._busy_since is None and self._pool.answers:
            self._busy_since = now
        if self._busy_since is None:
            return
        begin = self._busy_since + self._before
        due = [begin, begin + self._window]
        if len(self._marks) < 2 and now >= due[len(self._marks)]:
            self._marks.append(self._mark())
        if len(self._marks) == 2 and now >= self._marks[1].now + self._after:
            raise KeyboardInterrupt

    def _mark(self) -> _Mark:
        pool = self._pool
        return _Mark(
            pool.clock.now,
            pool.clock.own,
            time.monotonic(),
            time.process_time() - pool.worker_cpu,
            time.thread_time(),
            pool.answers,
            len(pool.rounds.tails),
            self._commits.of_studies,
            self._commits.of_loop,
        )

    def figures(self, workers: int, active: int) -> Figures:
        """What was seen."""
        failed = [one.study for one in self._studies if one.phase == "failed"]
        if len(self._marks) < 2:
            raise SystemExit(
                f"The studies ended before the window did; failed: {failed or 'none'}."
            )
        if failed:
            Console(stderr=True).print(f"failed: {', '.join(failed)}")
        a, b = self._marks
        window, own, wall = b.now - a.now, b.own - a.own, b.wall - a.wall
        all_time = workers * window
        counted = [one for one in self._pool.spans if one.counted]
        wasted = [one for one in self._pool.spans if not one.counted]
        scoring = [one for one in counted if not one.is_shard]
        tails = sorted(self._pool.rounds.tails[a.rounds : b.rounds]) or [0.0]
        loop = (b.loop - a.loop) / wall
        rest = (b.cpu - a.cpu - (b.loop - a.loop)) / window
        return Figures(
            workers=workers,
            studies=active,
            window=window,
            utilisation=_inside(counted, a.now, b.now) / all_time,
            scoring=_inside(scoring, a.now, b.now) / all_time,
            duplicated=_inside(wasted, a.now, b.now) / all_time,
            shards_per_second=(b.answers - a.answers) / window,
            shards_per_real_second=(b.answers - a.answers) / own,
            tail=tails[len(tails) // 2],
            longest_tail=tails[int(0.95 * len(tails))],
            cores=loop + rest,
            loop_cores=loop,
            memory=psutil.Process().memory_info().rss / 1e9,
            commits_per_round=(b.of_studies - a.of_studies) / max(b.rounds - a.rounds, 1),
            commits_per_minute=60 * (b.of_loop - a.of_loop) / wall,
            lost=self._pool.lost,
        )


def _inside(spans: Sequence[Span], begin: float, end: float) -> float:
    """How much of `spans` lies between two times."""
    return sum(max(0.0, min(one.end, end) - max(one.begin, begin)) for one in spans)


def _table(found: Sequence[Figures]) -> Table:
    table = Table(
        "workers",
        "studies",
        "used",
        "scoring",
        "wasted",
        "shards/s",
        "most",
        "tail",
        "95 %",
        "cores",
        "GB",
        "commits",
        "more/min",
    )
    for one in found:
        table.add_row(
            f"{one.workers:,}",
            f"{one.studies}",
            f"{one.utilisation:.1%}",
            f"{one.scoring:.1%}",
            f"{one.duplicated:.1%}",
            f"{one.shards_per_second:,.1f}",
            f"{one.shards_per_real_second:,.0f}",
            f"{one.tail:.0f} s",
            f"{one.longest_tail:.0f} s",
            f"{one.cores:.2f}",
            f"{one.memory:.2f}",
            f"{one.commits_per_round:.2f}",
            f"{one.commits_per_minute:.0f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
