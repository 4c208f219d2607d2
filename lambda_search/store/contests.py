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
from sqlalchemy import bindparam
from sqlalchemy import exists
from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import union
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


def firsts(session: Session, question: Question) -> list[int]:
    """The best row of each contest that is asked for, by its id in the table."""
    found = session.scalars(_firsts(question.contest, question.options), question.values)
    return [one for one in found if one is not None]


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
    values = {**question.values, "at": at, "most": most}
    sides = (_beside(question.contest, by, above, most is None) for above in (True, False))
    return [Near(*one) for side in sides for one in session.execute(side, values)]


def models_with_rows(session: Session) -> list[str]:
    """The names of models that have rows."""
    return list(session.scalars(_models()))


@cache
def _contests(shape: _Shape) -> Select[int]:
    """The contests of a question."""
    found = select(ContestRow.id)
    asked = dict(shape)
    if "steps" in asked:  # one index after the other: of an OR, SQLite uses neither
        model = condition("model", "is", ContestRow.model)
        both = (
            select(ContestRow.id).where(model, condition("steps", "is", column))
            for column in (ContestRow.steps, ContestRow.length)
        )
        found = found.where(ContestRow.id.in_(union(*both)))
        del asked["steps"], asked["model"]
    for name, how in asked.items():
        told = (
            getattr(ContestRow, name) if name in COLUMNS else ContestRow.fields[name].as_string()
        )
        found = found.where(condition(name, how, told))
    return found


@cache
def _firsts(contest: _Shape, options: _Shape) -> Select[int]:
    return _contests(contest).with_only_columns(_first(options))


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
def _beside(contest: _Shape, by: str, above: bool, all_of_them: bool) -> Select[Any]:
    """Contests on one side of a count, the nearest first, each with its best row."""
    column, first = getattr(ContestRow, by), ScheduleRow
    at = bindparam("at", type_=Integer)
    query = _contests(contest).with_only_columns(
        ContestRow.id,
        ContestRow.steps,
        ContestRow.nfe,
        ContestRow.sampler,
        ContestRow.fields["guidance"].as_string(),
        ContestRow.fields,
        first.content,
        first.b,
        first.k,
        first.fid,
        first.status,
    )
    query = query.join_from(ContestRow, first, first.id == _first(()))
    query = query.where(column >= at if above else column < at)
    query = query.order_by(column if above else column.desc(), ContestRow.id)
    return query if all_of_them else query.limit(bindparam("most", type_=Integer))


@cache
def _models() -> Select[str]:
    known = exists().where(ContestRow.model == ModelRow.name)
    return select(ModelRow.name).where(known).distinct().order_by(ModelRow.name)


def _first(options: _Shape) -> ScalarSelect[int]:
    """The best row of a contest: the first entry of an index, where no option is asked for."""
    row = aliased(ScheduleRow)
    best = (row.grade, row.score, row.fewer, row.id)
    one = _with_options(select(row.id).where(row.stands), row, options)
    here = one.where(row.contest_id == ContestRow.id).order_by(*best).limit(1)
    return here.correlate(ContestRow).scalar_subquery()


def _with_options(rows: Select[int], row: Any, options: _Shape) -> Select[int]:
    if not options:
        return rows
    rows = rows.join(SettingRow, SettingRow.id == row.setting_id)
    told = SettingRow.options
    return rows.where(*(condition(name, how, told[name].as_string()) for name, how in options))


def _spelled(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: spelled(value) for name, value in values.items()}
