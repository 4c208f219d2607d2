"""Launching: studies are submitted, and driven here until they are done."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lambda_search.cluster.opening import Opening
from lambda_search.cluster.opening import worker_pool
from lambda_search.drive import Watcher
from lambda_search.drive import drive
from lambda_search.earlier import answered
from lambda_search.earlier import changed
from lambda_search.earlier import driven_by
from lambda_search.earlier import held
from lambda_search.errors import LambdaSearchError
from lambda_search.events import Listener
from lambda_search.records import Driven
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.search.cost import check_disk
from lambda_search.search.plan import Plan
from lambda_search.search.resolving import resolve_all
from lambda_search.shell import command
from lambda_search.spec import StudySpec
from lambda_search.spec import Written
from lambda_search.spec import located
from lambda_search.spec.seen import keep_stamp
from lambda_search.spec.seen import stamp
from lambda_search.store.queue import Queue
from lambda_search.store.settings import other_setting
from lambda_search.store.store import PATIENCE_SECONDS
from lambda_search.store.store import Store
from lambda_search.studies import Named
from lambda_search.studies import submit_written
from lambda_search.studies import written
from lambda_search.work.pool import Pool

__all__ = [
    "Launch",
    "check_same",
    "launch",
    "plans_of",
    "prepare",
    "run_studies",
    "worker_pool",
]


def launch(
    studies: Named,
    *,
    store: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    gpus: float | None = None,
    features: str | None = None,
    watch: Watcher | None = None,
) -> list[Row]:
    """Runs studies to their rows; what an earlier launch computed is used.

    Arguments:
        studies: a study, several, or the path of a study file or a folder of them.
        store: URL of the store; the default store unless given.
        workers: how many; all that the cluster has room for unless given.
        ray_address: of a running Ray cluster; a private one on this machine unless given.
        gpus: GPUs for each worker, fractions allowed, 0 for the CPU.
        features: where features are kept, as `drive` has it.
        watch: is called several times a second with all progress.

    Returns:
        One row per study, in order.

    Raises:
        UsageError: for anything that is wrong with the studies, before anything is computed.
        LambdaSearchError: if a study fails or is driven elsewhere; the others are finished first.
        Interrupted: on Ctrl-C; the same call goes on where it stopped.
    """
    opened = Store(store, PATIENCE_SECONDS)
    try:
        with Opening(workers, ray_address, gpus) as opening:
            prepared = prepare(written(studies), opened, opening.begin, features)
            if prepared.waiting:
                return prepared.rows_of(prepared.run(opened, opening.pool(), watch))
        return prepared.rows_of(Driven())
    finally:
        opened.close()


def run_studies(
    plans: Sequence[Plan], store: Store, pool: Pool, watch: Watcher | None = None
) -> list[Row]:
    """Runs plans on `pool`; returns and raises as `launch`."""
    several = [Written(plan.spec, Path.cwd()) for plan in plans]
    elsewhere = held([plan.spec.name for plan in plans], store)
    prepared = _prepared(several, plans, store, elsewhere, {})
    return prepared.rows_of(prepared.run(store, pool, watch))


@dataclass(frozen=True)
class Launch:
    """Studies that are about to be run.

    Arguments:
        names: of all of them, in order.
        waiting: what is to be run.
        plans: of these, by name.
        finished: rows of those that are done already, by name.
        elsewhere: who drives others.
        features: where features are kept, as `drive` has it.
    """

    names: Sequence[str]
    waiting: Sequence[Written]
    plans: Mapping[str, Plan]
    finished: Mapping[str, Row]
    elsewhere: Mapping[str, str]
    features: str | None = None

    def run(
        self,
        store: Store,
        pool: Pool,
        watch: Watcher | None = None,
        listeners: Collection[Listener] = (),
    ) -> Driven:
        """Submits what is waiting and drives it until it is done.

        Raises:
            Interrupted: on Ctrl-C, with the leases given back.
        """
        submit_written(self.waiting, store)
        return drive(
            store,
            pool,
            names=self.plans,
            plans={one.spec.to_yaml(): self.plans[one.spec.name] for one in self.waiting},
            at_once=max(len(self.plans), 1),
            leave="stopped",
            watch=watch,
            listeners=tuple(listeners),
            features=self.features,
        )

    def errors_of(self, driven: Driven) -> dict[str, Exception]:
        """Why studies have no row, by name."""
        errors = dict(driven.errors) | {
            name: driven_by(name, driver) for name, driver in self.elsewhere.items()
        }
        for name in self.names:
            if name not in errors and name not in self.finished and name not in driven.rows:
                lacks = driven.unable.get(name, "another driver took it, or it was stopped")
                errors[name] = LambdaSearchError(
                    f"The study '{name}' was not run here: {lacks.rstrip('.')}.",
                    f"See it with: {command('status', name)}",
                )
        return errors

    def rows_of(self, driven: Driven) -> list[Row]:
        """One row per study, in order; raises the first error, with the others noted on it."""
        errors = self.errors_of(driven)
        if errors:
            (_, first), *others = errors.items()
            for name, other in others:
                first.add_note(f"{name}: {other}")
            raise first
        rows = {**self.finished, **driven.rows}
        return [rows[name] for name in self.names]


def prepare(
    studies: Sequence[Written],
    store: Store,
    begin: Callable[[StudySpec], None] | None = None,
    features: str | None = None,
) -> Launch:
    """Looks at everything before anything is computed: what the store can tell comes first.

    Arguments:
        studies: as they are written.
        store: what is known.
        begin: is told the first that models have to be read for, if there is one, just before.
        features: where features are to be kept, as `drive` has it.

    Raises:
        UsageError: for anything that is wrong with the studies.
        LambdaSearchError: if there is no room for their features, or the store can only be read.
    """
    store.check_writable()
    elsewhere = held([one.spec.name for one in studies], store)
    free = [one for one in studies if one.spec.name not in elsewhere]
    known = answered(free, store)
    left = [one for one in free if one.spec.name not in known]
    changed(left, store)
    if left:
        Queue(store).check_one_host()
    stamps = [stamp(one.spec, one.base) for one in left]  # before anything is read
    specs = [located(one.spec, [one.base]) for one in left]
    if specs and begin is not None:
        begin(specs[0])
    plans = resolve_all(specs)
    for plan, seen in zip(plans, stamps, strict=True):
        keep_stamp(plan.digest(), seen)
    return _prepared(studies, plans, store, elsewhere, known, features)


def _prepared(
    studies: Sequence[Written],
    plans: Sequence[Plan],
    store: Store,
    elsewhere: Mapping[str, str],
    known: Mapping[str, Row],
    features: str | None = None,
) -> Launch:
    finished = dict(known)
    begun = {study.name: study for study in store.studies() if study.setting is not None}
    for plan in plans:
        study = begun.get(plan.spec.name)
        if study is None or plan.spec.name in elsewhere:
            continue
        if _is_finished(study, plan):
            finished[study.name] = store.rows(study.id)[-1]
        else:
            check_same(study, plan)
    waiting = {
        plan.spec.name: plan
        for plan in plans
        if plan.spec.name not in finished and plan.spec.name not in elsewhere
    }
    check_disk(list(waiting.values()), features)
    return Launch(
        [one.spec.name for one in studies],
        [one for one in studies if one.spec.name in waiting],
        waiting,
        finished,
        elsewhere,
        features,
    )


def check_same(study: Study, plan: Plan) -> None:
    """Raises UsageError if a study was begun with another setting than the plan's.

    One that is spelled as an older release spelled it is the same.
    """
    keys = {one.key for one in (plan.setting, plan.former) if one is not None}
    if study.setting is not None and study.setting.key not in keys:
        raise other_setting(study.name, study.setting, plan.setting)


def _is_finished(study: Study, plan: Plan) -> bool:
    """Whether a study is done and has the row that `plan` would come to."""
    if study.state != "done" or study.setting is None or study.setting.key != plan.setting.key:
        return False
    if study.decisive is None:  # of an older release
        return study.spec == plan.spec.to_yaml()
    return study.decisive == plan.digest()


def plans_of(studies: Named) -> list[Plan]:
    """Reads and resolves studies; nothing is computed. What several in a row share is read once.

    Raises:
        UsageError: for anything that is wrong with them or missing.
    """
    return resolve_all([located(one.spec, [one.base]) for one in written(studies)])
