"""Rows of the lookup table, with their pictures and retractions, as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.records import Image
from lambda_search.records import Row
from lambda_search.store import leases
from lambda_search.store.adding import Added
from lambda_search.store.adding import add_rows
from lambda_search.store.engine import one_at_a_time
from lambda_search.store.leases import Lease
from lambda_search.store.lookup_records import row_named
from lambda_search.store.mapping import row_of
from lambda_search.store.standing import mark_standing
from lambda_search.store.standing import take_back_companions
from lambda_search.store.study_records import add_images
from lambda_search.store.tables import ImageRow
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.transactions import Transactions

__all__ = ["RowRecords"]


class RowRecords(Transactions):
    """Publishes, imports and retracts rows, and reads those of studies."""

    def publish(
        self,
        lease: Lease,
        row: Row,
        images: Sequence[Image] = (),
        decisive: str | None = None,
        beside: Sequence[tuple[Row, Sequence[Image]]] = (),
    ) -> Row:
        """Ends a study: its row, its pictures and its lease, or nothing.

        A row that says the same as one of this store is that one. `decisive` is the digest of all
        in the study's file that decided its numbers. A proof that was asked for is no more. Rows
        `beside` it, its companions, come with it; it is the last of the study all the same.
        """

        def change(session: Session) -> Row:
            mine = update(StudyRow).where(
                StudyRow.id == lease.study_id, StudyRow.fence == lease.fence
            )
            there = _named(session, row.id)
            if there is None or there.study_id is None:  # new, or known from a file
                lease.guard(session)
                if there is not None:
                    there.study_id = lease.study_id
                    session.flush()
                entries = [*beside, (row, images)]
                for one, pictures in entries:
                    add_rows(session, [one], lease.study_id)
                    add_images(session, lease.study_id, one.provenance.preview, pictures)
                there = _named(session, row.id)
                assert there is not None
            session.execute(mine.values(decisive=decisive, proof_wanted=None))
            leases.end(session, lease, "done", "done")
            session.flush()
            session.refresh(there)
            return row_of(there)

        published = self.write(change)
        lease.forget()
        return published

    def add(self, rows: Sequence[Row]) -> Added:
        """Adds rows that came with a file, all or none; those that are there stay as they are.

        Rows that the file takes back are taken back here too.
        """

        def change(session: Session) -> Added:
            one_at_a_time(session.connection())
            return add_rows(session, rows)

        return self.write(change)

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

    def retract(self, id: str, reason: str) -> Row:
        """Takes a row back, and its companion; they stay in the record, with the reason.

        Raises:
            UsageError: if there is no such row, or it was taken back before.
        """

        def change(session: Session) -> Row:
            row = row_named(session, id)
            if row.retraction is not None:
                raise UsageError(
                    f"The row {row.content[:12]} was taken back before: {row.retraction.reason}.",
                    "Nothing is left to do.",
                )
            row.retraction = RetractionRow(reason=reason)
            take_back_companions(session, {row.content: reason})
            mark_standing(session, [row.setting_id])
            return row_of(row)

        return self.write(change)

    def images(self, preview: str) -> list[Image]:
        """The pictures of a preview; none if there are none."""
        query = select(ImageRow).where(ImageRow.preview == preview).order_by(ImageRow.place)
        return self.read(
            lambda session: [Image(one.caption, one.content) for one in session.scalars(query)]
        )


def _named(session: Session, id: str) -> ScheduleRow | None:
    return session.scalar(select(ScheduleRow).where(ScheduleRow.content == id))
