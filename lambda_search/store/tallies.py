"""How many studies stand, a line each: a whole page in a constant number of queries.

The best trial of a study is that of `records.leading`: the one that leads by the last judgement of
its rounds, or else by gain on the most images that any of its ended trials was scored on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_
from sqlalchemy import func
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy import tuple_
from sqlalchemy.orm import Session
from sqlalchemy.orm import lazyload
from sqlalchemy.orm import load_only

from lambda_search.records import Study
from lambda_search.records.studies import Leading
from lambda_search.records.studies import leading_of
from lambda_search.schedule import LambdaSchedule
from lambda_search.store import leases
from lambda_search.store.clock import database_seconds
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import EventRow
from lambda_search.store.tables import RoundRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow
from lambda_search.store.transactions import Transactions

__all__ = ["Found", "Tallies", "Tally"]

_LEASE = (
    load_only(StudyRow.state, StudyRow.owner, StudyRow.lease_until),
    lazyload(StudyRow.setting),
    lazyload(StudyRow.attempts),
)

_ENDED = or_(
    TrialRow.state == "diverged", and_(TrialRow.state != "proposed", TrialRow.gain.is_not(None))
)
"""Not those that were only confirmed, nor what a search left open that goes on otherwise."""


@dataclass(frozen=True)
class Found:
    """A row in a line: its id, its λ(i) = b + k·i, and its status."""

    id: str
    schedule: LambdaSchedule
    status: str


@dataclass(frozen=True)
class Tally:
    """What there is of a study.

    Arguments:
        trials: how many have ended, of those that were measured or diverged.
        best: the leading one.
        row: the last row that it made.
        driven: whether a living driver is at work on it.
    """

    trials: int = 0
    best: Leading | None = None
    row: Found | None = None
    driven: bool = False


class Tallies(Transactions):
    """Counts what there is of studies."""

    def tallies(self, studies: Sequence[Study]) -> dict[int, Tally]:
        """What there is of each of these, by its id; in five queries, however many they are."""
        ids = [one.id for one in studies]

        def found(session: Session) -> dict[int, Tally]:
            counts, best = _counts(session, ids), _best(session, ids)
            rows, driven = _rows(session, ids), _driven(session, ids)
            return {
                id: Tally(counts.get(id, 0), best.get(id), rows.get(id), id in driven)
                for id in ids
            }

        return self.read(found)

    def mark(self, study: Study) -> tuple[int, ...]:
        """Another one whenever something was said, scored, proposed or ended in a study."""
        own = [
            select(func.max(table.id)).where(table.study_id == study.id)
            for table in (EventRow, EvaluationRow, TrialRow)
        ]
        ended = select(func.count()).where(
            TrialRow.study_id == study.id, TrialRow.state != "proposed"
        )
        query = select(*(one.scalar_subquery() for one in (*own, ended)))
        return self.read(lambda session: tuple(one or 0 for one in session.execute(query).one()))

    def driven(self) -> set[int]:
        """The ids of the studies that a living driver is at work on."""
        return self.read(_driven)


def _counts(session: Session, ids: Sequence[int]) -> dict[int, int]:
    query = (
        select(TrialRow.study_id, func.count())
        .where(TrialRow.study_id.in_(ids), _ENDED)
        .group_by(TrialRow.study_id)
    )
    return {id: count for id, count in session.execute(query)}


def _best(session: Session, ids: Sequence[int]) -> dict[int, Leading]:
    leads = tuple_(TrialRow.study_id, TrialRow.number).in_(_judged(session, ids))
    order = leads.desc(), TrialRow.n.desc(), TrialRow.gain.desc(), TrialRow.number
    place = func.row_number().over(partition_by=TrialRow.study_id, order_by=order)
    ranked = (
        select(TrialRow.study_id, TrialRow.b, TrialRow.k, TrialRow.gain, TrialRow.n)
        .add_columns(place.label("place"))
        .where(
            TrialRow.study_id.in_(ids),
            TrialRow.state != "proposed",
            TrialRow.n.is_not(None),
            TrialRow.gain.is_not(None),
        )
        .subquery()
    )
    query = select(ranked).where(ranked.c.place == 1)
    return {
        id: leading_of(LambdaSchedule(b, k), gain, n)
        for id, b, k, gain, n, _ in session.execute(query)
    }


def _judged(session: Session, ids: Sequence[int]) -> list[tuple[int, int]]:
    """The studies that have judged rounds, with the number of the trial that leads by the last."""
    last = (
        select(RoundRow.study_id, func.max(RoundRow.number))
        .where(RoundRow.study_id.in_(ids), RoundRow.judgement.is_not(None))
        .group_by(RoundRow.study_id)
    )
    query = select(RoundRow.study_id, RoundRow.judgement).where(
        tuple_(RoundRow.study_id, RoundRow.number).in_(last)
    )
    return [(id, told["best"]) for id, told in session.execute(query) if told is not None]


def _rows(session: Session, ids: Sequence[int]) -> dict[int, Found]:
    last = (
        select(func.max(ScheduleRow.id))
        .where(ScheduleRow.study_id.in_(ids))
        .group_by(ScheduleRow.study_id)
    )
    schedule = ScheduleRow.b, ScheduleRow.k
    query = select(ScheduleRow.study_id, ScheduleRow.content, *schedule, ScheduleRow.status)
    return {
        id: Found(content, LambdaSchedule(b, k), status)
        for id, content, b, k, status in session.execute(query.where(ScheduleRow.id.in_(last)))
        if id is not None
    }


def _driven(session: Session, ids: Sequence[int] | None = None) -> set[int]:
    clock = database_seconds(session.connection())
    held = and_(StudyRow.state == "running", StudyRow.lease_until > clock)
    query = select(StudyRow).where(held).options(*_LEASE)
    if ids is not None:
        query = query.where(StudyRow.id.in_(ids))
    return {one.id for one in session.scalars(query) if leases.is_driven(one, clock)}
