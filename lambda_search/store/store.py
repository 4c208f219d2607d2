"""Reading and writing the record. Writes that belong together are one transaction.

Everything that is given and taken is a value of `records`. A write that finds itself done already
changes nothing, so that it can be tried again when a server was away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from collections.abc import Sequence
from typing import Self
from typing import TypeVar

from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.records import Evaluation
from lambda_search.records import Event
from lambda_search.records import Image
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.store import leases
from lambda_search.store.catalogue import add_published_rows
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.engine import open_engine
from lambda_search.store.engine import patiently
from lambda_search.store.engine import writing
from lambda_search.store.leases import Lease
from lambda_search.store.mapping import evaluation_of
from lambda_search.store.mapping import evaluation_row
from lambda_search.store.mapping import event_of
from lambda_search.store.mapping import row_of
from lambda_search.store.mapping import schedule_row
from lambda_search.store.mapping import study_of
from lambda_search.store.mapping import trial_of
from lambda_search.store.mapping import trial_row
from lambda_search.store.settings import setting_row
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import EventRow
from lambda_search.store.tables import ImageRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow

__all__ = ["PATIENCE_SECONDS", "Store"]

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
"""For how long a driver waits for a store that is away."""


class Store:
    """The database at `url`.

    Opening it brings its tables up to date and adds what it lacks of the catalogue. One store of a
    process is enough for all its threads, and keeps few connections.

    Arguments:
        url: SQLAlchemy URL; the default store unless given.
        patience: seconds for which a server may be away in the middle of work.

    Raises:
        LambdaSearchError: if it cannot be opened; every method, if it fails later.
    """

    def __init__(self, url: str | None = None, patience: float = 0.0) -> None:
        self.url = store_url(url)
        self._patience = patience
        self._engine = open_engine(self.url)
        add_published_rows(self.read, self.write)

    @property
    def address(self) -> str:
        """The URL without its password, for people."""
        return self._engine.url.render_as_string(hide_password=True)

    def impatient(self) -> Self:
        """The same store for who is about to leave: it is not waited for."""
        hurried = copy.copy(self)
        hurried._patience = 0.0
        return hurried

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    # Studies

    def study(self, name: str) -> Study:
        """The study `name`.

        Raises:
            UsageError: if there is none.
        """

        def query(session: Session) -> Study:
            study = session.scalar(select(StudyRow).where(StudyRow.name == name))
            if study is None:
                names = session.scalars(
                    select(StudyRow.name).order_by(StudyRow.updated.desc()).limit(8)
                )
                known = ", ".join(names) or "none yet"
                raise UsageError(f"There is no study '{name}'.", f"Studies: {known}.")
            return study_of(study)

        return self.read(query)

    def studies(self) -> list[Study]:
        """All studies, the latest first."""
        query = select(StudyRow).order_by(StudyRow.updated.desc(), StudyRow.id.desc())
        return self.read(lambda session: [study_of(one) for one in session.scalars(query)])

    def is_abandoned(self, study: Study) -> bool:
        """Whether no living driver holds the study."""

        def query(session: Session) -> bool:
            row = session.get_one(StudyRow, study.id)
            return leases.is_abandoned(row, database_seconds(session.connection()))

        return self.read(query)

    # Trials and evaluations

    def trials(self, study_id: int) -> list[Trial]:
        """The trials of a study in order."""
        query = select(TrialRow).where(TrialRow.study_id == study_id).order_by(TrialRow.number)
        return self.read(lambda session: [trial_of(one) for one in session.scalars(query)])

    def propose(self, lease: Lease, trials: Sequence[Trial]) -> None:
        """Commits a generation before its first shard runs."""

        def change(session: Session) -> None:
            known = select(TrialRow.number).where(TrialRow.study_id == lease.study_id)
            there = set(session.scalars(known))
            session.add_all(
                trial_row(lease.study_id, one) for one in trials if one.number not in there
            )

        self.write(change, lease)

    def evaluations(self, study_id: int) -> list[Evaluation]:
        """All evaluations of a study, oldest first."""
        query = (
            select(EvaluationRow)
            .where(EvaluationRow.study_id == study_id)
            .order_by(EvaluationRow.id)
        )
        return self.read(lambda session: [evaluation_of(one) for one in session.scalars(query)])

    def close_rung(
        self, lease: Lease, evaluations: Sequence[Evaluation], ended: Sequence[Trial] = ()
    ) -> None:
        """Keeps new evaluations and closes the trials that go no further."""

        def change(session: Session) -> None:
            self._add_evaluations(session, lease.study_id, evaluations)
            for trial in ended:
                session.execute(
                    update(TrialRow)
                    .where(TrialRow.study_id == lease.study_id, TrialRow.number == trial.number)
                    .values(
                        state=trial.state,
                        n=trial.n,
                        gain=trial.gain,
                        fid=trial.fid,
                        reason=trial.reason,
                        finished=now(),
                    )
                )

        self.write(change, lease)

    # Rows

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
                leases.end(session, lease, "done", "done")
                return row_of(there)
            lease.guard(session)
            self._add_evaluations(session, lease.study_id, evaluations)
            new = schedule_row(row, setting_row(session, row.setting), lease.study_id)
            session.add(new)
            session.execute(
                update(StudyRow).where(StudyRow.id == lease.study_id).values(decisive=decisive)
            )
            self._add_images(session, lease.study_id, row.provenance.preview, images)
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

    def row(self, id: str) -> Row:
        """The row whose id begins with `id`, retracted ones too.

        Raises:
            UsageError: if there is none, or several.
        """
        return self.read(lambda session: row_of(_row_named(session, id)))

    def lookup_rows(self, model: str | None = None) -> list[Row]:
        """The rows of a model (of all models unless given) that stand, the newest first."""
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

    # Events

    def say(self, event: Event) -> None:
        """Keeps an event."""
        self.say_all([event])

    def say_all(self, events: Sequence[Event]) -> None:
        """Keeps events, in order."""
        names = {event.study for event in events}

        def change(session: Session) -> None:
            known = select(StudyRow).where(StudyRow.name.in_(names))
            ids = {study.name: study.id for study in session.scalars(known)}
            there = select(EventRow.study_id, EventRow.at, EventRow.kind, EventRow.text).where(
                EventRow.study_id.in_(ids.values()), EventRow.at.in_({one.at for one in events})
            )
            told = {tuple(one) for one in session.execute(there)}
            session.add_all(
                EventRow(study_id=ids[one.study], kind=one.kind, text=one.text, at=one.at)
                for one in events
                if one.study in ids and (ids[one.study], one.at, one.kind, one.text) not in told
            )

        self.write(change)

    def events(self, name: str, after: int = 0) -> list[Event]:
        """The events of the study `name` with numbers above `after`, oldest first."""
        query = (
            select(EventRow)
            .join(StudyRow, StudyRow.id == EventRow.study_id)
            .where(StudyRow.name == name, EventRow.id > after)
            .order_by(EventRow.id)
        )
        return self.read(lambda session: [event_of(one, name) for one in session.scalars(query)])

    def counts(self) -> dict[str, int]:
        """How many studies, trials, evaluations and rows there are."""
        tables = {
            "studies": StudyRow,
            "trials": TrialRow,
            "evaluations": EvaluationRow,
            "rows": ScheduleRow,
        }
        return self.read(
            lambda session: {
                name: session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in tables.items()
            }
        )

    # Transactions

    def read(self, query: Callable[[Session], T]) -> T:
        """What `query` finds."""

        def once() -> T:
            with Session(self._engine, expire_on_commit=False) as session:
                return query(session)

        return patiently(self._engine, self._patience, once)

    def write(self, change: Callable[[Session], T], lease: Lease | None = None) -> T:
        """What `change` returns, once it is committed; under `lease` if one is given."""

        def once() -> T:
            engine = writing(self._engine)
            with Session(engine, expire_on_commit=False) as session, session.begin():
                if lease is not None:
                    lease.guard(session)
                return change(session)

        return patiently(self._engine, self._patience, once)

    @staticmethod
    def _add_evaluations(
        session: Session, study_id: int, evaluations: Sequence[Evaluation]
    ) -> None:
        if not evaluations:
            return
        known = select(EvaluationRow.fingerprint).where(EvaluationRow.study_id == study_id)
        there = set(session.scalars(known))
        session.add_all(
            evaluation_row(study_id, one) for one in evaluations if one.fingerprint not in there
        )

    @staticmethod
    def _add_images(
        session: Session, study_id: int, preview: str, images: Sequence[Image]
    ) -> None:
        known = set(session.scalars(select(ImageRow.place).where(ImageRow.preview == preview)))
        session.add_all(
            ImageRow(
                study_id=study_id,
                preview=preview,
                place=place,
                caption=image.caption,
                content=image.content,
            )
            for place, image in enumerate(images)
            if place not in known
        )


def _row_named(session: Session, id: str) -> ScheduleRow:
    found = session.scalars(
        select(ScheduleRow).where(ScheduleRow.content.startswith(id, autoescape=True)).limit(2)
    ).all()
    if len(found) != 1:
        raise UsageError(
            f"{'Several rows are' if found else 'No row is'} named {id}.",
            "Give more digits; `lambda-search best MODEL --all` shows them.",
        )
    return found[0]
