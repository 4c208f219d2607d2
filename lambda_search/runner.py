"""Launching studies: one pool of workers, one driver thread a study, all of it resumable."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lambda_search.cluster.pool import RayPool
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.search.driver import Driver
from lambda_search.search.evaluator import Evaluator
from lambda_search.search.plan import Plan
from lambda_search.search.plan import resolve
from lambda_search.search.pool import Pool
from lambda_search.search.progress import Progress
from lambda_search.spec import StudySpec
from lambda_search.spec import load_specs
from lambda_search.store.features import FeatureFiles
from lambda_search.store.leases import Lease
from lambda_search.store.leases import LeaseLost
from lambda_search.store.lookup import BestSchedule
from lambda_search.store.lookup import as_best
from lambda_search.store.mirror import mirror
from lambda_search.store.paths import features_folder
from lambda_search.store.paths import home
from lambda_search.store.store import Store
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import Study

__all__ = ["Watcher", "check_disk", "launch", "plans_of", "run_studies", "worker_pool"]

Watcher = Callable[[Sequence[Progress]], None]
"""Called several times a second with all studies' progress."""

_RENEW_SECONDS = 15.0
_POLL_SECONDS = 0.2


def launch(
    studies: StudySpec | str | Path | Sequence[StudySpec],
    *,
    store: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    gpus: float | None = None,
    watch: Watcher | None = None,
) -> list[BestSchedule]:
    """Runs studies to their rows; what an earlier launch computed is used.

    Arguments:
        studies: a study, several, or the path of a study file or a folder of them.
        store: URL of the store; the default store unless given.
        workers: how many; all that the cluster has room for unless given.
        ray_address: of a running Ray cluster; a private one on this machine unless given.
        gpus: GPUs for each worker, fractions allowed, 0 for the CPU.
        watch: is called several times a second with all progress.

    Returns:
        One row per study, in order.

    Raises:
        UsageError: for anything that is wrong with the studies, before anything is computed.
        LambdaSearchError: if a study fails; the others are finished first.
        Interrupted: on Ctrl-C; the same call goes on where it stopped.
    """
    plans = plans_of(studies)
    opened = Store(store)
    try:
        with worker_pool(workers, ray_address, gpus) as pool:
            return [as_best(row) for row in run_studies(plans, opened, pool, watch)]
    finally:
        opened.close()


def plans_of(studies: StudySpec | str | Path | Sequence[StudySpec]) -> list[Plan]:
    """Reads and resolves studies; nothing is computed."""
    if isinstance(studies, str | Path):
        studies = load_specs(Path(studies))
    elif isinstance(studies, StudySpec):
        studies = [studies]
    return [resolve(spec) for spec in studies]


@contextmanager
def worker_pool(workers: int | None, address: str | None, gpus: float | None) -> Iterator[RayPool]:
    """A pool on Ray that is closed whatever happens."""
    pool = RayPool(workers, address, gpus)
    try:
        yield pool
    finally:
        pool.close()


def check_disk(plans: Sequence[Plan], folder: Path) -> None:
    """Raises LambdaSearchError if the features of `plans` have no room in `folder`."""
    needed = sum(plan.most_images() * plan.width * 4 for plan in plans) + 64 * 2**20
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LambdaSearchError(
            f"The studies need {needed / 2**20:,.0f} MB in {folder}, and {free / 2**20:,.0f} MB "
            "are free.",
            "Free some space, or move the data folder with LAMBDA_SEARCH_HOME.",
        )


def run_studies(
    plans: Sequence[Plan], store: Store, pool: Pool, watch: Watcher | None = None
) -> list[ScheduleRow]:
    """Runs `plans` side by side on `pool`; finished ones answer from the record."""
    check_disk(plans, home())
    runs = [_Run(plan, store, pool) for plan in plans]
    active = [run for run in runs if run.row is None]
    leases: list[Lease] = []
    try:
        for run in active:
            leases.append(run.acquire())
        threads = [
            threading.Thread(target=run.run, name=run.progress.name, daemon=True) for run in active
        ]
        for thread in threads:
            thread.start()
        _supervise(threads, active, store, watch)
    except BaseException:
        for lease in leases:
            store.release(lease, "stopped", "interrupted")
        raise
    for run in runs:
        if run.error is not None:
            raise run.error
    return [run.row for run in runs if run.row is not None]


def _supervise(
    threads: Sequence[threading.Thread], runs: Sequence[_Run], store: Store, watch: Watcher | None
) -> None:
    """Renews leases, mirrors to Optuna and shows progress until all threads have ended."""
    ticks = 0
    mirrored = {run.progress.name: 0 for run in runs}
    with ThreadPoolExecutor(1, thread_name_prefix="mirror") as executor:
        pending: list[Future[int]] = []
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(_POLL_SECONDS)
            ticks += 1
            if ticks % round(_RENEW_SECONDS / _POLL_SECONDS) == 0:
                for run in runs:
                    run.renew()
            for run in runs:
                name, done = run.progress.name, run.progress.trials_done
                if mirrored[name] < done and all(job.done() for job in pending):
                    mirrored[name] = done
                    pending = [executor.submit(mirror, store, name)]
            if watch is not None:
                watch([run.progress for run in runs])
        pending += [executor.submit(mirror, store, run.progress.name) for run in runs]
        for job in pending:
            job.result()
    if watch is not None:
        watch([run.progress for run in runs])


@dataclass
class _Run:
    """One study of a launch: its driver's thread, and how it ended."""

    plan: Plan
    store: Store
    pool: Pool
    row: ScheduleRow | None = None
    error: Exception | None = None
    lease: Lease | None = None

    def __post_init__(self) -> None:
        spec = self.plan.spec
        before = self._stored()
        self.progress = Progress(spec.name, spec.search.trials, self.plan.most_images())
        text = spec.to_yaml()
        finished = before is not None and before.state == "done" and before.spec == text
        self.study = self.store.register(spec.name, self.plan.setting, text, self.plan.space.steps)
        if finished:
            self.row = self.store.rows(self.study.id)[-1]

    def acquire(self) -> Lease:
        """Takes the study's lease."""
        self.lease = self.store.acquire(self.study)
        return self.lease

    def renew(self) -> None:
        """Keeps the lease; if another has it by now, the driver's next write fails."""
        if self.lease is not None and self.row is None and self.error is None:
            try:
                self.store.renew(self.lease)
            except LeaseLost as error:
                self.error = error

    def run(self) -> None:
        """The driver's thread."""
        assert self.lease is not None
        files = FeatureFiles(features_folder())
        try:
            evaluator = Evaluator(self.plan, self.pool, files, self.progress.meter)
            driver = Driver(
                self.plan, self.study, self.lease, self.store, evaluator, self.progress
            )
            row = driver.run()
            self.store.release(self.lease, "done")
            files.remove(driver.used_shards())
            self.row = row
        except Interrupted as error:
            self.error = error
            self.store.release(self.lease, "stopped", error.cause)
        except Exception as error:
            self.progress.phase = "failed"
            self.error = _own(error)
            self.store.release(self.lease, "failed", str(self.error))

    def _stored(self) -> Study | None:
        named = [study for study in self.store.studies() if study.name == self.plan.spec.name]
        return named[0] if named else None


def _own(error: Exception) -> Exception:
    """Errors of the machine in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return LambdaSearchError(
            f"{error.strerror}: {error.filename or home()}.",
            "Mend it and launch again; nothing that was stored is lost.",
        )
    return error
