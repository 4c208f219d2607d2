"""Proving: a finished study is proven again, or further; nothing is searched.

All that can be looked at is looked at before the study is touched, and whatever becomes of the
proof, the study stays done. Its file, and what it was done by, stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_search import studies
from lambda_search.cluster.opening import Opening
from lambda_search.drive import Watcher
from lambda_search.drive import drive
from lambda_search.errors import LambdaSearchError
from lambda_search.events import Listener
from lambda_search.launching import Launch
from lambda_search.launching import check_same
from lambda_search.proofs import proof_wanted
from lambda_search.proofs import queue_proof
from lambda_search.records import Row
from lambda_search.remote import Service
from lambda_search.remote import service_at
from lambda_search.search.cost import check_proof_disk
from lambda_search.search.plan import Plan
from lambda_search.search.resolving import resolve
from lambda_search.search.stored import as_wanted
from lambda_search.search.stored import located_spec
from lambda_search.shell import command
from lambda_search.spec import Bounds
from lambda_search.spec import ConfirmSpec
from lambda_search.store.store import PATIENCE_SECONDS
from lambda_search.store.store import Store
from lambda_search.store.waiting import drop_proof
from lambda_search.store.waiting import files_of
from lambda_search.work.pool import Pool

__all__ = ["Proving", "confirm", "prepare_proof"]


def confirm(
    name: str,
    *,
    store: str | None = None,
    samples: int | None = None,
    precision: float | str | None = None,
    top: int | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    gpus: float | None = None,
    features: str | None = None,
    watch: Watcher | None = None,
) -> Row:
    """Proves a finished study again, or further, on images that nobody has seen.

    Nothing is searched, and its file stays as it is.

    Arguments:
        name: the study's.
        store: URL of the store, or the address of a service (http://…), whose driver makes it
            then; the default store unless given.
        samples, precision, top: as in `confirm` of a study file; as in the study's unless given.
        workers, ray_address, gpus, features, watch: as in `launch`; a service has its own.

    Returns:
        Its new row.

    Raises:
        UsageError: if there is no such study, it has not ended, or cannot be confirmed so.
        LambdaSearchError: if a driver is at work on it, or the proof fails.
        Interrupted: on Ctrl-C; the same call goes on where it stopped.
    """
    told: dict[str, Any] = {"samples": samples, "precision": precision, "top": top}
    if (service := service_at(store)) is not None:
        return _from_afar(name, service, told)
    opened = Store(store, PATIENCE_SECONDS)
    try:
        opened.check_writable()
        with Opening(workers, ray_address, gpus) as opening:
            proof_wanted(name, opened, **told)  # before workers start
            opening.begin()
            proof = prepare_proof(name, opened, features=features, **told)
            return proof.run(opened, opening.pool(), watch)
    finally:
        opened.close()


def _from_afar(name: str, service: Service, told: Mapping[str, Any]) -> Row:
    before = service.row_of(name)
    studies.confirm(name, service, **told)
    row = studies.wait(name, service)
    if row.id == before.id:
        why = service.study(name).attempts[-1].reason
        raise LambdaSearchError(
            f"The proof of '{name}' was not made: {why or 'it was stopped'}.",
            f"See it with: {command('status', name)}",
        )
    return row


@dataclass(frozen=True)
class Proving:
    """A proof that is about to be made.

    Arguments:
        name: the study's.
        text: its file, as it is stored.
        confirm: what the proof shall be.
        plan: the study, with that.
        folders, bounds, features: as `drive` has them.
    """

    name: str
    text: str
    confirm: ConfirmSpec
    plan: Plan
    folders: Sequence[Path]
    bounds: Bounds
    features: str | None = None

    def run(
        self,
        store: Store,
        pool: Pool,
        watch: Watcher | None = None,
        listeners: Collection[Listener] = (),
    ) -> Row:
        """Asks for the proof and makes it.

        Raises:
            LambdaSearchError: if it fails, or the study was submitted again in the meantime.
            Interrupted: on Ctrl-C; the same call goes on where it stopped.
        """
        try:
            queue_proof(self.name, store, self.confirm)
            driven = drive(
                store,
                pool,
                names=[self.name],
                plans={self.text: self.plan},
                folders=self.folders,
                bounds=self.bounds,
                at_once=1,
                leave="stopped",
                watch=watch,
                listeners=tuple(listeners),
                features=self.features,
            )
        finally:
            with suppress(LambdaSearchError):
                drop_proof(store.impatient(), self.name)
        [row] = Launch([self.name], [], {}, {}, {}).rows_of(driven)
        return row


def prepare_proof(
    name: str,
    store: Store,
    folders: Sequence[Path] = (),
    bounds: Bounds | None = None,
    features: str | None = None,
    **changed: Any,
) -> Proving:
    """Looks at everything before the study is touched.

    Arguments:
        name: a study that is done.
        store: where it is.
        folders: where the files that it names are looked up.
        bounds: what it may name if it was posted to a service; what ships alone unless given.
        features: where features are to be kept, as `drive` has it.
        changed: as in `studies.proof_wanted`.

    Raises:
        UsageError: for anything that is wrong with it, or is missing.
        LambdaSearchError: if there is no room for its features.
    """
    confirm, study = proof_wanted(name, store, **changed), store.study(name)
    bounds = bounds or Bounds()
    spec = located_spec(study, files_of(store, name), folders, bounds)
    plan = as_wanted(resolve(spec), confirm.model_dump())
    check_same(study, plan)
    check_proof_disk(plan, features)
    return Proving(name, study.spec, confirm, plan, folders, bounds, features)
