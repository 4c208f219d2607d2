"""Upkeep of a store: studies are renamed and removed, while nobody drives them."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import Conflict
from lambda_search.errors import UnknownName
from lambda_search.records import Study
from lambda_search.shell import command
from lambda_search.store import leases
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.mapping import study_of
from lambda_search.store.store import Store
from lambda_search.store.tables import AttemptRow
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import EventRow
from lambda_search.store.tables import FileRow
from lambda_search.store.tables import ImageRow
from lambda_search.store.tables import RoundRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow

__all__ = ["remove", "rename"]

_OWN = (TrialRow, RoundRow, EvaluationRow, EventRow, ImageRow, AttemptRow, FileRow)


def rename(store: Store, name: str, new: str, spec: str) -> Study:
    """Gives a study another name, and the file that says it; its rows stay as they are.

    Raises:
        UsageError: if there is no such study, a living driver is at work on it, or there is one
            of the new name.
    """

    def change(session: Session) -> Study:
        study = _at_rest(session, name)
        if session.scalar(select(StudyRow.id).where(StudyRow.name == new)) is not None:
            raise Conflict(f"There is a study '{new}' already.", "Choose another name.")
        study.name, study.spec, study.updated = new, spec, now()
        session.flush()
        return study_of(study)

    return store.write(change)


def remove(store: Store, name: str) -> None:
    """Removes a study and all that is its own; its rows stay, without their pictures.

    Raises:
        UsageError: if there is no such study, or a living driver is at work on it.
    """

    def change(session: Session) -> None:
        study = _at_rest(session, name)
        left = update(ScheduleRow).where(ScheduleRow.study_id == study.id)
        session.execute(left.values(study_id=None))
        heir = (  # another study that scored the same images
            select(func.min(EvaluationRow.study_id))
            .where(
                EvaluationRow.fingerprint == ImageRow.preview, EvaluationRow.study_id != study.id
            )
            .scalar_subquery()
        )
        shared = update(ImageRow).where(ImageRow.study_id == study.id, heir.is_not(None))
        session.execute(shared.values(study_id=heir))
        for table in _OWN:
            session.execute(delete(table).where(table.study_id == study.id))
        session.execute(delete(StudyRow).where(StudyRow.id == study.id))

    store.write(change)


def _at_rest(session: Session, name: str) -> StudyRow:
    """The study, locked.

    Raises:
        UsageError: if there is none, or a living driver is at work on it.
    """
    study = session.execute(
        select(StudyRow).where(StudyRow.name == name).with_for_update(of=StudyRow)
    ).scalar_one_or_none()
    if study is None:
        raise UnknownName(f"There is no study '{name}'.", f"See all with: {command('status')}")
    clock = database_seconds(session.connection())
    if study.state == "running" and not leases.is_abandoned(study, clock):
        raise Conflict(
            f"The study '{name}' is being driven by {study_of(study).driver}.",
            f"Stop it first, with: {command('stop', name)}",
        )
    return study
