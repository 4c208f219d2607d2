"""Studies, their trials and evaluations, and what happened, as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import UnknownName
from lambda_search.records import Evaluation
from lambda_search.records import Event
from lambda_search.records import Image
from lambda_search.records import Round
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.records import WarmStart
from lambda_search.store import leases
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.leases import Lease
from lambda_search.store.mapping import evaluation_of
from lambda_search.store.mapping import evaluation_row
from lambda_search.store.mapping import event_of
from lambda_search.store.mapping import round_of
from lambda_search.store.mapping import round_values
from lambda_search.store.mapping import study_of
from lambda_search.store.mapping import trial_of
from lambda_search.store.mapping import trial_row
from lambda_search.store.settings import insert_once
from lambda_search.store.tables import AttemptRow
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import EventRow
from lambda_search.store.tables import ImageRow
from lambda_search.store.tables import RoundRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow
from lambda_search.store.transactions import Transactions

__all__ = ["StudyRecords", "add_images"]


class StudyRecords(Transactions):
    """Reads studies, and writes what a driver finds out under its lease."""

    def study(self, name: str) -> Study:
        """The study `name`.

        Raises:
            UnknownName: if there is none.
        """

        def query(session: Session) -> Study:
            study = session.scalar(select(StudyRow).where(StudyRow.name == name))
            if study is None:
                names = session.scalars(
                    select(StudyRow.name).order_by(StudyRow.updated.desc()).limit(8)
                )
                known = ", ".join(names) or "none yet"
                raise UnknownName(f"There is no study '{name}'.", f"Studies: {known}.")
            return study_of(study)

        return self.read(query)

    def studies(self) -> list[Study]:
        """All studies, the latest first."""
        query = select(StudyRow).order_by(StudyRow.updated.desc(), StudyRow.id.desc())
        return self.read(lambda session: [study_of(one) for one in session.scalars(query)])

    def waiting(self) -> list[tuple[str, str, str]]:
        """Name, file and state of the studies that wait or run, the latest first."""
        query = (
            select(StudyRow.name, StudyRow.spec, StudyRow.state)
            .where(StudyRow.state.in_(("queued", "running")))
            .order_by(StudyRow.updated.desc(), StudyRow.id.desc())
        )
        return self.read(lambda session: [(*one,) for one in session.execute(query)])

    def is_driven(self, study: Study) -> bool:
        """Whether a living driver is at work on the study."""

        def query(session: Session) -> bool:
            row = session.get_one(StudyRow, study.id)
            return leases.is_driven(row, database_seconds(session.connection()))

        return study.state == "running" and self.read(query)

    # Trials and evaluations

    def trials(self, study_id: int) -> list[Trial]:
        """The trials of a study in order."""
        query = select(TrialRow).where(TrialRow.study_id == study_id).order_by(TrialRow.number)
        return self.read(lambda session: [trial_of(one) for one in session.scalars(query)])

    def begin_at(self, lease: Lease, start: WarmStart) -> None:
        """Commits where a search begins, before its first trials are proposed."""

        def change(session: Session) -> None:
            session.get_one(StudyRow, lease.study_id).warm_start = asdict(start)

        self.write(change, lease)

    def propose(self, lease: Lease, trials: Sequence[Trial]) -> None:
        """Commits a generation before its first shard runs."""

        def change(session: Session) -> None:
            _add_trials(session, lease.study_id, trials)

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
            _add_evaluations(session, lease.study_id, evaluations)
            _end_trials(session, lease.study_id, ended)

        self.write(change, lease)

    # Rounds

    def rounds(self, study_id: int) -> list[Round]:
        """The rounds of a study in order."""
        query = select(RoundRow).where(RoundRow.study_id == study_id).order_by(RoundRow.number)
        return self.read(lambda session: [round_of(one) for one in session.scalars(query)])

    def begin_round(self, lease: Lease, begun: Round, new: Sequence[Trial] = ()) -> None:
        """Commits a round and those of its trials that are new, before its first shard runs."""

        def change(session: Session) -> None:
            _add_trials(session, lease.study_id, new)
            named = {"study_id": lease.study_id} | round_values(begun)
            insert_once(session, RoundRow, named, "study_id", "number")

        self.write(change, lease)

    def close_round(
        self,
        lease: Lease,
        closed: Round,
        evaluations: Sequence[Evaluation] = (),
        trials: Sequence[Trial] = (),
    ) -> None:
        """Keeps what a round said, its evaluations, and what is now known of its trials."""

        def change(session: Session) -> None:
            _add_evaluations(session, lease.study_id, evaluations)
            _end_trials(session, lease.study_id, trials)
            session.execute(
                update(RoundRow)
                .where(RoundRow.study_id == lease.study_id, RoundRow.number == closed.number)
                .values(round_values(closed))
            )

        self.write(change, lease)

    # Events

    def say(self, event: Event) -> None:
        """Keeps an event."""
        self.say_all([event])

    def say_all(self, events: Sequence[Event]) -> None:
        """Keeps events, in order."""
        names = {event.study for event in events}

        def change(session: Session) -> None:
            known = select(StudyRow.name, StudyRow.id).where(StudyRow.name.in_(names))
            ids = {name: study for name, study in session.execute(known)}
            there = select(EventRow.study_id, EventRow.at, EventRow.kind, EventRow.text).where(
                EventRow.study_id.in_(ids.values()), EventRow.at.in_({one.at for one in events})
            )
            known_events = {tuple(one) for one in session.execute(there)}
            session.add_all(
                EventRow(study_id=ids[one.study], kind=one.kind, text=one.text, at=one.at)
                for one in events
                if one.study in ids
                and (ids[one.study], one.at, one.kind, one.text) not in known_events
            )

        self.write(change)

    def events(self, name: str, after: int = 0, most: int | None = None) -> list[Event]:
        """The events of the study `name` with numbers above `after`, oldest first.

        Of many the last `most`; all unless given.
        """
        query = (
            select(EventRow)
            .join(StudyRow, StudyRow.id == EventRow.study_id)
            .where(StudyRow.name == name, EventRow.id > after)
            .order_by(EventRow.id.desc())
            .limit(most)
        )
        found = self.read(lambda session: [event_of(one, name) for one in session.scalars(query)])
        return found[::-1]

    def warnings(self) -> dict[int, list[str]]:
        """What studies were warned of in their last attempts, oldest first, by the study's id."""
        last = (
            select(AttemptRow.study_id, func.max(AttemptRow.began).label("began"))
            .group_by(AttemptRow.study_id)
            .subquery()
        )
        query = (
            select(EventRow.study_id, EventRow.text)
            .join(last, last.c.study_id == EventRow.study_id)
            .where(EventRow.kind == "warning", EventRow.at >= last.c.began)
            .order_by(EventRow.id)
        )
        found: dict[int, list[str]] = {}
        for study_id, text in self.read(lambda session: session.execute(query).all()):
            found.setdefault(study_id, []).append(text)
        return found


def _add_trials(session: Session, study_id: int, trials: Sequence[Trial]) -> None:
    """Adds those that the study does not have yet."""
    known = select(TrialRow.number).where(TrialRow.study_id == study_id)
    there = set(session.scalars(known))
    session.add_all(trial_row(study_id, one) for one in trials if one.number not in there)


def _end_trials(session: Session, study_id: int, trials: Sequence[Trial]) -> None:
    """Says how trials ended, or what is known of them after one more round."""
    for trial in trials:
        session.execute(
            update(TrialRow)
            .where(TrialRow.study_id == study_id, TrialRow.number == trial.number)
            .values(
                state=trial.state,
                n=trial.n,
                gain=trial.gain,
                fid=trial.fid,
                reason=trial.reason,
                finished=now(),
            )
        )


def _add_evaluations(session: Session, study_id: int, evaluations: Sequence[Evaluation]) -> None:
    """Adds those that the study does not have yet, with their pictures."""
    if not evaluations:
        return
    known = select(EvaluationRow.fingerprint).where(EvaluationRow.study_id == study_id)
    there = set(session.scalars(known))
    new = [one for one in evaluations if one.fingerprint not in there]
    session.add_all(evaluation_row(study_id, one) for one in new)
    for one in new:
        if one.picture is not None:
            image = Image(f"trial {one.trial}: its first images", one.picture)
            add_images(session, study_id, one.fingerprint, [image])


def add_images(session: Session, study_id: int, preview: str, images: Sequence[Image]) -> None:
    """Adds a preview's pictures; another study may have made the same, at the same time."""
    for place, image in enumerate(images):
        told = {"caption": image.caption, "content": image.content}
        named = {"study_id": study_id, "preview": preview, "place": place}
        insert_once(session, ImageRow, named | told, "preview", "place")
