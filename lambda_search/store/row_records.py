"""Rows of the lookup table, with their pictures and retractions, as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.records import Evaluation
from lambda_search.records import Image
from lambda_search.records import Row
from lambda_search.shell import command
from lambda_search.store import leases
from lambda_search.store.leases import Lease
from lambda_search.store.mapping import row_of
from lambda_search.store.mapping import schedule_row
from lambda_search.store.settings import setting_row
from lambda_search.store.study_records import add_evaluations
from lambda_search.store.study_records import add_images
from lambda_search.store.tables import ImageRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.transactions import Transactions

__all__ = ["RowRecords"]


class RowRecords(Transactions):
    """Publishes, reads and retracts rows."""

    def publish(
        self,
        lease: Lease,
        row: Row,
        evaluations: Sequence[Evaluation] = (),
        images: Sequence[Image] = (),
        decisive: str | None = None,
    ) -> Row:
        """Ends a study: its last evaluations, its row, its pictures and its lease, or nothing.

        A row that says the same as one of this store is that one. `decisive` is the digest of all
        in the study's file that decided its numbers.
        """

        def change(session: Session) -> Row:
            there = session.scalar(select(ScheduleRow).where(ScheduleRow.content == row.id))
            if there is not None:  # told again, or committed by a try that did not hear of it
                session.execute(
                    update(StudyRow)
                    .where(StudyRow.id == lease.study_id, StudyRow.fence == lease.fence)
                    .values(decisive=decisive)
                )
                leases.end(session, lease, "done", "done")
                return row_of(there)
            lease.guard(session)
            add_evaluations(session, lease.study_id, evaluations)
            new = schedule_row(row, setting_row(session, row.setting), lease.study_id)
            session.add(new)
            session.execute(
                update(StudyRow).where(StudyRow.id == lease.study_id).values(decisive=decisive)
            )
            add_images(session, lease.study_id, row.provenance.preview, images)
            leases.end(session, lease, "done", "done")
            session.flush()
            session.refresh(new)
            return row_of(new)

        published = self.write(change)
        lease.forget()
        return published

    def rows(self, study_id: int) -> list[Row]:
        """The rows of a study, oldest first."""
        query = (
            select(ScheduleRow).where(ScheduleRow.study_id == study_id).order_by(ScheduleRow.id)
        )
        return self.read(lambda session: [row_of(one) for one in session.scalars(query)])

    def latest_rows(self) -> dict[int, Row]:
        """The last row of every study that has one, by the study's id."""
        last = select(func.max(ScheduleRow.id)).group_by(ScheduleRow.study_id)
        query = select(ScheduleRow).where(
            ScheduleRow.id.in_(last), ScheduleRow.study_id.is_not(None)
        )
        return self.read(
            lambda session: {
                one.study_id: row_of(one)
                for one in session.scalars(query)
                if one.study_id is not None
            }
        )

    def row(self, id: str) -> Row:
        """The row whose id begins with `id`, retracted ones too.

        Raises:
            UsageError: if there is none, or several.
        """
        return self.read(lambda session: row_of(_row_named(session, id)))

    def lookup_rows(self, model: str | None = None) -> list[Row]:
        """The rows of a model (of all models unless given) that stand, the newest first."""
        if model is not None and not _is_unicode(model):
            return []  # no database has such a name
        query = (
            select(ScheduleRow)
            .join(SettingRow)
            .join(ModelRow)
            .outerjoin(RetractionRow)
            .where(RetractionRow.id.is_(None))
            .order_by(ScheduleRow.id.desc())
        )
        if model is not None:
            query = query.where(ModelRow.name == model)
        return self.read(lambda session: [row_of(one) for one in session.scalars(query)])

    def retract(self, id: str, reason: str) -> Row:
        """Takes a row back; it stays in the record, with the reason.

        Raises:
            UsageError: if there is no such row, or it was taken back before.
        """

        def change(session: Session) -> Row:
            row = _row_named(session, id)
            if row.retraction is not None:
                raise UsageError(
                    f"The row {row.content[:12]} was taken back before: {row.retraction.reason}.",
                    "Nothing is left to do.",
                )
            row.retraction = RetractionRow(reason=reason)
            session.flush()
            return row_of(row)

        return self.write(change)

    def images(self, preview: str) -> list[Image]:
        """The pictures of a preview; none if there are none."""
        query = select(ImageRow).where(ImageRow.preview == preview).order_by(ImageRow.place)
        return self.read(
            lambda session: [Image(one.caption, one.content) for one in session.scalars(query)]
        )


def _row_named(session: Session, id: str) -> ScheduleRow:
    found = session.scalars(
        select(ScheduleRow).where(ScheduleRow.content.startswith(id, autoescape=True)).limit(2)
    ).all()
    if len(found) != 1:
        raise UsageError(
            f"{'Several rows are' if found else 'No row is'} named {id}.",
            f"Give more digits; rows are shown by: {command('best', 'MODEL', '--all')}",
        )
    return found[0]


def _is_unicode(name: str) -> bool:
    """Whether it is no stray bytes, which a shell without UTF-8 hands over."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
