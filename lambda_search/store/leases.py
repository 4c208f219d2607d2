"""Leases: who may write to a study.

A driver holds the lease row of its study and renews it. When a lease expires, or its owner is a
dead process of this host, another driver takes the study over with a higher fencing number; every
write names its number, so a driver that lost its lease cannot write. Time is the database's.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import psutil
from sqlalchemy import Engine
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.engine import writing
from lambda_search.store.tables import Study

__all__ = ["LEASE_SECONDS", "Lease", "LeaseLost", "acquire", "is_abandoned", "release", "renew"]

LEASE_SECONDS = 60.0


class LeaseLost(LambdaSearchError):
    """Another driver took the study over."""


@dataclass(frozen=True)
class Lease:
    """The right to write to a study.

    Arguments:
        study_id: the study.
        fence: the fencing number; the study's highest is the valid one.
    """

    study_id: int
    fence: int

    def guard(self, session: Session) -> None:
        """Fails a write transaction unless this lease still holds.

        Raises:
            LeaseLost: if another driver has the study.
        """
        touched = session.execute(
            update(Study)
            .where(Study.id == self.study_id, Study.fence == self.fence)
            .values(updated=now())
        )
        if touched.rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost(
                "Another driver has taken this study over.", "Watch it with: lambda-search status."
            )


def acquire(engine: Engine, study_id: int, spec: str, identity: dict[str, Any]) -> Lease:
    """Takes the lease of a study and brings its file up to date.

    Raises:
        LambdaSearchError: if a living driver holds it.
        UsageError: if the study was begun under another identity.
    """
    with Session(writing(engine)) as session, session.begin():
        study = session.execute(
            select(Study).where(Study.id == study_id).with_for_update(of=Study)
        ).scalar_one()
        clock = database_seconds(session.connection())
        if not is_abandoned(study, clock):
            assert study.owner is not None
            raise LambdaSearchError(
                f"The study '{study.name}' is being driven by process {study.owner['pid']} on "
                f"{study.owner['host']}.",
                f"Watch it with: lambda-search wait {study.name}",
            )
        before = study.identity or identity
        changed = [name for name in identity if before.get(name) != identity[name]]
        if changed:
            raise UsageError(
                f"The study '{study.name}' was begun with "
                + ", ".join(f"{name} {before.get(name)}" for name in changed)
                + "; this is "
                + ", ".join(f"{name} {identity[name]}" for name in changed)
                + ".",
                "Its trials would not be comparable: finish it there, or give it another name.",
            )
        study.spec, study.identity = spec, identity
        study.owner = _me()
        study.fence += 1
        study.lease_until = clock + LEASE_SECONDS
        study.state, study.message, study.updated = "running", "", now()
        return Lease(study_id, study.fence)


def renew(engine: Engine, lease: Lease) -> None:
    """Prolongs a lease; raises LeaseLost if it is another's by now."""
    with Session(writing(engine)) as session, session.begin():
        lease.guard(session)
        until = database_seconds(session.connection()) + LEASE_SECONDS
        session.execute(update(Study).where(Study.id == lease.study_id).values(lease_until=until))


def release(engine: Engine, lease: Lease, state: str, message: str = "") -> None:
    """Gives a lease back and leaves the study in `state`; a lost or ended one changes nothing."""
    with Session(writing(engine)) as session, session.begin():
        session.execute(
            update(Study)
            .where(
                Study.id == lease.study_id,
                Study.fence == lease.fence,
                Study.owner.is_not(None),
            )
            .values(state=state, message=message, owner=None, lease_until=0.0, updated=now())
        )


def is_abandoned(study: Study, clock: float) -> bool:
    """Whether no living driver holds the study, at the database's time `clock`."""
    return study.owner is None or study.lease_until <= clock or _is_dead(study.owner)


def _me() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether the owner was a process of this host that has ended."""
    if owner["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(owner["pid"]).create_time() - float(owner["started"])) > 1
    except psutil.NoSuchProcess:
        return True
