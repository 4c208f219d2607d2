"""Rows come into the lookup table: one that was measured, the catalogue, or a whole file."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.records import Row
from lambda_search.store.contests import contest_values
from lambda_search.store.mapping import schedule_values
from lambda_search.store.settings import insert_once
from lambda_search.store.settings import known_ids
from lambda_search.store.settings import setting_ids
from lambda_search.store.standing import chunks
from lambda_search.store.standing import mark_standing
from lambda_search.store.standing import take_back_companions
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow

__all__ = ["Added", "add_rows"]


class Added(NamedTuple):
    """What became of rows that were to be added, by their ids.

    Arguments:
        there: those that were there already.
        taken_back: of these, those that are taken back now.
    """

    there: frozenset[str]
    taken_back: frozenset[str]


def add_rows(
    session: Session,
    rows: Sequence[Row],
    study_id: int | None = None,
    entries: Mapping[str, str] | None = None,
) -> Added:
    """Adds rows that are not there yet, and what takes rows back; then says which rows stand.

    Arguments:
        session: a transaction that writes.
        rows: what is there already stays as it is, but that it may be taken back.
        study_id: the study of this store that measured them.
        entries: their names in the catalogue, by their ids.
    """
    named = {row.id: row for row in rows}
    there = known_ids(session, ScheduleRow, "content", named)
    new = {id: row for id, row in named.items() if id not in there}
    settings = setting_ids(session, ((row.setting, row.origins) for row in named.values()))
    contests = _contest_ids(session, new)
    for piece in chunks(new.items()):
        values = [
            schedule_values(row)
            | {
                "setting_id": settings[row.setting.digest],
                "contest_id": contests[id],
                "study_id": study_id,
                "entry": (entries or {}).get(id),
            }
            for id, row in piece
        ]
        insert_once(session, ScheduleRow, values, "content")
    taken_back = _take_back(session, {id: row for id, row in named.items() if row.retraction})
    mark_standing(session, set(settings.values()))
    return Added(frozenset(there), taken_back & there.keys())


def _contest_ids(session: Session, rows: Mapping[str, Row]) -> dict[str, int]:
    """The contests that rows take part in, by the rows' ids; those that are new are made."""
    values = {id: contest_values(row) for id, row in rows.items()}
    by_digest = {one["digest"]: one for one in values.values()}
    ids = known_ids(session, ContestRow, "digest", by_digest)
    for piece in chunks(one for digest, one in by_digest.items() if digest not in ids):
        insert_once(session, ContestRow, piece, "digest")
    ids = known_ids(session, ContestRow, "digest", by_digest)
    return {id: ids[one["digest"]] for id, one in values.items()}


def _take_back(session: Session, rows: Mapping[str, Row]) -> frozenset[str]:
    """Takes rows back as they say; the ids of those that were not taken back before."""
    ids = known_ids(session, ScheduleRow, "content", rows)
    before: set[int] = set()
    for numbers in chunks(ids.values()):
        query = select(RetractionRow.schedule_id).where(RetractionRow.schedule_id.in_(numbers))
        before |= set(session.scalars(query))
    new = {id: number for id, number in ids.items() if number not in before}
    values = [
        {"schedule_id": number, "reason": told.reason, "at": told.at}
        for id, number in new.items()
        if (told := rows[id].retraction) is not None
    ]
    for piece in chunks(values):
        insert_once(session, RetractionRow, piece, "schedule_id")
    why = {id: rows[id].retraction for id in new}
    take_back_companions(session, {id: one.reason for id, one in why.items() if one is not None})
    return frozenset(new)
