"""How a driver takes a study: the one whose turn it is, in a transaction of its own.

Two drivers never take the same. A transaction may be tried again, and may have been committed
without our hearing of it: what a try took is kept until the last one has ended.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import TypeAlias
from typing import cast

from sqlalchemy import Select
from sqlalchemy import and_
from sqlalchemy import func
from sqlalchemy import not_
from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.records import Study
from lambda_search.store import leases
from lambda_search.store.clock import database_seconds
from lambda_search.store.leases import Lease
from lambda_search.store.mapping import BY_ANY
from lambda_search.store.mapping import study_of
from lambda_search.store.one_host import check_one_host
from lambda_search.store.store import Store
from lambda_search.store.tables import StudyRow

__all__ = ["Claim", "claimed"]

_Waiting: TypeAlias = Select[int, dict[str, Any] | None, float]
"""Of studies: id, owner and lease's end."""


@dataclass(frozen=True)
class Claim:
    """A study that a driver has taken.

    Arguments:
        study: as it was before.
        queued: when it was last submitted.
        lease: the right to write to it.
        files: the config and prompt files that came with it, by name.
    """

    study: Study
    queued: datetime
    lease: Lease
    files: Mapping[str, bytes]


def claimed(
    store: Store, names: Collection[str] | None, unable: Collection[tuple[int, datetime]]
) -> Claim | None:
    """Takes a study of `store`, as `Queue.claim`."""
    taking = _Taking(store, names, unable)
    try:
        claim = store.write(taking.attempt)
    except BaseException:
        taking.give_up()
        raise
    if claim is not None:
        taking.clear_away()
    return claim


class _Taking:
    """The tries to take one study.

    Arguments:
        store, names, unable: as `claimed` takes them.
    """

    def __init__(
        self,
        store: Store,
        names: Collection[str] | None,
        unable: Collection[tuple[int, datetime]],
    ) -> None:
        self._store = store
        self._names = names
        self._unable = unable
        self._taken: list[Claim] = []
        self._gone: list[dict[str, Any] | None] = []

    def attempt(self, session: Session) -> Claim | None:
        """Takes the first that can be taken; what a try before has taken, if that is so.

        Raises:
            UsageError: as `check_one_host`.
        """
        for claim in self._taken:  # of a try that may have been committed without our hearing
            if claim.lease.is_valid(session):
                return claim
            claim.lease.forget()
        check_one_host(session, self._store)
        clock = database_seconds(session.connection())
        for seen in session.execute(_in_turn(self._waiting())).all():
            if not leases.is_abandoned(cast(leases.Held, seen), clock):  # most, where many drive
                continue
            study = session.execute(
                select(StudyRow)
                .where(StudyRow.id == seen.id, StudyRow.state.in_(("queued", "running")))
                .with_for_update(of=StudyRow, skip_locked=True)
            ).scalar_one_or_none()
            if study is None or not leases.is_abandoned(study, clock):
                continue
            if (study.id, study.queued) in self._unable:
                continue
            if study.stop_wanted:  # its driver died before it heeded that
                leases.stop_lost(session, study, "It was stopped as asked.")
                continue
            return self._take(session, study)
        return None

    def give_up(self) -> None:
        """Lets go of what was taken, if that was committed: it is taken over at once.

        Nothing is forgotten, since nobody knows whether it was.
        """
        for one in self._taken:
            one.lease.drop()

    def clear_away(self) -> None:
        """Removes what owners that are gone have left here, now that their studies are taken."""
        for owner in self._gone:
            leases.clear_away(owner)

    def _take(self, session: Session, study: StudyRow) -> Claim:
        before, owner, queued = study_of(study), study.owner, study.queued
        files = {one.name: one.content for one in study.files}
        claim = Claim(before, queued, leases.take(session, study), files)
        self._taken.append(claim)
        self._gone.append(owner)
        return claim

    def _waiting(self) -> _Waiting:
        """The studies that this driver may take."""
        waiting = select(StudyRow.id, StudyRow.owner, StudyRow.lease_until).where(
            StudyRow.state.in_(("queued", "running"))
        )
        if self._names is not None:
            return waiting.where(StudyRow.name.in_(self._names))
        by_name = StudyRow.proof_wanted[BY_ANY].as_boolean().is_not(True)
        proof = and_(StudyRow.proof_wanted.is_not(None), by_name)
        return waiting.where(not_(and_(StudyRow.state == "queued", proof)))


def _in_turn(waiting: _Waiting) -> _Waiting:
    """Studies in the order in which they are taken."""
    driven = (
        select(StudyRow.asker, func.count().label("studies"))
        .where(StudyRow.state == "running")
        .group_by(StudyRow.asker)
        .subquery()
    )
    return waiting.outerjoin(driven, driven.c.asker == StudyRow.asker).order_by(
        StudyRow.priority.desc(),
        func.coalesce(driven.c.studies, 0),
        StudyRow.queued,
        StudyRow.id,
    )
