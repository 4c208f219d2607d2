"""Contests: what a lookup asks for, and the rows that answer, found through an index.

Rows of one contest can be ranked against each other, so its first row is an index's first entry
however many it has. What is asked for is compared in SQL as text: every value has one spelling.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from sqlalchemy import ColumnElement
from sqlalchemy import Select
from sqlalchemy import exists
from sqlalchemy import func
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy import union
from sqlalchemy.orm import Session

from lambda_search.records import Row
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.setting import canonical
from lambda_search.setting import fingerprint
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow

__all__ = [
    "BEST_FIRST",
    "GRADES",
    "Near",
    "asked",
    "competing",
    "contest_values",
    "firsts",
    "models_with_rows",
    "near",
    "option_values",
    "spelled",
]

GRADES = {"confirmed": 0, "published": 1, "measured": 2}
_COLUMNS = {"model", "sampler", "steps", "nfe"}
BEST_FIRST = (
    ScheduleRow.grade,
    ScheduleRow.score,
    ScheduleRow.fewer,
    ScheduleRow.id,
)
"""The order of `best`; that of an index too."""


class Near(NamedTuple):
    """What tells how far a contest is from what is asked; `guidance` as it is spelled."""

    id: int
    steps: int
    nfe: int
    sampler: str
    guidance: str | None


def spelled(value: Any) -> str:
    """The one text of a value; numbers that are equal have the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return canonical(value) if isinstance(value, bool | list | dict) else str(value)


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


def firsts(session: Session, contests: Select[int], wanted: Mapping[str, Any]) -> list[int]:
    """The best row of each contest, by its id in the table.

    Arguments:
        session: the store's.
        contests: the ids of contests, as `asked` selects them.
        wanted: what is asked for; options of the sampler decide between a contest's rows.
    """
    best = (
        _standing(wanted)
        .where(ScheduleRow.contest_id == ContestRow.id)
        .order_by(*BEST_FIRST)
        .limit(1)
        .correlate(ContestRow)
        .scalar_subquery()
    )
    found = session.scalars(contests.with_only_columns(best))
    return [one for one in found if one is not None]


def competing(contests: Select[int], wanted: Mapping[str, Any]) -> Select[int]:
    """All rows of contests that are asked for, by their ids in the table."""
    return _standing(wanted).where(ScheduleRow.contest_id.in_(contests))


def asked(model: str, wanted: Mapping[str, Any]) -> Select[int]:
    """The contests that are asked for; by names with a fingerprint perhaps a few too many."""
    query = select(ContestRow.id).where(ContestRow.model == model)
    if "steps" in wanted:  # one index after the other: of an OR, SQLite uses neither
        by_steps, by_length = (
            select(ContestRow.id).where(ContestRow.model == model, column == wanted["steps"])
            for column in (ContestRow.steps, ContestRow.length)
        )
        query = select(ContestRow.id).where(ContestRow.id.in_(union(by_steps, by_length)))
    if "nfe" in wanted:
        query = query.where(ContestRow.nfe == wanted["nfe"])
    if "sampler" in wanted:
        query = query.where(_is_sampler(str(wanted["sampler"])))
    for name in sorted(set(wanted) - _COLUMNS - _options(wanted)):
        query = query.where(_fits(name, ContestRow.fields[name].as_string(), wanted[name]))
    return query


def near(
    session: Session, contests: Select[int], by: str, at: int, most: int | None = None
) -> list[Near]:
    """Contests in which a row stands, the nearest by `steps` or `nfe` above and below `at`.

    Arguments:
        session: the store's.
        contests: among these.
        by, at: what is compared.
        most: how many on either side; all unless given.
    """
    column = getattr(ContestRow, by)
    told = ContestRow.fields["guidance"].as_string()
    answers = exists().where(ScheduleRow.contest_id == ContestRow.id, ScheduleRow.stands)
    query = contests.with_only_columns(
        ContestRow.id, ContestRow.steps, ContestRow.nfe, ContestRow.sampler, told
    )
    query = query.where(answers).limit(most)
    above = session.execute(query.where(column >= at).order_by(column)).all()
    below = session.execute(query.where(column < at).order_by(column.desc())).all()
    return [Near(*one) for one in (*above, *below)]


def models_with_rows(session: Session) -> list[str]:
    """The names of models that have rows."""
    known = exists().where(ContestRow.model == ModelRow.name)
    query = select(ModelRow.name).where(known).distinct().order_by(ModelRow.name)
    return list(session.scalars(query))


def _is_sampler(name: str) -> ColumnElement[bool]:
    """`scheduler` is any class of them."""
    if name == "scheduler":
        return ContestRow.sampler.endswith("Scheduler", autoescape=True)
    return ContestRow.sampler == name


def _options(wanted: Iterable[str]) -> set[str]:
    """Which of the names asked for are options of the sampler."""
    return set(wanted) & set(SamplerOptions().told())


def _standing(wanted: Mapping[str, Any]) -> Select[int]:
    """Rows that stand, with the options that are asked for."""
    query = select(ScheduleRow.id).where(ScheduleRow.stands)
    options = sorted(_options(wanted))
    if not options:
        return query
    same = (_is(SettingRow.options[name].as_string(), wanted[name]) for name in options)
    return query.join(SettingRow, SettingRow.id == ScheduleRow.setting_id).where(*same)


def _fits(name: str, told: ColumnElement[str], value: Any) -> ColumnElement[bool]:
    match name:
        case "guidance":
            return _is(told, None if value == 1 else value)
        case "weights" | "definition":
            return _starts(told, str(value))
        case "extractor" | "reference":
            label, mark, digits = str(value).partition("@")
            if not label:
                return told.contains(f"@{digits}", autoescape=True)
            if mark and digits:
                return _starts(told, f"{label}@{digits}")
            starts = _starts(told, f"{label}@")
            ends = told.endswith(f"@{label}", autoescape=True)
            return or_(told == label, starts) if mark else or_(told == label, starts, ends)
    return _is(told, value)


def _starts(told: ColumnElement[str], start: str) -> ColumnElement[bool]:
    return func.substr(told, 1, len(start)) == start  # LIKE takes capitals for others in SQLite


def _is(told: ColumnElement[str], value: Any) -> ColumnElement[bool]:
    return told.is_(None) if value is None else told == spelled(value)


def _spelled(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: spelled(value) for name, value in values.items()}
