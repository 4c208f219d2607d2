"""Which rows stand: of a study the last, of a schedule measured again that on most images.

The best constant beside a study's row, its companion, is of the study's last where that one is.

Both rules compare rows of one setting alone. A study is known by its name and who drove it, since
others may have given theirs the same name; rows that this store measured for one study are one
study's, whoever drove it. What does not stand, or was taken back, stays in the record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import islice
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.schedule import LambdaSchedule
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow

__all__ = ["chunks", "mark_standing", "superseding"]

T = TypeVar("T")
_AT_ONCE = 500
"""Values in one statement; databases take some thousand."""


class _Known(NamedTuple):
    """What decides about a row."""

    id: int
    setting_id: int
    study_id: int | None
    study: str | None
    by: str
    b: float
    k: float
    status: str
    n: int
    stands: bool
    content: str
    companion: str | None
    worth: str | None


def mark_standing(session: Session, settings: Collection[int]) -> None:
    """Says of the rows of these settings which stand, after one was added or taken back."""
    for piece in chunks(sorted(settings)):
        of_setting: dict[int, list[_Known]] = defaultdict(list)
        for known in _known(session, piece):
            of_setting[known.setting_id].append(known)
        stands = {
            one: by is None
            for known_there in of_setting.values()
            for one, by in _superseded(known_there).items()
        }
        before = {one.id: one.stands for many in of_setting.values() for one in many}
        retracted = select(ScheduleRow.id).join(RetractionRow)
        query = retracted.where(ScheduleRow.setting_id.in_(piece), ScheduleRow.stands)
        changed = dict.fromkeys(session.scalars(query), False)
        changed |= {one: now for one, now in stands.items() if before[one] != now}
        if changed:
            session.execute(
                update(ScheduleRow), [{"id": one, "stands": now} for one, now in changed.items()]
            )


def superseding(session: Session, row: ScheduleRow) -> int | None:
    """The row, by its id in the table, that stands instead of `row`; None if it stands itself."""
    found = _superseded(_known(session, [row.setting_id]))
    instead = found.get(row.id)
    while instead is not None and found[instead] is not None:
        instead = found[instead]
    return instead


def take_back_companions(session: Session, reasons: Mapping[str, str]) -> None:
    """Takes back the best constants that were proven with rows, on the same images.

    Arguments:
        session: the store's.
        reasons: why rows were taken back, by their ids.
    """
    own = ScheduleRow.provenance["companion"].as_string()
    for ids in chunks(reasons):
        query = select(ScheduleRow).outerjoin(RetractionRow).where(own.in_(ids))
        for one in session.scalars(query.where(RetractionRow.id.is_(None))).all():
            of = one.provenance["companion"]
            one.retraction = RetractionRow(reason=f"with row {of[:12]}: {reasons[of]}")
    session.flush()


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """`values` in pieces that one statement takes."""
    rest = iter(values)
    while piece := list(islice(rest, _AT_ONCE)):
        yield piece


def _known(session: Session, settings: Sequence[int]) -> list[_Known]:
    """The rows of these settings that were not taken back, the newest first."""
    table = ScheduleRow
    query = (
        select(
            table.id,
            table.setting_id,
            table.study_id,
            table.provenance["study"].as_string(),
            table.origin_by,
            table.b,
            table.k,
            table.status,
            table.n,
            table.stands,
            table.content,
            table.provenance["companion"].as_string(),
            table.provenance["worth"].as_string(),
        )
        .outerjoin(RetractionRow)
        .where(table.setting_id.in_(settings), RetractionRow.id.is_(None))
        .order_by(table.created.desc(), table.id.desc())
    )
    return [_Known(*one) for one in session.execute(query)]


def _superseded(rows: Sequence[_Known]) -> dict[int, int | None]:
    """For each row of a setting the one that stands instead of it; None if it stands.

    Arguments:
        rows: the newest first.
    """
    owners = {(one.study, one.by): one.study_id for one in rows if one.study_id is not None}
    last: dict[Any, _Known] = {}
    last_of_both: dict[Any, _Known] = {}
    found: dict[int, int | None] = {}
    for one in rows:
        if not one.companion:
            kept = last.setdefault(_study(one, owners), one)
            found[one.id] = None if kept is one else kept.id
            if one.worth is not None:
                last_of_both.setdefault(_study(one, owners), one)
    standing = list(last.values())
    for one in rows:
        if one.companion:
            own = last_of_both.get(_study(one, owners))
            stands = own is None or own.content == one.companion
            found[one.id] = None if own is None or stands else own.id
            standing += [one] * stands
    again: dict[tuple[str, str], _Known] = {}
    for one in standing:
        key = (str(LambdaSchedule(one.b, one.k)), one.status)
        before = again.get(key)
        if before is None or one.n > before.n:
            again[key] = one
    for one in standing:
        kept = again[str(LambdaSchedule(one.b, one.k)), one.status]
        found[one.id] = None if kept is one else kept.id
    return found


def _study(one: _Known, owners: Mapping[Any, int | None]) -> Any:
    """Names the study that a row is of; what is published, or of no study, is on its own."""
    if one.status == "published" or not (one.study or one.study_id):
        return "row", one.id
    if one.study_id is not None:
        return one.study_id
    named = one.study, one.by
    return owners.get(named, named)
