"""Rows of the lookup table as they are asked for; each question is answered through an index."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.errors import UnknownName
from lambda_search.errors import UsageError
from lambda_search.records import Row
from lambda_search.setting import Setting
from lambda_search.shell import command
from lambda_search.store import contests
from lambda_search.store.asked import agrees
from lambda_search.store.contests import Near
from lambda_search.store.mapping import row_of
from lambda_search.store.question import Question
from lambda_search.store.standing import chunks
from lambda_search.store.standing import superseding
from lambda_search.store.surroundings import Surroundings
from lambda_search.store.surroundings import around
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.transactions import Transactions

__all__ = ["LookupRecords", "row_named"]

_BY_IDS = select(ScheduleRow).where(ScheduleRow.id.in_(bindparam("ids", expanding=True)))


class LookupRecords(Transactions):
    """Finds rows."""

    def row(self, id: str) -> Row:
        """The row whose id begins with `id`, retracted and superseded ones too.

        Raises:
            UsageError: if there is none, or several.
        """
        return self.read(lambda session: row_of(row_named(session, id)))

    def instead_of(self, id: str) -> Row | None:
        """The row that stands instead of the one whose id begins with `id`; None if it stands."""

        def query(session: Session) -> Row | None:
            instead = superseding(session, row_named(session, id))
            return None if instead is None else row_of(session.get_one(ScheduleRow, instead))

        return self.read(query)

    def constant(self, setting: Setting) -> Row | None:
        """The best row that stands in exactly this setting with one λ for all steps, not 1."""
        one = ScheduleRow
        query = (
            select(one)
            .join(SettingRow, SettingRow.id == one.setting_id)
            .where(SettingRow.digest == setting.digest, one.stands, one.k == 0, one.b != 1)
            .order_by(one.grade, one.score, one.fewer, one.id)
            .limit(1)
        )

        def ask(session: Session) -> Row | None:
            found = session.scalars(query).first()
            return None if found is None else row_of(found)

        return self.read(ask)

    def models_of(self, weights: str) -> list[str]:
        """The names of models whose weights have this SHA-256."""
        query = select(ModelRow.name).where(ModelRow.weights == weights).order_by(ModelRow.name)
        return self.read(lambda session: list(session.scalars(query)))

    def firsts(self, model: str, wanted: Mapping[str, Any]) -> list[Row]:
        """The best row of each contest that is asked for, the best first."""

        def query(session: Session) -> list[Row]:
            return _best_first(contests.firsts(session, Question.of(model, wanted)))

        return self._agreeing(model, wanted, query)

    def competing(self, model: str, wanted: Mapping[str, Any]) -> list[Row]:
        """All rows that stand and are asked for, the best first."""

        def query(session: Session) -> list[Row]:
            return _loaded(session, contests.competing(session, Question.of(model, wanted)))

        return self._agreeing(model, wanted, query)

    def competing_page(
        self, model: str, wanted: Mapping[str, Any], most: int, skip: int, by_steps: bool = False
    ) -> tuple[list[Row], int]:
        """Some of `competing`, in its order or by steps first, and how many there are in all.

        Of names with a fingerprint perhaps a few less, and the number a few too large.
        """
        if not _is_unicode(model):
            return [], 0
        question = Question.of(model, wanted)

        def query(session: Session) -> tuple[list[Row], int]:
            ids = contests.competing_page(session, question, most, skip, by_steps)
            found = {one.id: one for one in session.scalars(_BY_IDS, {"ids": ids})}
            rows = [row_of(found[id]) for id in ids]
            return rows, contests.how_many(session, question)

        rows, total = self.read(query)
        return [row for row in rows if agrees(row, wanted)], total

    def how_many(self, model: str, wanted: Mapping[str, Any]) -> int:
        """How many rows `competing` has; of names with a fingerprint perhaps a few more."""
        if not _is_unicode(model):
            return 0
        question = Question.of(model, wanted)
        return self.read(lambda session: contests.how_many(session, question))

    def near(
        self,
        model: str,
        wanted: Mapping[str, Any],
        by: str,
        at: int,
        most: int | None = None,
    ) -> list[Near]:
        """Contests of a model near to a number of `steps` or of network evaluations (`nfe`)."""
        if not _is_unicode(model):
            return []
        question = Question.of(model, wanted)
        return self.read(lambda session: contests.near(session, question, by, at, most))

    def around(self, model: str, by: str, at: int, most: int) -> Surroundings:
        """What a miss of `model` at a number of `steps` or evaluations (`nfe`) is told about."""
        if not _is_unicode(model):
            model, most = "", 0
        return self.read(lambda session: around(session, model, by, at, most))

    def best_of(self, ids: Sequence[int], wanted: Mapping[str, Any]) -> list[Row]:
        """The best row of each of these contests with the options asked for, the best first."""
        question = Question.of("", wanted)

        def query(session: Session) -> list[Row]:
            found = (contests.best_of(session, piece, question) for piece in chunks(ids))
            return _loaded(session, [id for piece in found for id in piece])

        return self.read(query)

    def rows_of(self, ids: Sequence[int], wanted: Mapping[str, Any]) -> list[Row]:
        """All rows of these contests that stand and have the options asked for, best first."""
        question = Question.of("", wanted)

        def query(session: Session) -> list[Row]:
            return _loaded(session, contests.rows_of(session, ids, question))

        return self.read(query)

    def models(self) -> list[str]:
        """The names of models that have rows."""
        return self.read(contests.models_with_rows)

    def lookup_rows(self, model: str | None = None) -> list[Row]:
        """The rows of a model (of all unless given) that were not taken back, newest first."""
        if model is not None and not _is_unicode(model):
            return []
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

    def all_rows(self, model: str | None = None) -> Iterator[Row]:
        """Every row of a model, or of all, superseded and retracted ones too; the oldest first.

        The order follows from the rows alone, so it is the same in every store.
        """
        query = select(ScheduleRow.id).order_by(ScheduleRow.created, ScheduleRow.content)
        if model is not None:
            query = query.join(SettingRow).join(ModelRow).where(ModelRow.name == model)
        for piece in chunks(self.read(lambda session: session.scalars(query).all())):
            yield from self.read(partial(_in_order, piece))

    def _agreeing(
        self, model: str, wanted: Mapping[str, Any], query: Callable[[Session], list[Row]]
    ) -> list[Row]:
        """What `query` finds and agrees; SQL takes names too generously."""
        if not _is_unicode(model):
            return []  # no database has such a name
        return [row for row in self.read(query) if agrees(row, wanted)]


def row_named(session: Session, id: str) -> ScheduleRow:
    """The row whose id begins with `id`: a range of the index, since g comes after f.

    Raises:
        UsageError: if there is none, or several.
    """
    column, start = ScheduleRow.content, id.lower()
    found: Sequence[ScheduleRow] = []
    if re.fullmatch("[0-9a-f]{1,64}", start):
        query = select(ScheduleRow).where(column >= start, column < f"{start}g")
        found = session.scalars(query.limit(2)).all()
    if len(found) != 1:
        raise (UsageError if found else UnknownName)(
            f"{'Several rows are' if found else 'No row is'} named {id}.",
            f"Give more digits; rows are shown by: {command('best', 'MODEL', '--all')}",
        )
    return found[0]


def _in_order(ids: Sequence[int], session: Session) -> list[Row]:
    """Rows by their ids in the table, in the order of these."""
    found = {one.id: row_of(one) for one in session.scalars(_BY_IDS, {"ids": ids})}
    return [found[id] for id in ids]


def _loaded(session: Session, ids: Sequence[int]) -> list[Row]:
    """Rows by their ids in the table, the best first."""
    pieces = (session.scalars(_BY_IDS, {"ids": piece}) for piece in chunks(ids))
    return _best_first([one for piece in pieces for one in piece])


def _best_first(rows: Sequence[ScheduleRow]) -> list[Row]:
    ordered = sorted(rows, key=lambda one: (one.grade, one.score, one.fewer, one.id))
    return [row_of(one) for one in ordered]


def _is_unicode(name: str) -> bool:
    """Whether it is no stray bytes, which a shell without UTF-8 hands over."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
