"""Driving: studies are taken from the queue and run side by side on one pool of workers.

A thread for each study, and one loop that renews their leases, heeds stops, keeps their progress
and events in the store, and takes the next ones. A driver that dies loses nothing: when its leases
end, or its death is seen, another takes its studies over and walks the same road.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.events import Listener
from lambda_search.paths import features_url
from lambda_search.records import Driven
from lambda_search.records import Event
from lambda_search.records import Progress
from lambda_search.search.leftovers import done_families
from lambda_search.search.leftovers import needed_families
from lambda_search.search.plan import Plan
from lambda_search.search.run import Run
from lambda_search.search.run import Shared
from lambda_search.spec import Bounds
from lambda_search.store.leases import Lease
from lambda_search.store.leases import LeaseLost
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import Pool
from lambda_search.work.shards import Shards

__all__ = ["Watcher", "drive", "side_by_side"]

Watcher = Callable[[Sequence[Progress]], None]
"""Called several times a second with all studies' progress."""

_POLL_SECONDS = 0.2
_RENEW_SECONDS = 15.0
_LOOK_SECONDS = 2.0
_WRITE_SECONDS = 1.0
_SWEEP_SECONDS = 600.0
_PARTING_SECONDS = 5.0


def side_by_side(workers: int) -> int:
    """How many studies fill so many workers.

    Few are filled by one study but for its pauses, and small studies have few shards at a time.
    Many need a default study for every eight of them: of 256 simulated ones 8 studies kept 81 %
    of the time at work, 16 94 to 98 %, 32 98 %; 64 kept 95 % of 1,000 (`scripts/bench_scale.py`).
    """
    return min(workers + 1, max(16, workers // 8), 64)


def drive(
    store: Store,
    pool: Pool,
    *,
    names: Collection[str] | None = None,
    plans: Mapping[str, Plan] | None = None,
    folders: Sequence[Path] = (),
    bounds: Bounds | None = None,
    at_once: int | None = 16,
    until_empty: bool = True,
    leave: str = "queued",
    watch: Watcher | None = None,
    listeners: Sequence[Listener] = (),
    features: str | None = None,
) -> Driven:
    """Takes studies from the queue and runs them.

    Arguments:
        store: the queue and the record.
        pool: the workers, shared by all studies.
        names: of these studies alone; all unless given.
        plans: of studies that are resolved already, by their files' text.
        folders: where the other files that studies name are looked up.
        bounds: what those may name that were posted to a service; what ships alone unless given.
        at_once: how many studies run side by side; None: as many as fill the workers that are up
            now, since more may join, or come because the studies need them.
        until_empty: whether it ends when nothing waits that can be run here.
        leave: the state of the studies under way if it is interrupted, or the pool is lost.
        watch, listeners: are told what happens.
        features: where features are kept, which all workers see: a path, or an address that
            fsspec reaches; `LAMBDA_SEARCH_FEATURES`, or the data folder, unless given.

    Raises:
        UsageError: if features cannot be kept there.
        Interrupted: on Ctrl-C, with the leases given back.
        PoolLost: likewise, if no worker is left and none can come.
    """
    files = FeatureFiles(features_url(features))

    def sweep() -> None:
        with suppress(OSError, LambdaSearchError):
            studies = store.studies()
            files.sweep(needed_families(studies), done_families(studies))

    with _single_threaded(), Shards(pool, files) as shards:
        shared = Shared(store, shards, folders, plans or {}, bounds or Bounds(), leave)
        loop = _Drive(store, pool, shared, names, at_once, leave, watch, listeners, sweep)
        driven = loop.run(until_empty)
    sweep()
    return driven


@contextmanager
def _single_threaded() -> Iterator[None]:
    """One thread for every numerical library: proposals must not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Drive:
    """The loop of one driver."""

    store: Store
    pool: Pool
    shared: Shared
    names: Collection[str] | None
    at_once: int | None
    leave: str
    watch: Watcher | None
    listeners: Sequence[Listener]
    sweep: Callable[[], None]
    runs: list[Run] = field(default_factory=list)
    unable: dict[tuple[int, datetime], Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._queue = Queue(self.store)
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._found_none = False
        self._sweeping = threading.Thread()

    def run(self, until_empty: bool) -> Driven:
        try:
            while True:
                self.pool.check()
                self._keep_up()  # before others' studies are looked at: its own may have slept
                if self._take(until_empty) and until_empty:
                    break
                self._wait()
        except BaseException as error:
            self._give_up()
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(
                    "Nothing that was computed is lost.", self._next_step()
                ) from None
            raise
        self._keep_up(at_end=True)
        return Driven(
            {run.name: run.row for run in self.runs if run.row is not None},
            {run.name: run.error for run in self.runs if run.error is not None},
            {run.name: run.lacks for run in self.unable.values()},
        )

    def _next_step(self) -> str:
        if self.leave == "queued":
            return "Its studies wait in the queue for the next driver, or for the same command."
        return "Go on with the same command."

    def _active(self) -> list[Run]:
        return [run for run in self.runs if run.is_active]

    def _take(self, eager: bool) -> bool:
        """Takes studies while there is room; whether nothing runs and nothing waits."""
        if (self._active() or not eager) and not self._due("look", _LOOK_SECONDS):
            return False
        most = self.at_once or side_by_side(sum(self.pool.kinds().values()))
        while len(active := self._active()) < most:
            for run in self.runs:
                if run.lacks:
                    self.unable.setdefault((run.study.id, run.queued), run)
            # one that is active may be given back, as what is lacking here, at this very moment
            held = {(run.study.id, run.queued) for run in active}
            claim = self._queue.claim(self.names, self.unable.keys() | held)
            if claim is None:
                # twice in a row: one that is being given back just now is skipped once
                looked, self._found_none = self._found_none, not self._active()
                return looked and self._found_none
            self._found_none = False
            run = Run(claim, self.shared, [self._note, *self.listeners])
            self.runs = [one for one in self.runs if one.name != run.name] + [run]
            run.start()
            self._keep_up()  # many may take longer than the first one's lease lasts
        return False

    def _keep_up(self, at_end: bool = False) -> None:
        """Renews leases, heeds stops, and writes down what happened."""
        active = self._active()
        if active and self._due("renew", _RENEW_SECONDS):
            lost = self._queue.keep_up([run.lease for run in active])
            for run in active:
                if run.lease in lost:
                    run.halt(LeaseLost("Another driver has taken this study over."))
        if active and self._due("stop", _LOOK_SECONDS):
            wanted = self._queue.stops_wanted([run.lease for run in active])
            for run in active:
                if run.study.id in wanted:
                    run.halt(Interrupted("It was stopped as asked."))
        if self._due("sweep", _SWEEP_SECONDS) and not self._sweeping.is_alive():
            # beside the loop: many files may take longer than leases last
            self._sweeping = threading.Thread(target=self.sweep, name="sweep", daemon=True)
            self._sweeping.start()
        if at_end or self._due("write", _WRITE_SECONDS):
            self._write(self.runs if at_end else active)
        if self.watch is not None and self.runs:
            workers = sum(self.pool.kinds().values())
            self.watch([run.tracker.snapshot(workers) for run in self.runs])

    def _write(self, runs: Sequence[Run]) -> None:
        with self._lock:
            events, self._events = self._events, []
        if events:
            self.store.say_all(events)
        if runs:
            self._queue.report(self._progress(runs))

    def _progress(self, runs: Sequence[Run]) -> dict[Lease, Progress]:
        """How far they are; where the workers are, which they share, is told with the first."""
        places = self.pool.places()
        workers, first = sum(count for _, _, count in places), runs[0]
        return {
            run.lease: run.tracker.snapshot(workers, places if run is first else ())
            for run in runs
        }

    def _note(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)

    def _wait(self) -> None:
        active = self._active()
        if active:
            active[0].join(_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)

    def _due(self, what: str, every: float) -> bool:
        """Whether `what` was last done that many seconds ago; then it counts as done now."""
        now = time.monotonic()
        if now - self._last.get(what, float("-inf")) < every:
            return False
        self._last[what] = now
        return True

    def _give_up(self) -> None:
        """Leaves unfinished studies to be gone on with.

        Their threads are waited for, for a moment: the interpreter cannot end in peace while one
        is in the middle of a library's own code.
        """
        self.store = self.store.impatient()
        active, until = self._active(), time.monotonic() + _PARTING_SECONDS
        for run in active:
            run.give_up(self.leave)
        with suppress(LambdaSearchError):  # the events were for people
            self._write([])
        for run in active:
            run.join(max(0.0, until - time.monotonic()))
