"""Proving: a finished study is proven again, or further; nothing is searched.

All that can be looked at is looked at before the study is touched, and whatever becomes of the
proof, the study stays done. Its file, and what it was done by, stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_search.drive import Watcher
from lambda_search.drive import drive
from lambda_search.errors import LambdaSearchError
from lambda_search.events import Events
from lambda_search.events import Listener
from lambda_search.launching import Launch
from lambda_search.launching import check_same
from lambda_search.records import Row
from lambda_search.search.cost import check_proof_disk
from lambda_search.search.plan import Plan
from lambda_search.search.plan import resolve
from lambda_search.search.stored import as_wanted
from lambda_search.search.stored import located_spec
from lambda_search.spec import Bounds
from lambda_search.spec import ConfirmSpec
from lambda_search.store.store import Store
from lambda_search.store.waiting import drop_proof
from lambda_search.store.waiting import files_of
from lambda_search.store.waiting import want_proof
from lambda_search.studies import proof_wanted
from lambda_search.work.pool import Pool

__all__ = ["Proving", "prepare_proof"]


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
            want_proof(store, self.name, self.confirm.model_dump(mode="json"))
            Events(self.name, [store.say]).say("queued", "its proof is wanted again")
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
