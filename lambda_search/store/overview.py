"""What a reader of the table is shown first: models by what is asked, each with its best rows."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy import ScalarSelect
from sqlalchemy import Select
from sqlalchemy import exists
from sqlalchemy import func
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm import aliased

from lambda_search.records import ModelFacts
from lambda_search.records import Row
from lambda_search.store.catalogue import UNKNOWN
from lambda_search.store.contests import GRADES
from lambda_search.store.mapping import row_of
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.transactions import Transactions

__all__ = ["Overview", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """What models and rows are looked for; what is empty is left open.

    Arguments:
        words: in the model's name, the hub's or the file's, or how its SHA-256 begins.
        framework, sampler, steps, status: of a row that stands.
    """

    words: str = ""
    framework: str = ""
    sampler: str = ""
    steps: int | None = None
    status: str = ""


class Overview(Transactions):
    """Reads models with their best rows, a bounded number at a time."""

    _words: tuple[Any, tuple[list[str], list[str]]] | None = None

    def models_found(self, wanted: Wanted, most: int, skip: int = 0) -> list[str]:
        """Models with a row that stands and is wanted, by name: at most so many of them."""
        query = _models(wanted).order_by(ModelRow.name).limit(most).offset(skip)
        return self.read(lambda session: list(session.scalars(query)))

    def how_many_models(self, wanted: Wanted) -> int:
        """How many models there are of those."""
        query = select(func.count()).select_from(_models(wanted).subquery())
        return self.read(lambda session: session.scalar(query) or 0)

    def best_rows(self, model: str, wanted: Wanted, most: int, skip: int = 0) -> list[Row]:
        """The best row of each contest of a model, by steps: at most so many of them."""
        first = _first(wanted)
        query = select(first).where(*_contest(wanted, model), first.is_not(None))
        if wanted.framework:
            query = query.where(ContestRow.fields["framework"].as_string() == wanted.framework)
        query = query.order_by(ContestRow.steps, ContestRow.id).limit(most).offset(skip)

        def found(session: Session) -> list[Row]:
            return [row_of(one) for one in _loaded(session, list(session.scalars(query)))]

        return self.read(found)

    def every_best_row(self, wanted: Wanted) -> Iterator[Row]:
        """The same of all models, by name and steps, for a file: few are in memory at a time."""
        done = 0
        while names := self.models_found(wanted, _AT_ONCE, done):
            done += len(names)
            for name in names:
                told = 0
                while rows := self.best_rows(name, wanted, _AT_ONCE, told):
                    told += len(rows)
                    yield from rows

    def rows_told(
        self, model: str, most: int, after: int | None = None
    ) -> tuple[list[tuple[Row, bool]], int | None]:
        """Rows of a model, each with whether it stands, the newest in this store first.

        Returns:
            The rows, and what `after` the next page has; None if this is the last.
        """
        # their ids alone are sorted; whole rows are large
        contests = select(ContestRow.id).where(ContestRow.model == model)
        query = select(ScheduleRow.id).where(ScheduleRow.contest_id.in_(contests))
        if after is not None:
            query = query.where(ScheduleRow.id < after)
        query = query.order_by(ScheduleRow.id.desc()).limit(most + 1)

        def found(session: Session) -> tuple[list[tuple[Row, bool]], int | None]:
            ids = list(session.scalars(query))
            more = ids[most - 1] if len(ids) > most else None
            rows = _loaded(session, ids[:most])
            return [(row_of(one), one.stands) for one in rows], more

        return self.read(found)

    def about(self, model: str) -> ModelFacts:
        """What is known of a model; nothing of one that nobody knows."""
        query = (
            select(ModelRow).where(ModelRow.name == model).order_by(ModelRow.id).limit(_AT_ONCE)
        )

        def found(session: Session) -> ModelFacts:
            known = session.scalars(query).all()

            def told(field: str) -> tuple[str, ...]:
                values = (getattr(one, field) for one in known)
                return tuple(dict.fromkeys(one for one in values if one and one != UNKNOWN))

            fields = (told(name) for name in ("framework", "weights", "hub", "file", "dataset"))
            return ModelFacts(model, *fields)

        return self.read(found)

    def contests_of(self, model: str) -> int:
        """How many best rows a model may have, over all settings."""
        query = select(func.count()).where(ContestRow.model == model)
        return self.read(lambda session: session.scalar(query) or 0)

    def words_known(self) -> tuple[list[str], list[str]]:
        """The frameworks and the samplers of which there are rows."""
        last = select(
            select(func.max(ContestRow.id)).scalar_subquery(),
            select(func.max(ModelRow.id)).scalar_subquery(),
        )
        queries = [
            select(column).distinct().order_by(column)
            for column in (ModelRow.framework, ContestRow.sampler)
        ]

        def found(session: Session) -> tuple[list[str], list[str]]:
            now = tuple(session.execute(last).one())
            if self._words is None or self._words[0] != now:  # no index has them: they are kept
                frameworks, samplers = (list(session.scalars(one)) for one in queries)
                self._words = now, (frameworks, samplers)
            return self._words[1]

        return self.read(found)

    @property
    def is_bare(self) -> bool:
        """Whether nothing was searched here, nor came from elsewhere: the catalogue is all."""
        own = (
            select(StudyRow.id).limit(1),
            select(ScheduleRow.id).where(ScheduleRow.grade != GRADES["published"]).limit(1),
        )
        return self.read(lambda session: all(session.scalar(one) is None for one in own))


_AT_ONCE = 100


def _loaded(session: Session, ids: Sequence[int]) -> list[ScheduleRow]:
    """Rows by their ids in the table, in the order of these."""
    rows = session.scalars(select(ScheduleRow).where(ScheduleRow.id.in_(ids)))
    known = {one.id: one for one in rows}
    return [known[id] for id in ids]


def _models(wanted: Wanted) -> Select[str]:
    """The names of models with a row that stands and is wanted, each once."""
    first = _first(wanted)
    here = exists(select(first.is_not(None)).where(*_contest(wanted), first.is_not(None)))
    query = select(ModelRow.name).where(here).distinct()
    if wanted.framework:
        query = query.where(ModelRow.framework == wanted.framework)
    if wanted.words:
        named = (ModelRow.name, ModelRow.hub, ModelRow.file)
        query = query.where(
            or_(
                *(column.icontains(wanted.words, autoescape=True) for column in named),
                ModelRow.weights.startswith(wanted.words.lower(), autoescape=True),
            )
        )
    return query


def _contest(wanted: Wanted, model: Any = ModelRow.name) -> Iterator[ColumnElement[bool]]:
    yield ContestRow.model == model
    if wanted.sampler:
        yield ContestRow.sampler == wanted.sampler
    if wanted.steps is not None:
        yield or_(ContestRow.steps == wanted.steps, ContestRow.length == wanted.steps)


def _first(wanted: Wanted) -> ScalarSelect[int]:
    """The best row of a contest that stands, of the status that is wanted: an index's first."""
    row = aliased(ScheduleRow)
    query = select(row.id).where(row.contest_id == ContestRow.id, row.stands)
    if wanted.status:
        query = query.where(row.grade == GRADES[wanted.status])
    query = query.order_by(row.grade, row.score, row.fewer, row.id).limit(1)
    return query.correlate(ContestRow).scalar_subquery()
