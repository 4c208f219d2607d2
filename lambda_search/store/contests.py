"""Contests: what a lookup asks for, and the rows that answer, found through an index.

Rows of one contest can be ranked against each other, so its first row is an index's first entry
however many it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from functools import cache
from typing import Any
from typing import NamedTuple

from sqlalchemy import Integer
from sqlalchemy import ScalarSelect
from sqlalchemy import Select
from sqlalchemy import any_
from sqlalchemy import bindparam
from sqlalchemy import exists
from sqlalchemy import func
from sqlalchemy import literal_column
from sqlalchemy import select
from sqlalchemy import union_all
from sqlalchemy.orm import Session
from sqlalchemy.orm import aliased

from lambda_search.records import Row
from lambda_search.setting import Setting
from lambda_search.setting import fingerprint
from lambda_search.store.question import COLUMNS
from lambda_search.store.question import Question
from lambda_search.store.question import condition
from lambda_search.store.question import spelled
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow

__all__ = [
    "GRADES",
    "Near",
    "beside",
    "best_of",
    "competing",
    "competing_page",
    "contest_values",
    "firsts",
    "how_many",
    "models_with_rows",
    "near",
    "option_values",
    "rows_of",
]

GRADES = {"confirmed": 0, "published": 1, "measured": 2}
_Shape = tuple[tuple[str, str], ...]
_ONE = literal_column("1", Integer)
"""As a parameter, PostgreSQL would take it for a tenth of all."""


class Near(NamedTuple):
    """What tells how far a contest is from what is asked, and its best row in a few words.

    `guidance` is spelled as in a question; `fields` are the contest's.
    """

    contest: int
    steps: int
    nfe: int
    sampler: str
    guidance: str | None
    fields: Mapping[str, str]
    content: str
    b: float
    k: float
    fid: float
    status: str


def option_values(setting: Setting) -> dict[str, str]:
    """The sampler's options that are set."""
    return _spelled(setting.options.model_dump(mode="json", exclude_none=True))


def contest_values(row: Row) -> dict[str, Any]:
    """The contest that a row takes part in, by column."""
    setting = row.setting
    told = setting.model_dump(mode="json", exclude={"options"}, exclude_none=True)
    fields = _spelled(told | {"sampler": setting.solver})
    published, length = row.status == "published", len(row.lambdas)
    return {
        "digest": fingerprint([fields, length, published]),
        "published": published,
        "model": setting.model,
        "sampler": setting.solver,
        "steps": setting.steps,
        "length": length,
        "nfe": row.nfe,
        "fields": fields,
    }


def firsts(session: Session, question: Question) -> Sequence[ScheduleRow]:
    """The best row of each contest that is asked for."""
    query = _firsts(question.contest, question.options, session.get_bind().dialect.name)
    return session.scalars(query, question.values).all()


def best_of(session: Session, contests: Sequence[int], question: Question) -> list[int]:
    """The same of these contests alone; of the question, its options count."""
    values = {**question.values, "contests": contests}
    found = session.scalars(_best_of(question.options), values)
    return [one for one in found if one is not None]


def rows_of(session: Session, contests: Sequence[int], question: Question) -> Sequence[int]:
    """All rows of these contests that stand, by their ids in the table; options count."""
    values = {**question.values, "contests": contests}
    return session.scalars(_rows_of(question.options), values).all()


def competing(session: Session, question: Question) -> Sequence[int]:
    """All rows that stand and are asked for, by their ids in the table."""
    return session.scalars(_competing(question.contest, question.options), question.values).all()


def competing_page(
    session: Session, question: Question, most: int, skip: int, by_steps: bool
) -> Sequence[int]:
    """Some of these in order: the best first, or those of few steps."""
    row, first = ScheduleRow, []
    query = _competing(question.contest, question.options)
    if by_steps:
        query = query.join(ContestRow, ContestRow.id == row.contest_id)
        first = [ContestRow.steps]
    query = query.order_by(*first, row.grade, row.score, row.fewer, row.id)
    return session.scalars(query.limit(most).offset(skip), question.values).all()


def how_many(session: Session, question: Question) -> int:
    """How many rows `competing` finds."""
    query = _competing(question.contest, question.options).with_only_columns(func.count())
    return session.scalar(query, question.values) or 0


def near(
    session: Session, question: Question, by: str, at: int, most: int | None = None
) -> list[Near]:
    """Contests in which a row stands, the nearest by `steps` or `nfe` above and below `at`.

    Arguments:
        session: the store's.
        question: among these contests.
        by, at: what is compared.
        most: how many on either side; all unless given.
    """
    values = {**question.values, "at": at}
    sides = (beside(question.contest, by, above, most) for above in (True, False))
    return [Near(*one) for side in sides for one in session.execute(side, values)]


def models_with_rows(session: Session) -> list[str]:
    """The names of models that have rows."""
    return list(session.scalars(_models()))


@cache
def _contests(shape: _Shape) -> Select[int]:
    """The contests of a question."""
    pieces = _pieces(shape)
    if len(pieces) == 1:
        return pieces[0]
    return select(ContestRow.id).where(ContestRow.id.in_(union_all(*pieces)))


@cache
def _pieces(shape: _Shape) -> list[Select[int]]:
    """The same in pieces, each found by an index; of an OR, SQLite uses none."""
    asked = dict(shape)
    told = {
        name: getattr(ContestRow, name) if name in COLUMNS else ContestRow.fields[name].as_string()
        for name in asked
    }
    every = [condition(name, how, told[name]) for name, how in asked.items() if name != "steps"]
    found = select(ContestRow.id).where(*every)
    if "steps" not in asked:
        return [found]
    asked_for, real = (
        condition("steps", "is", column) for column in (ContestRow.steps, ContestRow.length)
    )
    return [found.where(asked_for), found.where(real, ~asked_for)]


@cache
def _firsts(contest: _Shape, options: _Shape, dialect: str) -> Select[ScheduleRow]:
    """Rows by their ids.

    PostgreSQL has them as an array: how many rows it expects does then not depend on the values,
    so that one plan serves for most, and to plan takes longer than to answer.
    """
    first = _first(options)
    ids = union_all(*(piece.with_only_columns(first) for piece in _pieces(contest)))
    if dialect == "sqlite":
        return select(ScheduleRow).where(ScheduleRow.id.in_(ids))
    return select(ScheduleRow).where(ScheduleRow.id == any_(func.array(ids.scalar_subquery())))


@cache
def _best_of(options: _Shape) -> Select[int]:
    these = ContestRow.id.in_(bindparam("contests", expanding=True))
    return select(_first(options)).select_from(ContestRow).where(these)


@cache
def _rows_of(options: _Shape) -> Select[int]:
    these = ScheduleRow.contest_id.in_(bindparam("contests", expanding=True))
    standing = select(ScheduleRow.id).where(ScheduleRow.stands, these)
    return _with_options(standing, ScheduleRow, options)


@cache
def _competing(contest: _Shape, options: _Shape) -> Select[int]:
    standing = select(ScheduleRow.id).where(ScheduleRow.stands)
    found = _with_options(standing, ScheduleRow, options)
    return found.where(ScheduleRow.contest_id.in_(_contests(contest)))


@cache
def beside(contest: _Shape, by: str, above: bool, most: int | None) -> Select[Any]:
    """Contests on one side of a count, the nearest first, each with its best row.

    They are put in order before their rows are looked for, so that few are if few are wanted.
    """
    column, at = getattr(ContestRow, by), bindparam("at", type_=Integer)
    side = _contests(contest).with_only_columns(ContestRow)
    side = side.where(column >= at if above else column < at)
    side = side.order_by(column if above else column.desc(), ContestRow.id)
    near, first = aliased(ContestRow, side.subquery("near")), ScheduleRow
    query = select(
        near.id.label("contest"),
        near.steps,
        near.nfe,
        near.sampler,
        near.fields["guidance"].as_string().label("guidance"),
        near.fields,
        first.content,
        first.b,
        first.k,
        first.fid,
        first.status,
    )
    query = query.join_from(near, first, first.id == _first((), near))
    column = getattr(near, by)
    query = query.order_by(column if above else column.desc(), near.id)
    return query if most is None else query.limit(literal_column(str(most), Integer))


@cache
def _models() -> Select[str]:
    known = exists().where(ContestRow.model == ModelRow.name)
    return select(ModelRow.name).where(known).distinct().order_by(ModelRow.name)


def _first(options: _Shape, contest: Any = ContestRow) -> ScalarSelect[int]:
    """The best row of a contest: the first entry of an index, where no option is asked for."""
    row = aliased(ScheduleRow)
    best = (row.grade, row.score, row.fewer, row.id)
    one = _with_options(select(row.id).where(row.stands), row, options)
    here = one.where(row.contest_id == contest.id).order_by(*best).limit(_ONE)
    return here.correlate(contest).scalar_subquery()


def _with_options(rows: Select[int], row: Any, options: _Shape) -> Select[int]:
    if not options:
        return rows
    rows = rows.join(SettingRow, SettingRow.id == row.setting_id)
    told = SettingRow.options
    return rows.where(*(condition(name, how, told[name].as_string()) for name, how in options))


def _spelled(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: spelled(value) for name, value in values.items()}
