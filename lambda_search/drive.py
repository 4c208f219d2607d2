"""Launching studies: one pool of workers, one driver thread a study, all of it resumable."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from lambda_search.cluster.pool import RayPool
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.models.base import Model
from lambda_search.paths import features_folder
from lambda_search.paths import home
from lambda_search.search.driver import Driver
from lambda_search.search.missing import model_of
from lambda_search.search.plan import Plan
from lambda_search.search.plan import resolve
from lambda_search.search.progress import Progress
from lambda_search.setting import Setting
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec
from lambda_search.spec import load_specs
from lambda_search.spec import parse_specs
from lambda_search.store.leases import Lease
from lambda_search.store.lookup import BestSchedule
from lambda_search.store.lookup import as_best
from lambda_search.store.mirror import mirror
from lambda_search.store.store import Store
from lambda_search.store.tables import ScheduleRow
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import Pool
from lambda_search.work.recipe import family_of
from lambda_search.work.shards import Shards

__all__ = [
    "Watcher",
    "check_disk",
    "launch",
    "plans_of",
    "run_studies",
    "specs_of",
    "worker_pool",
]

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
    """Reads and resolves studies; nothing is computed.

    Raises:
        UsageError: for anything that is wrong with them or missing, or if two have one name.
    """
    plans: list[Plan] = []
    known: tuple[ModelSpec, Model] | None = None
    for spec in specs_of(studies):
        named = spec.model.model_copy(update={"name": None, "dataset": None})
        if known is None or known[0] != named:
            known = named, model_of(named)
        plans.append(resolve(spec, known[1]))
    return plans


def specs_of(studies: StudySpec | str | Path | Sequence[StudySpec]) -> Sequence[StudySpec]:
    """Reads studies.

    Raises:
        UsageError: for anything that is wrong with the files, or if two studies have one name.
    """
    if isinstance(studies, str | Path):
        studies = load_specs(Path(studies))
    elif isinstance(studies, StudySpec):
        studies = [studies]
    repeated = [
        name for name, count in Counter(spec.name for spec in studies).items() if count > 1
    ]
    if repeated:
        raise UsageError(
            f"Several studies are named {', '.join(repeated)}.", "Give each its own name."
        )
    return studies


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
    needed = sum(plan.most_feature_bytes() for plan in plans) + 64 * 2**20
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise LambdaSearchError(
            f"The data folder {folder} cannot be used: {error.strerror}.",
            "Choose another place with LAMBDA_SEARCH_HOME.",
        ) from error
    if free < needed:
        raise LambdaSearchError(
            f"The studies need {needed / 2**20:,.0f} MB in {folder}, and {free / 2**20:,.0f} MB "
            "are free.",
            "Free some space, or move the data folder with LAMBDA_SEARCH_HOME.",
        )


def run_studies(
    plans: Sequence[Plan], store: Store, pool: Pool, watch: Watcher | None = None
) -> list[ScheduleRow]:
    """Runs `plans` side by side on `pool`; finished ones answer from the record.

    Raises:
        LambdaSearchError: what the first failing study raised, when all have ended.
        Interrupted: on Ctrl-C, with the leases given back.
    """
    check_disk(plans, home())
    with Shards(pool, FeatureFiles(features_folder())) as shards:
        return _run([_Run(plan, store, shards) for plan in plans], store, watch)


def _run(runs: Sequence[_Run], store: Store, watch: Watcher | None) -> list[ScheduleRow]:
    active = [run for run in runs if run.row is None]
    try:
        for run in active:
            run.acquire()
        threads = [
            threading.Thread(target=run.run, name=run.progress.name, daemon=True) for run in active
        ]
        with _single_threaded():
            for thread in threads:
                thread.start()
            _supervise(threads, active, store, watch)
    except BaseException as error:
        for run in active:
            run.give_up()
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "Nothing that was computed is lost.", "Go on with the same command."
            ) from None
        raise
    failed = [(run.progress.name, run.error) for run in runs if run.error is not None]
    if failed:
        (_, first), *others = failed
        for name, other in others:
            first.add_note(f"{name}: {other}")
        raise first
    return [run.row for run in runs if run.row is not None]


def _supervise(
    threads: Sequence[threading.Thread],
    runs: Sequence[_Run],
    store: Store,
    watch: Watcher | None,
) -> None:
    """Renews leases, mirrors to Optuna and shows progress until all threads have ended."""
    mirrors = [_Mirror(store, run.progress) for run in runs]
    renewed = time.monotonic()
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(_POLL_SECONDS)
        if time.monotonic() - renewed > _RENEW_SECONDS:
            renewed = time.monotonic()
            for run in runs:
                run.renew()
        for one in mirrors:
            one.update()
        if watch is not None:
            watch([run.progress for run in runs])
    for one in mirrors:
        one.finish()
    if watch is not None:
        watch([run.progress for run in runs])


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


class _Mirror:
    """Keeps Optuna's tables up to date beside a running study, one short-lived thread at a time.

    The mirror is for people: if it fails, the study goes on and an event says so.
    """

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._mirrored = 0
        self._thread: threading.Thread | None = None

    def update(self) -> None:
        """Starts mirroring if there is something new and nothing under way."""
        idle = self._thread is None or not self._thread.is_alive()
        if idle and self._mirrored < self._progress.trials_done:
            self._mirrored = self._progress.trials_done
            self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Mirrors what is left."""
        if self._thread is not None:
            self._thread.join()
        self._run()

    def _run(self) -> None:
        try:
            mirror(self._store, self._progress.name)
        except Exception as error:
            with suppress(LambdaSearchError):
                study = self._store.study(self._progress.name)
                self._store.say(study.id, f"Optuna's tables were not updated: {error}")


@dataclass
class _Run:
    """One study of a launch: its driver's thread, and how it ended."""

    plan: Plan
    store: Store
    shards: Shards
    row: ScheduleRow | None = None
    error: Exception | None = None
    lease: Lease | None = None

    def __post_init__(self) -> None:
        spec = self.plan.spec
        self.progress = Progress(spec.name, spec.search.trials, self.plan.most_images())
        self.study = self.store.register(
            spec.name,
            self.plan.setting,
            spec.to_yaml(),
            self.plan.space.steps,
            spec.model.dataset,
        )
        if self.study.state == "done" and self.study.spec == spec.to_yaml():
            self.row = self.store.rows(self.study.id)[-1]
        else:
            self.evaluator = Evaluator(self.plan.recipe, self.shards, self.progress.meter)

    def acquire(self) -> None:
        """Takes the study's lease."""
        self.lease = self.store.acquire(
            self.study, self.plan.spec.to_yaml(), self.evaluator.identity.to_json()
        )

    def renew(self) -> None:
        """Keeps the lease; a store that is away for a moment is tried again at the next tick.

        If another driver has the lease by now, this one's next write fails.
        """
        if self.lease is not None and self.row is None and self.error is None:
            with suppress(LambdaSearchError):
                self.store.renew(self.lease)

    def give_up(self) -> None:
        """Leaves an unfinished study to be gone on with."""
        if self.lease is not None and self.row is None and self.error is None:
            with suppress(LambdaSearchError):
                self.store.release(self.lease, "stopped", "interrupted")

    def run(self) -> None:
        """The driver's thread."""
        assert self.lease is not None
        driver = Driver(
            self.plan, self.study, self.lease, self.store, self.evaluator, self.progress
        )
        try:
            self.row = driver.run()
        except Exception as error:
            state = "stopped" if isinstance(error, Interrupted) else "failed"
            self.progress.phase = "failed"
            self.error = _own(error)
            with suppress(LambdaSearchError):
                self.store.release(self.lease, state, str(self.error))
        else:
            with suppress(OSError, LambdaSearchError):
                FeatureFiles(features_folder()).sweep(_needed(self.store))


def _needed(store: Store) -> set[str]:
    """The families of features that unfinished studies may need."""
    return {
        family_of(Setting.from_key(study.setting.key), parse_specs(study.spec)[0].search.seed)
        for study in store.studies()
        if study.state != "done"
    }


def _own(error: Exception) -> Exception:
    """Errors of the machine in words."""
    if isinstance(error, OSError) and error.errno is not None:
        return LambdaSearchError(
            f"{error.strerror}: {error.filename or home()}.",
            "Mend it and launch again; nothing that was stored is lost.",
        )
    return error
