"""The catalogue: schedules that were published, each with its source.

They become rows of `ls_schedule` (status `published`) when a store is opened that lacks them; they
are not merged in at each lookup. So every reader, SQL included, sees one table in which they are
ranked, listed and taken back like any other row; a row that is there is never written again,
whatever its status, and a later release only adds. The unique column `entry` holds a row's name,
so two processes that open a new store at once cannot both add it. Opening costs one short query.
Where no store has been made yet, the lookup asks a new one in memory, and the answer is the same.

What a source does not say is not filled in: no intervals, no corrected gain, and "unknown" for
the weights' hash. The metric's names have no fingerprint, so they never equal a measured row's.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from datetime import time
from functools import cache
from importlib import resources
from typing import Any

import yaml
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.records import Origin
from lambda_search.records import Origins
from lambda_search.records import Provenance
from lambda_search.records import Row
from lambda_search.records import Source
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.adding import add_rows
from lambda_search.store.engine import one_at_a_time
from lambda_search.store.tables import ScheduleRow

__all__ = ["UNKNOWN", "VERDICT", "Entry", "absent_entries", "add_published_rows", "entries"]

UNKNOWN = "unknown"
VERDICT = "published by the authors; not measured here"


@dataclass(frozen=True)
class Entry:
    """A published schedule.

    Arguments:
        setting: what it was published for; hashes are `UNKNOWN`.
        schedule: λ(i) = b + k·i.
        fid, baseline_fid: as published, at λ and at λ = 1.
        samples: images behind each FID.
        dataset: what the model was trained on.
        source: paper, arXiv number, address and table.
        added: when it came into the catalogue, UTC.
    """

    setting: Setting
    schedule: LambdaSchedule
    fid: float
    baseline_fid: float
    samples: int
    dataset: str
    source: Source
    added: datetime

    @property
    def row(self) -> Row:
        """The row that it becomes; its id is the same in every store."""
        return Row(
            schedule=self.schedule,
            lambdas=self.schedule.values(self.setting.steps),
            setting=self.setting,
            status="published",
            verdict=VERDICT,
            n=self.samples,
            fid=self.fid,
            fid_interval=None,
            baseline_fid=self.baseline_fid,
            baseline_interval=None,
            gain=None,
            gain_interval=None,
            provenance=Provenance(source=self.source),
            origin=Origin(by=f"the authors (arXiv:{self.source.arxiv})"),
            created=self.added,
            origins=Origins(dataset=self.dataset),
        )

    @property
    def name(self) -> str:
        """Unique and lasting: an entry with other values has another name."""
        setting, schedule = self.setting, self.schedule
        return (
            f"{setting.model}/{setting.sampler}-{setting.steps}/b={schedule.b!r},k={schedule.k!r}"
        )


@cache
def entries() -> tuple[Entry, ...]:
    """All published schedules, in the order of the file."""
    text = resources.files(__name__).joinpath("published.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # each first look at a store waits
    models: dict[str, dict[str, Any]] = yaml.load(text, loader)["models"]
    return tuple(entry for name, model in models.items() for entry in _of(name, model))


def add_published_rows(
    read: Callable[[Callable[[Session], bool]], bool],
    write: Callable[[Callable[[Session], None]], None],
) -> None:
    """Adds what the catalogue has and the table lacks, one process at a time."""

    def add(session: Session) -> None:
        one_at_a_time(session.connection())
        absent = {entry.row.id: entry for entry in absent_entries(session)}
        rows = [entry.row for entry in absent.values()]
        names = {id: entry.name for id, entry in absent.items()}
        for id in add_rows(session, rows, entries=names).there:  # it came with a file
            known = update(ScheduleRow).where(ScheduleRow.content == id)
            session.execute(known.values(entry=names[id]))

    if read(lambda session: bool(absent_entries(session))):
        write(add)


def absent_entries(session: Session) -> list[Entry]:
    """What the table lacks."""
    there = set(session.scalars(select(ScheduleRow.entry).where(ScheduleRow.entry.is_not(None))))
    return [entry for entry in entries() if entry.name not in there]


def _of(name: str, model: dict[str, Any]) -> Iterator[Entry]:
    for row in model["rows"]:
        setting = Setting(
            model=name,
            weights=UNKNOWN,
            framework=model["framework"],
            definition=UNKNOWN,
            sampler=row["sampler"],
            options=SamplerOptions(**model["options"]),
            steps=row["steps"],
            extractor=model["extractor"],
            reference=model["reference"],
        )
        schedule = LambdaSchedule(float(row["b"]), float(row.get("k", 0)))
        yield Entry(
            setting,
            schedule,
            float(row["fid"]),
            float(row["baseline_fid"]),
            model["samples"],
            model["dataset"],
            Source(**model["source"]),
            datetime.combine(row.get("added", model["added"]), time(), UTC),
        )
