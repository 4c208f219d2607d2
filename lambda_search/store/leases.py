"""Leases: who may write to a study.

A driver holds the lease of its study and renews it. When a lease ends, or its owner is known to be
dead, another driver takes the study over with a higher fencing number; every write names its
number, so a driver that lost its lease cannot write. Time is the database's.

The lease carries a random token, and the owner keeps a file of that name locked. Whoever finds
that very file and gets its lock knows that the owner is dead, whatever the clocks, process numbers
and host names say; everybody else waits until the lease ends.
"""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol

from filelock import FileLock
from filelock import Timeout
from sqlalchemy import and_
from sqlalchemy import case
from sqlalchemy import false
from sqlalchemy import not_
from sqlalchemy import null
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import LambdaSearchError
from lambda_search.files import private_folder
from lambda_search.machine import running_system
from lambda_search.paths import leases_folder
from lambda_search.shell import command
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.mapping import BY_ANY
from lambda_search.store.tables import AttemptRow
from lambda_search.store.tables import StudyRow

__all__ = [
    "LEASE_SECONDS",
    "Held",
    "Lease",
    "LeaseLost",
    "clear_away",
    "end",
    "is_abandoned",
    "is_driven",
    "is_own",
    "renew",
    "stop_lost",
    "take",
    "this_driver",
]

LEASE_SECONDS = 60.0

_held: dict[str, FileLock] = {}
"""The locks of this process by token: a lease lasts until it is dropped, whoever forgets it."""


class Held(Protocol):
    """Of a study, who holds it and until when: its row, or these columns of it."""

    @property
    def owner(self) -> dict[str, Any] | None: ...

    @property
    def lease_until(self) -> float: ...


class LeaseLost(LambdaSearchError):
    """Another driver took the study over."""


@dataclass(frozen=True)
class Lease:
    """The right to write to a study.

    Arguments:
        study_id: the study.
        fence: the fencing number; the study's highest is the valid one.
        token: names the file that is locked while the owner lives.
    """

    study_id: int
    fence: int
    token: str

    def guard(self, session: Session) -> None:
        """Fails a write transaction unless this lease still holds.

        Raises:
            LeaseLost: if another driver has the study.
        """
        touched = session.execute(
            update(StudyRow)
            .where(StudyRow.id == self.study_id, StudyRow.fence == self.fence)
            .values(updated=now())
        )
        if touched.rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost(
                "Another driver has taken this study over.", f"Watch it with: {command('status')}"
            )

    def is_valid(self, session: Session) -> bool:
        """Whether the store knows this lease as the study's."""
        study = session.get(StudyRow, self.study_id)
        owner = None if study is None else study.owner
        return owner is not None and owner.get("token") == self.token

    def drop(self) -> None:
        """Says that the owner is gone: whoever finds its file sees it. Harmless if said twice."""
        lock = _held.pop(self.token, None)
        if lock is not None:
            lock.release(force=True)

    def forget(self) -> None:
        """Drops a lease that the store has back; nothing is left of it."""
        self.drop()
        _file_of(self.token).unlink(missing_ok=True)


def take(session: Session, study: StudyRow) -> Lease:
    """Gives the caller the lease of `study`, which is locked in `session` and has no living owner.

    The attempt of an owner that was lost is closed. What is left of that owner is to be cleared
    away once this is committed: until then it is what says that the owner is dead.
    """
    token = _locked_token()
    _close_lost(session, study.id)
    study.owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "system": running_system(),
        "token": token,
    }
    study.fence += 1
    study.lease_until = database_seconds(session.connection()) + LEASE_SECONDS
    study.state, study.message, study.updated = "running", "", now()
    study.stop_wanted = False
    session.add(
        AttemptRow(
            study_id=study.id,
            fence=study.fence,
            driver=this_driver(),
        )
    )
    return Lease(study.id, study.fence, token)


def stop_lost(session: Session, study: StudyRow, message: str) -> None:
    """Stops a study that has no living owner; what it left of a lease is void."""
    _close_lost(session, study.id)
    if study.proof_wanted is not None:  # it is done as before
        study.state, study.message = "done", ""
        if study.proof_wanted.get(BY_ANY):  # nobody will name the study to go on with it
            study.proof_wanted = None
    else:
        study.state, study.message = "stopped", message
    study.updated = now()
    study.owner, study.lease_until, study.stop_wanted = None, 0.0, False
    study.fence += 1


def clear_away(owner: dict[str, Any] | None) -> None:
    """Removes what an owner that is gone has left here."""
    if owner is not None and "token" in owner:
        _file_of(owner["token"]).unlink(missing_ok=True)


def this_driver() -> str:
    """This process, for people."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def renew(session: Session, lease: Lease) -> None:
    """Prolongs a lease; raises LeaseLost if it is another's by now."""
    lease.guard(session)
    until = database_seconds(session.connection()) + LEASE_SECONDS
    session.execute(
        update(StudyRow).where(StudyRow.id == lease.study_id).values(lease_until=until)
    )


def end(session: Session, lease: Lease, state: str, outcome: str, message: str = "") -> bool:
    """Gives a lease back and leaves the study in `state`; False if it was lost or has ended.

    A study that somebody asked to stop is not queued again: it is stopped then. One whose proof
    was asked for again is done as before, unless that proof is queued again for any driver. A
    proof for any driver that is not queued again is not wanted any more; one that was asked for by
    name still is, and what it has computed stays for who names the study again.
    """
    stops = StudyRow.stop_wanted if state == "queued" else false()
    waits = not_(StudyRow.stop_wanted) if state == "queued" else false()
    for_any = StudyRow.proof_wanted[BY_ANY].as_boolean().is_(True)
    again = and_(StudyRow.proof_wanted.is_not(None), not_(and_(for_any, waits)))
    touched = session.execute(
        update(StudyRow)
        .where(
            StudyRow.id == lease.study_id,
            StudyRow.fence == lease.fence,
            StudyRow.owner.is_not(None),
        )
        .values(
            state=case((again, "done"), (stops, "stopped"), else_=state),
            message=case((again, ""), else_=message),
            proof_wanted=case((and_(for_any, not_(waits)), null()), else_=StudyRow.proof_wanted),
            owner=None,
            lease_until=0.0,
            stop_wanted=False,
            updated=now(),
        )
    )
    if touched.rowcount != 1:  # type: ignore[attr-defined]
        return False
    _close_attempt(session, lease.study_id, outcome, message)
    return True


def is_abandoned(study: Held, clock: float) -> bool:
    """Whether no living driver holds the study, at the database's time `clock`."""
    return study.owner is None or study.lease_until <= clock or _is_dead(study.owner)


def is_driven(study: StudyRow, clock: float) -> bool:
    """Whether a living driver is at work on the study, at the database's time `clock`."""
    return study.state == "running" and not is_abandoned(study, clock)


def is_own(owner: dict[str, Any]) -> bool:
    """Whether it is this very process that has the lease."""
    return owner.get("token") in _held


def _close_lost(session: Session, study_id: int) -> None:
    """Closes the attempt of an owner that was lost, if there is one."""
    _close_attempt(session, study_id, "lost", "its driver died, or its lease ran out")


def _close_attempt(session: Session, study_id: int, outcome: str, reason: str) -> None:
    open_ones = select(AttemptRow).where(
        AttemptRow.study_id == study_id, AttemptRow.ended.is_(None)
    )
    for attempt in session.scalars(open_ones):
        attempt.ended, attempt.outcome, attempt.reason = now(), outcome, reason


def _locked_token() -> str:
    """A new token; another driver may find its file locked, if this host can lock one."""
    token = uuid.uuid4().hex
    folder = leases_folder()
    with suppress(OSError, Timeout):
        private_folder(folder)
        lock = _lock_of(token)
        lock.acquire()
        _held[token] = lock
    return token


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether the file of the owner's token lies here, and nobody holds its lock."""
    token = owner.get("token", "")
    if not token or not _file_of(token).exists():
        return False
    lock = _lock_of(token)
    try:
        with lock:
            return True
    except (OSError, Timeout):
        return False


def _lock_of(token: str) -> FileLock:
    return FileLock(_file_of(token), timeout=0, thread_local=False)


def _file_of(token: str) -> Path:
    return leases_folder() / f"{token}.lock"
