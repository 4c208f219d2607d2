"""A store in a file serves the drivers of one host.

SQLite keeps writers apart by locks, and its newest pages in memory that they share: what another
host sees of either is up to the file system between them, and a database that two hosts write to
breaks sooner or later (sqlite.org/wal.html, sqlite.org/howtocorrupt.html). Containers of one host
are one host here.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.machine import running_system
from lambda_search.shell import command
from lambda_search.store.clock import database_seconds
from lambda_search.store.leases import is_driven
from lambda_search.store.leases import is_own
from lambda_search.store.mapping import driver_of
from lambda_search.store.store import Store
from lambda_search.store.tables import StudyRow

__all__ = ["check_one_host"]

_SERVER = "postgresql://USER@HOST/NAME"


def check_one_host(session: Session, store: Store) -> None:
    """Fails where `store` is a file, and a living driver on another host has a study of it.

    One that an older release started does not say what it runs on, and is let be.

    Raises:
        UsageError: with the way to a server.
    """
    if not store.is_file:
        return
    clock, here = database_seconds(session.connection()), running_system()
    running = select(StudyRow).where(StudyRow.state == "running", StudyRow.lease_until > clock)
    for study in session.scalars(running):
        owner = study.owner or {}
        if owner.get("system", here) == here or is_own(owner):  # a laptop's name may change
            continue
        if is_driven(study, clock):
            raise UsageError(
                f"The store {store.address} is a file of SQLite, which serves the drivers of one "
                f"host; {driver_of(owner)} is at work on its studies.",
                f"Stop that one, or copy the store to a server that both reach, with: "
                f"{command('db', 'copy', store.address, _SERVER)}",
            )
