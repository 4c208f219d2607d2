"""Reading and writing the record: studies, rows, and what happened.

Everything that is given and taken is a value of `records`. Writes that belong together are one
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import Self

from sqlalchemy import func
from sqlalchemy import select

from lambda_search.errors import LambdaSearchError
from lambda_search.paths import store_url
from lambda_search.records import Row
from lambda_search.store.address import missing_file
from lambda_search.store.asked import agrees
from lambda_search.store.asked import best_first
from lambda_search.store.catalogue import Entry
from lambda_search.store.catalogue import absent_entries
from lambda_search.store.catalogue import add_published_rows
from lambda_search.store.engine import is_file
from lambda_search.store.engine import still_there
from lambda_search.store.listings import Listings
from lambda_search.store.lookup_records import LookupRecords
from lambda_search.store.overview import Overview
from lambda_search.store.row_records import RowRecords
from lambda_search.store.study_records import StudyRecords
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow
from lambda_search.store.tallies import Tallies

__all__ = ["PATIENCE_SECONDS", "Store"]

PATIENCE_SECONDS = 120.0
"""For how long a driver waits for a store that is away."""


class Store(StudyRecords, Tallies, RowRecords, LookupRecords, Listings, Overview):
    """The store at `url`; arguments and errors as in `Transactions`.

    Opening it brings its tables up to date and adds what it lacks of the catalogue; what can only
    be read answers as if they were there. One store of a process is enough for all its threads,
    and keeps few connections.

    `missing` is the file that `look` did not find.
    """

    missing: Path | None = None

    def __init__(self, url: str | None = None, patience: float = 0.0) -> None:
        super().__init__(url, patience)
        self._absent: list[Entry] = []
        try:
            add_published_rows(self.read, self.write)
        except LambdaSearchError:  # a role or a file that may only read
            self._absent = self.read(absent_entries)

    @property
    def is_file(self) -> bool:
        """Whether it lies in a file."""
        return is_file(self._engine)

    @property
    def is_there(self) -> bool:
        """Whether its file is still the one that was opened, or its tables are in memory."""
        try:
            if self.is_file:
                still_there(self._engine)
            else:
                some = select(ContestRow.id).limit(1)
                self.read(lambda session: session.connection().scalar(some))
        except LambdaSearchError:
            return False
        return True

    @classmethod
    def look(cls, url: str | None = None) -> Self:
        """The store at `url` for who only reads: where there is no file yet, none is made.

        It then lies in memory, with the published rows alone.
        """
        missing = missing_file(store_url(url))
        opened = cls(url if missing is None else "sqlite://")
        opened.missing = missing
        return opened

    def lookup_rows(self, model: str | None = None) -> list[Row]:
        return [*super().lookup_rows(model), *self.absent_rows(model)]

    def all_rows(self, model: str | None = None) -> Iterator[Row]:
        yield from super().all_rows(model)
        yield from self.absent_rows(model)

    def firsts(self, model: str, wanted: Mapping[str, Any]) -> list[Row]:
        return self._with_absent(super().firsts(model, wanted), model, wanted)

    def competing(self, model: str, wanted: Mapping[str, Any]) -> list[Row]:
        return self._with_absent(super().competing(model, wanted), model, wanted)

    def competing_page(
        self, model: str, wanted: Mapping[str, Any], most: int, skip: int, by_steps: bool = False
    ) -> tuple[list[Row], int]:
        if not self._absent:
            return super().competing_page(model, wanted, most, skip, by_steps)
        found = self.competing(model, wanted)
        if by_steps:
            found.sort(key=lambda row: row.setting.steps)
        return found[skip : skip + most], len(found)

    def models(self) -> list[str]:
        return sorted({*super().models(), *(row.setting.model for row in self.absent_rows())})

    def absent_rows(self, model: str | None = None) -> list[Row]:
        """What a store that can only be read lacks of the catalogue."""
        return [entry.row for entry in self._absent if model in (None, entry.setting.model)]

    def _with_absent(self, found: list[Row], model: str, wanted: Mapping[str, Any]) -> list[Row]:
        absent = [row for row in self.absent_rows(model) if agrees(row, wanted)]
        return sorted([*found, *absent], key=best_first) if absent else found

    def counts(self) -> dict[str, int]:
        """How many studies, trials, evaluations and rows there are."""
        tables = {
            "studies": StudyRow,
            "trials": TrialRow,
            "evaluations": EvaluationRow,
            "rows": ScheduleRow,
        }
        return self.read(
            lambda session: {
                name: session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in tables.items()
            }
        )
