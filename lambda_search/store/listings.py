"""The store in pages: its models, rows and studies, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.records import ModelSummary
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.store.contests import GRADES
from lambda_search.store.mapping import row_of
from lambda_search.store.mapping import study_of
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import RetractionRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.transactions import Transactions

__all__ = ["Listings"]

_STATUS = {grade: status for status, grade in GRADES.items()}


class Listings(Transactions):
    """Reads a page at a time."""

    def version(self) -> tuple[int, int]:
        """Another one whenever a row was added or taken back."""
        last = select(func.max(ScheduleRow.id)), select(func.max(RetractionRow.id))
        query = select(*(one.scalar_subquery() for one in last))

        def found(session: Session) -> tuple[int, int]:
            row, retraction = session.execute(query).one()
            return row or 0, retraction or 0

        return self.read(found)

    def rows_page(
        self,
        most: int,
        *,
        after: int | None = None,
        model: str | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        status: str | None = None,
        every: bool = False,
    ) -> tuple[list[Row], int | None]:
        """Rows, the newest in this store first, and where the next page begins.

        Arguments:
            most: how many.
            after: what the page before gave; None is the first page.
            model, sampler, steps, status: of these alone.
            every: superseded and retracted ones too.

        Returns:
            The rows, and what `after` the next page has; None if this is the last.
        """
        query = select(ScheduleRow).join(ContestRow, ContestRow.id == ScheduleRow.contest_id)
        if not every:
            query = query.where(ScheduleRow.stands)
        if after is not None:
            query = query.where(ScheduleRow.id < after)
        if model is not None:
            query = query.where(ContestRow.model == model)
        if sampler is not None:
            query = query.where(ContestRow.sampler == sampler)
        if steps is not None:
            query = query.where(or_(ContestRow.steps == steps, ContestRow.length == steps))
        if status is not None:
            query = query.where(ScheduleRow.status == status)
        query = query.order_by(ScheduleRow.id.desc()).limit(most + 1)

        def found(session: Session) -> tuple[list[Row], int | None]:
            rows = session.scalars(query).all()
            more = rows[most - 1].id if len(rows) > most else None
            return [row_of(one) for one in rows[:most]], more

        return self.read(found)

    def model_summaries(self, names: Sequence[str]) -> list[ModelSummary]:
        """What is known of these models, by name; those without a row that stands are left out."""
        standing = (
            select(
                ContestRow.model,
                ContestRow.steps,
                ContestRow.sampler,
                func.count(),
                func.min(ScheduleRow.grade),
            )
            .join(ScheduleRow, ScheduleRow.contest_id == ContestRow.id)
            .where(ContestRow.model.in_(names), ScheduleRow.stands)
            .group_by(ContestRow.model, ContestRow.steps, ContestRow.sampler)
        )
        models = select(ModelRow).where(ModelRow.name.in_(names)).order_by(ModelRow.id)

        def found(session: Session) -> list[ModelSummary]:
            counts = session.execute(standing).all()
            rows = session.scalars(models).all()
            return [
                _summary(name, here, [one for one in rows if one.name == name])
                for name in sorted(names)
                if (here := [(*one[1:],) for one in counts if one[0] == name])
            ]

        return self.read(found)

    def studies_page(
        self,
        most: int,
        *,
        skip: int = 0,
        states: Sequence[str] = (),
        named: str | None = None,
    ) -> tuple[list[Study], int]:
        """Studies, the latest first, and how many there are in all.

        Arguments:
            most: how many.
            skip: how many of them come before.
            states: in these alone; in any unless given.
            named: with this in their names.
        """
        query = select(StudyRow)
        if states:
            query = query.where(StudyRow.state.in_(states))
        if named:
            query = query.where(StudyRow.name.icontains(named, autoescape=True))
        count = select(func.count()).select_from(query.with_only_columns(StudyRow.id).subquery())
        page = query.order_by(StudyRow.updated.desc(), StudyRow.id.desc())
        page = page.limit(most).offset(skip)
        return self.read(
            lambda session: (
                [study_of(one) for one in session.scalars(page)],
                session.scalar(count) or 0,
            )
        )

    def states(self) -> dict[str, int]:
        """How many studies are in each state."""
        query = select(StudyRow.state, func.count()).group_by(StudyRow.state)
        return self.read(lambda session: {state: n for state, n in session.execute(query)})


def _summary(
    name: str, counts: Sequence[tuple[int, str, int, int]], models: Sequence[ModelRow]
) -> ModelSummary:
    def told(field: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one for row in models if (one := getattr(row, field))))

    return ModelSummary(
        name=name,
        rows=sum(count for _, _, count, _ in counts),
        steps=tuple(sorted({steps for steps, *_ in counts})),
        samplers=tuple(sorted({sampler for _, sampler, *_ in counts})),
        status=_STATUS[min(grade for *_, grade in counts)],  # type: ignore[arg-type]
        weights=told("weights"),
        hub=told("hub"),
        file=told("file"),
        dataset=told("dataset"),
    )
