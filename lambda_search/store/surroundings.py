"""What a miss is told about, in one statement: each costs a journey to the server.

Contests near to what was asked for, studies that wait or run, and, where there is no such contest,
the models that there are.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from typing import NamedTuple

from sqlalchemy import CTE
from sqlalchemy import CompoundSelect
from sqlalchemy import Select
from sqlalchemy import exists
from sqlalchemy import func
from sqlalchemy import literal_column
from sqlalchemy import null
from sqlalchemy import select
from sqlalchemy import union_all
from sqlalchemy.orm import Session

from lambda_search.store.contests import Near
from lambda_search.store.contests import beside
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import StudyRow

__all__ = ["Surroundings", "around"]

_ABOVE, _BELOW, _WAITING, _MODEL = range(4)


class Surroundings(NamedTuple):
    """What lies around a miss.

    `near` are contests of the model, the nearest first on either side; `waiting` the name, file
    and state of studies, the latest first; `models` names, only if `near` is empty.
    """

    near: list[Near]
    waiting: list[tuple[str, str, str]]
    models: list[str]


def around(session: Session, model: str, by: str, at: int, most: int) -> Surroundings:
    """What lies around a number of `steps` or of network evaluations (`nfe`) of a model.

    Arguments:
        session: the store's.
        model: its name.
        by, at: what is compared.
        most: how many contests on either side.
    """
    parts: list[list[Near]] = [[], [], [], []]
    plain = session.connection()  # there is nothing to map
    for part, *told in plain.execute(_around(by, most), {"model": model, "at": at}):
        parts[part].append(Near(*told))
    above, below, waiting, models = parts  # no order survives a union
    above.sort(key=lambda one: (getattr(one, by), one.contest))
    below.sort(key=lambda one: (-getattr(one, by), one.contest))
    waiting.sort()
    return Surroundings(
        [*above, *below],
        [(one.sampler, one.content, one.status) for one in waiting],
        sorted({one.sampler for one in models}),
    )


@cache
def _around(by: str, most: int) -> CompoundSelect[Any]:
    """All in the columns of `Near`, marked with the part of the answer that they are.

    A study's place, name, file and state lie in `contest`, `sampler`, `content` and `status`, a
    model's name in `sampler`.
    """
    of_model = (("model", "is"),)
    above = beside(of_model, by, True, most).cte("above")
    below = beside(of_model, by, False, most).cte("below")
    place = func.row_number().over(order_by=(StudyRow.updated.desc(), StudyRow.id.desc()))
    waiting = _part(
        _WAITING,
        above,
        contest=place,
        sampler=StudyRow.name,
        content=StudyRow.spec,
        status=StudyRow.state,
    )
    models = _part(_MODEL, above, sampler=ModelRow.name)
    return union_all(
        _part(_ABOVE, above, **dict(above.c.items())),
        _part(_BELOW, above, **dict(below.c.items())),
        waiting.where(StudyRow.state.in_(("queued", "running"))),
        models.where(
            exists().where(ContestRow.model == ModelRow.name),
            ~exists(select(above)),
            ~exists(select(below)),
        ),
    )


def _part(part: int, like: CTE, **told: Any) -> Select[Any]:
    """Some of the columns of `like`, the others empty, marked as that part of the answer."""
    columns = (told.get(name, null()).label(name) for name in like.c.keys())
    return select(literal_column(str(part)).label("part"), *columns)
