"""Reading and writing the record: studies, rows, and what happened.

Everything that is given and taken is a value of `records`. Writes that belong together are one
transaction.
"""

from __future__ import annotations

from sqlalchemy import func
from sqlalchemy import select

from lambda_search.store.catalogue import add_published_rows
from lambda_search.store.row_records import RowRecords
from lambda_search.store.study_records import StudyRecords
from lambda_search.store.tables import EvaluationRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow
from lambda_search.store.tables import TrialRow

__all__ = ["PATIENCE_SECONDS", "Store"]

PATIENCE_SECONDS = 120.0
"""For how long a driver waits for a store that is away."""


class Store(StudyRecords, RowRecords):
    """The store at `url`; arguments and errors as in `Transactions`.

    Opening it brings its tables up to date and adds what it lacks of the catalogue. One store of a
    process is enough for all its threads, and keeps few connections.
    """

    def __init__(self, url: str | None = None, patience: float = 0.0) -> None:
        super().__init__(url, patience)
        add_published_rows(self.read, self.write)

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
