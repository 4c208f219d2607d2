"""The queue: studies wait in the store with their files, and drivers take them one by one.

A study waits without its weights, and without a setting; the driver that takes it (`claiming`)
reads the weights and fills the setting in.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam
from sqlalchemy import delete
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import Conflict
from lambda_search.records import Identity
from lambda_search.records import Origins
from lambda_search.records import Progress
from lambda_search.records import Study
from lambda_search.setting import Setting
from lambda_search.shell import command
from lambda_search.store import leases
from lambda_search.store.claiming import Claim
from lambda_search.store.claiming import claimed
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.leases import Lease
from lambda_search.store.leases import LeaseLost
from lambda_search.store.mapping import study_of
from lambda_search.store.one_host import check_one_host
from lambda_search.store.settings import check_identity
from lambda_search.store.settings import check_setting
from lambda_search.store.settings import insert_once
from lambda_search.store.settings import setting_row
from lambda_search.store.store import Store
from lambda_search.store.tables import FileRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.waiting import check_free
from lambda_search.store.waiting import keeps_its_place
from lambda_search.store.waiting import let_wait
from lambda_search.store.waiting import locked

__all__ = ["Queue"]


class Queue:
    """The queue of a store.

    Arguments:
        store: where studies wait.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, name: str, spec: str) -> None:
        """Raises Conflict if a living driver is at work on the study with another file.

        One that differs in `queue` alone is the same.
        """

        def query(session: Session) -> None:
            study = session.scalar(select(StudyRow).where(StudyRow.name == name))
            if study is not None:
                check_free(study, spec, database_seconds(session.connection()))

        self._store.read(query)

    def submit(
        self,
        name: str,
        spec: str,
        base: str = "",
        files: Mapping[str, bytes] | None = None,
        door: str = "",
        priority: int = 0,
        user: str = "",
    ) -> Study:
        """Queues a study, new or again.

        One that runs, or is done and brings no files, stays as it is if its file is the same. One
        that waits or runs, and of which `queue` alone is new, has its turn changed where it is.

        Arguments:
            name: the study's.
            spec: its file (YAML).
            base: the folder that relative names in it start from, on this host.
            files: the contents of the config and prompt files that it names.
            door: which way it came (`records.Study`).
            priority, user: when it is taken (`claim`).

        Raises:
            Conflict: if a living driver is at work on it with another file.
        """

        def change(session: Session) -> Study:
            insert_once(session, StudyRow, {"name": name, "spec": spec}, "name")
            study = locked(session, name)
            busy = check_free(study, spec, database_seconds(session.connection()))
            if busy:
                study.stop_wanted = False
            if not busy and study.state == "done" and study.spec == spec and not files:
                return study_of(study)
            stays = busy or keeps_its_place(study, spec, base, files or {}, door)
            study.spec, study.priority, study.asker = spec, priority, user
            if stays:
                study.updated = now()
                session.flush()
                return study_of(study)
            study.base, study.door, study.proof_wanted = base, door, None
            let_wait(study)
            session.execute(delete(FileRow).where(FileRow.study_id == study.id))
            session.add_all(
                FileRow(study_id=study.id, name=file, content=content)
                for file, content in (files or {}).items()
            )
            session.flush()
            session.expire(study)
            return study_of(study)

        return self._store.write(change)

    def claim(
        self, names: Collection[str] | None = None, unable: Collection[tuple[int, datetime]] = ()
    ) -> Claim | None:
        """Takes the study whose turn it is, or one whose driver is gone.

        The highest priority comes first, then the user of whom the fewest studies are driven,
        then what has waited longest.

        Arguments:
            names: of these alone.
            unable: ids of studies that this driver cannot run, as they were submitted then.

        Raises:
            UsageError: as `check_one_host`.
        """
        return claimed(self._store, names, unable)

    def check_one_host(self) -> None:
        """Raises UsageError where the store is a file that a driver on another host has now."""
        self._store.read(lambda session: check_one_host(session, self._store))

    def bind(
        self,
        lease: Lease,
        setting: Setting,
        steps: int,
        identity: Identity,
        origins: Origins | None = None,
        former: Setting | None = None,
    ) -> Study:
        """Says what a study's rows hold for, now that its weights are read.

        Arguments:
            lease: the study's.
            setting: what its rows hold for.
            steps: the real length of its grid.
            identity: what its numbers depend on besides.
            origins: where the model came from.
            former: the setting as releases before spelled it, where they did so otherwise.

        Raises:
            UsageError: if it was begun with another setting, or where other numbers come out.
            LeaseLost: if another driver has the study.
        """

        def change(session: Session) -> Study:
            lease.guard(session)
            study = session.get_one(StudyRow, lease.study_id)
            row = setting_row(session, setting, origins)
            check_setting(study, row, former)
            check_identity(study, identity)
            study.setting_id, study.schedule_steps = row.id, steps
            study.identity = study.identity or identity.to_json()
            session.flush()
            session.refresh(study)
            return study_of(study)

        return self._store.write(change)

    def keep_up(self, leases_: Sequence[Lease]) -> list[Lease]:
        """Renews leases; returns those that are lost."""

        def change(session: Session) -> list[Lease]:
            lost = []
            for lease in leases_:
                try:
                    leases.renew(session, lease)
                except LeaseLost:
                    lost.append(lease)
            return lost

        return self._store.write(change)

    def end(self, lease: Lease, state: str, outcome: str, message: str = "") -> bool:
        """Gives a lease back; False if it was lost or has ended."""
        tries = itertools.count()

        def change(session: Session) -> bool:
            again = next(tries) > 0  # then a try may have been committed without our hearing of it
            if leases.end(session, lease, state, outcome, message):
                return True
            study = session.get_one(StudyRow, lease.study_id)
            return again and study.owner is None and study.fence == lease.fence

        try:
            ended = self._store.write(change)
        finally:
            lease.drop()  # even if the store is away: then it is taken over at once
        lease.forget()
        return ended

    def stop(self, name: str) -> Study:
        """Asks a study's driver to stop it, or takes it out of the queue.

        Raises:
            UsageError: if there is no such study, or (Conflict) it has ended.
        """
        self._store.study(name)

        def change(session: Session) -> Study:
            study = locked(session, name)
            clock = database_seconds(session.connection())
            if study.state not in ("queued", "running"):
                raise Conflict(
                    f"The study '{name}' is {study.state}; there is nothing to stop.",
                    f"See it with: {command('status', name)}",
                )
            if leases.is_driven(study, clock):
                study.stop_wanted = True
            else:
                leases.stop_lost(session, study, "It was stopped while nobody drove it.")
            study.updated = now()
            session.flush()
            return study_of(study)

        return self._store.write(change)

    def stops_wanted(self, leases_: Collection[Lease]) -> set[int]:
        """The ids, among those of `leases_`, of studies that shall stop."""
        wanted = select(StudyRow.id).where(
            StudyRow.id.in_([lease.study_id for lease in leases_]), StudyRow.stop_wanted
        )
        return self._store.read(lambda session: set(session.scalars(wanted)))

    def report(self, progress: Mapping[Lease, Progress]) -> None:
        """Keeps how far studies are, for people; what is not valid any more is left out."""
        told = update(StudyRow).where(
            StudyRow.id == bindparam("study"), StudyRow.fence == bindparam("valid")
        )
        rows = [
            {"study": lease.study_id, "valid": lease.fence, "progress": snapshot.to_json()}
            for lease, snapshot in progress.items()
        ]
        if rows:
            self._store.write(lambda session: session.connection().execute(told, rows))
