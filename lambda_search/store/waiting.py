"""How studies come to wait in the queue again: as they were submitted, or for one more proof.

A proof that is asked for of a study that is done changes neither its file nor what decided its
last row: what it is to be is kept beside them until its row is there. Until then, and whatever
becomes of it, the study is done as it was before. A proof for any driver waits for the next one if
its driver cannot make it or is interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.errors import Conflict
from lambda_search.records import Study
from lambda_search.shell import command
from lambda_search.spec import StudySpec
from lambda_search.spec import stored_spec
from lambda_search.store import leases
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.mapping import BY_ANY
from lambda_search.store.mapping import study_of
from lambda_search.store.store import Store
from lambda_search.store.tables import FileRow
from lambda_search.store.tables import StudyRow

__all__ = [
    "check_free",
    "drop_proof",
    "files_of",
    "keeps_its_place",
    "let_wait",
    "locked",
    "requeue",
    "want_proof",
]


def requeue(store: Store, name: str) -> Study:
    """Queues a study again, with the files that it came with."""

    def change(session: Session) -> Study:
        study = locked(session, name)
        let_wait(study)
        session.flush()
        return study_of(study)

    return store.write(change)


def want_proof(store: Store, name: str, confirm: Mapping[str, Any], by_any: bool = False) -> Study:
    """Asks for a proof of a study that is done.

    Arguments:
        store: where the study is.
        name: the study's.
        confirm: what its `confirm` shall be for this proof.
        by_any: whether any driver takes it, or only one that names the study.

    Raises:
        Conflict: if it is not done any more, or a living driver is at work on it.
    """

    def change(session: Session) -> Study:
        study = locked(session, name)
        if leases.is_driven(study, database_seconds(session.connection())):
            raise Conflict(
                f"The study '{name}' is being driven by {study_of(study).driver}.",
                f"Watch it with: {command('wait', name)}",
            )
        if study.state != "done" and study.proof_wanted is None:
            raise Conflict(
                f"The study '{name}' has been submitted again in the meantime.",
                f"See it with: {command('status', name)}",
            )
        study.proof_wanted = {**confirm, BY_ANY: True} if by_any else dict(confirm)
        let_wait(study)
        session.flush()
        return study_of(study)

    return store.write(change)


def drop_proof(store: Store, name: str) -> None:
    """Leaves a study done that waits for a proof by name which nobody has begun."""

    def change(session: Session) -> None:
        study = locked(session, name)
        wanted = study.proof_wanted
        if study.state == "queued" and wanted is not None and not wanted.get(BY_ANY):
            leases.stop_lost(session, study, "")

    store.write(change)


def files_of(store: Store, name: str) -> dict[str, bytes]:
    """The config and prompt files that a study came with, by name."""
    named = select(FileRow).join(StudyRow, StudyRow.id == FileRow.study_id)
    query = named.where(StudyRow.name == name)
    return store.read(lambda session: {one.name: one.content for one in session.scalars(query)})


def locked(session: Session, name: str) -> StudyRow:
    """The study, which nobody else may change until the transaction ends."""
    named = select(StudyRow).where(StudyRow.name == name).with_for_update(of=StudyRow)
    return session.execute(named).scalar_one()


def check_free(study: StudyRow, spec: str, clock: float) -> bool:
    """Whether a living driver is at work on it, with this file, whatever that says of its turn.

    Raises:
        Conflict: if one is, with another file.
    """
    if not leases.is_driven(study, clock):
        return False
    if study.spec != spec and not _has_another_turn(study, spec):
        raise Conflict(
            f"The study '{study.name}' is running with another file.",
            f"Stop it first, with: {command('stop', study.name)}",
        )
    return True


def keeps_its_place(
    study: StudyRow, spec: str, base: str, files: Mapping[str, bytes], door: str
) -> bool:
    """Whether it waits, and nothing but its turn is new; arguments as in `Queue.submit`."""
    if study.state != "queued" or (study.base, study.door) != (base, door):
        return False
    carried = {one.name: one.content for one in study.files}
    return carried == files and _has_another_turn(study, spec)


def _has_another_turn(study: StudyRow, spec: str) -> bool:
    """Whether `spec` differs from the study's file in `queue` alone, which decides no numbers."""
    before, after = stored_spec(study.spec), stored_spec(spec)
    if before is None or after is None:  # of another release: all of it may differ
        return False
    return before.queue != after.queue and _turnless(before) == _turnless(after)


def _turnless(spec: StudySpec) -> StudySpec:
    return spec.model_copy(update={"queue": None})


def let_wait(study: StudyRow) -> None:
    """Lets a study wait; that of a lost driver stays to be taken over."""
    if study.state != "running":
        study.state, study.message, study.queued = "queued", "", now()
    study.stop_wanted, study.updated = False, now()
