"""Reading and writing the record. Writes that belong together are one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func
from sqlalchemy import select
from sqlalchemy import update
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.setting import Setting
from lambda_search.setting import fingerprint
from lambda_search.store import catalogue
from lambda_search.store import leases
from lambda_search.store.clock import database_seconds
from lambda_search.store.clock import now
from lambda_search.store.engine import explain
from lambda_search.store.engine import one_at_a_time
from lambda_search.store.engine import open_engine
from lambda_search.store.engine import writing
from lambda_search.store.leases import Lease
from lambda_search.store.tables import Evaluation
from lambda_search.store.tables import Event
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.tables import Study
from lambda_search.store.tables import Trial

__all__ = ["Store"]


class Store:
    """The database at `url`; objects that it returns are plain records.

    Opening it brings its tables up to date and adds what it lacks of the catalogue.

    Arguments:
        url: SQLAlchemy URL; the default store unless given.

    Raises:
        LambdaSearchError: if it cannot be opened; every method, if it fails later.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = store_url(url)
        self._engine = open_engine(self.url)
        self._add_published_rows()

    @property
    def address(self) -> str:
        """The URL without its password, for people."""
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    # Studies

    def register(
        self, name: str, setting: Setting, spec: str, steps: int, dataset: str | None = None
    ) -> Study:
        """The study `name`, made with `spec` (YAML) if there is none.

        Raises:
            UsageError: if a study of that name has another setting.
        """
        with self._writing() as session:
            row = self._setting_row(session, setting, dataset)
            study = session.scalar(select(Study).where(Study.name == name))
            if study is None:
                study = Study(name=name, setting_id=row.id, spec=spec, schedule_steps=steps)
                session.add(study)
                session.flush()
            elif study.setting_id != row.id:
                changed = _difference(study.setting.key, setting)
                raise UsageError(
                    f"The store has a study '{name}' of another setting: {changed}.",
                    "Give this study another name.",
                )
            session.refresh(study)
            return study

    def study(self, name: str) -> Study:
        """The study `name`.

        Raises:
            UsageError: if there is none.
        """
        with self._reading() as session:
            study = session.scalar(select(Study).where(Study.name == name))
            if study is None:
                names = session.scalars(select(Study.name).order_by(Study.updated.desc()).limit(8))
                known = ", ".join(names) or "none yet"
                raise UsageError(f"There is no study '{name}'.", f"Studies: {known}.")
            return study

    def studies(self) -> list[Study]:
        """All studies, the latest first."""
        with self._reading() as session:
            return list(session.scalars(select(Study).order_by(Study.updated.desc())))

    def acquire(self, study: Study, spec: str, identity: dict[str, Any]) -> Lease:
        """Takes the study's lease and stores its file (see `leases`)."""
        with explain(self._engine):
            return leases.acquire(self._engine, study.id, spec, identity)

    def renew(self, lease: Lease) -> None:
        """Prolongs a lease."""
        with explain(self._engine):
            leases.renew(self._engine, lease)

    def is_abandoned(self, study: Study) -> bool:
        """Whether no living driver holds the study."""
        with explain(self._engine), self._engine.connect() as connection:
            return leases.is_abandoned(study, database_seconds(connection))

    def release(self, lease: Lease, state: str, message: str = "") -> None:
        """Ends a lease; the study is left `done`, `stopped` or `failed`."""
        with explain(self._engine):
            leases.release(self._engine, lease, state, message)

    # Trials and evaluations

    def trials(self, study_id: int) -> list[Trial]:
        """The trials of a study in order."""
        with self._reading() as session:
            query = select(Trial).where(Trial.study_id == study_id).order_by(Trial.number)
            return list(session.scalars(query))

    def propose(self, lease: Lease, trials: Sequence[Trial]) -> None:
        """Commits a generation before its first shard runs."""
        with self._writing(lease) as session:
            session.add_all(trials)

    def evaluations(self, study_id: int) -> list[Evaluation]:
        """All evaluations of a study, oldest first."""
        with self._reading() as session:
            query = (
                select(Evaluation).where(Evaluation.study_id == study_id).order_by(Evaluation.id)
            )
            return list(session.scalars(query))

    def close_rung(
        self, lease: Lease, evaluations: Sequence[Evaluation], finished: Sequence[Trial] = ()
    ) -> None:
        """Keeps new evaluations and closes the trials that go no further."""
        with self._writing(lease) as session:
            session.add_all(evaluations)
            for trial in finished:
                session.execute(
                    update(Trial)
                    .where(Trial.id == trial.id)
                    .values(
                        state=trial.state,
                        n=trial.n,
                        gain=trial.gain,
                        fid=trial.fid,
                        finished=now(),
                    )
                )

    # Rows and events

    def publish(
        self, lease: Lease, row: ScheduleRow, evaluations: Sequence[Evaluation] = ()
    ) -> ScheduleRow:
        """Ends a study: its last evaluations, its row, and its lease, all or nothing."""
        with self._writing(lease) as session:
            session.add_all(evaluations)
            session.add(row)
            session.execute(
                update(Study)
                .where(Study.id == lease.study_id)
                .values(state="done", message="", owner=None, lease_until=0.0)
            )
            session.flush()
            session.refresh(row)
            return row

    def rows(self, study_id: int) -> list[ScheduleRow]:
        """The rows of a study, oldest first."""
        with self._reading() as session:
            query = (
                select(ScheduleRow)
                .where(ScheduleRow.study_id == study_id)
                .order_by(ScheduleRow.id)
            )
            return list(session.scalars(query))

    def lookup_rows(self, model: str | None = None) -> list[ScheduleRow]:
        """The rows of a model (of all models unless given), the newest first."""
        query = select(ScheduleRow).join(SettingRow).join(ModelRow).order_by(ScheduleRow.id.desc())
        if model is not None:
            query = query.where(ModelRow.name == model)
        with self._reading() as session:
            return list(session.scalars(query))

    def say(self, study_id: int, text: str) -> None:
        """Adds an event."""
        with self._writing() as session:
            session.add(Event(study_id=study_id, text=text))

    def events(self, study_id: int) -> list[Event]:
        """The events of a study, oldest first."""
        with self._reading() as session:
            query = select(Event).where(Event.study_id == study_id).order_by(Event.id)
            return list(session.scalars(query))

    def counts(self) -> dict[str, int]:
        """How many studies, trials, evaluations and rows there are."""
        tables = {
            "studies": Study,
            "trials": Trial,
            "evaluations": Evaluation,
            "rows": ScheduleRow,
        }
        with self._reading() as session:
            return {
                name: session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in tables.items()
            }

    # The catalogue

    def _add_published_rows(self) -> None:
        """Adds what the catalogue has and the table lacks, one process at a time."""
        with self._reading() as session:
            if not _missing_entries(session):
                return
        with self._writing() as session:
            one_at_a_time(session.connection())
            for entry in _missing_entries(session):
                setting = self._setting_row(session, entry.setting, entry.dataset)
                session.add(_published_row(entry, setting))

    # Sessions

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with explain(self._engine), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _writing(self, lease: Lease | None = None) -> Iterator[Session]:
        engine = writing(self._engine)
        with explain(engine), Session(engine, expire_on_commit=False) as session, session.begin():
            if lease is not None:
                lease.guard(session)
            yield session

    @staticmethod
    def _setting_row(session: Session, setting: Setting, dataset: str | None) -> SettingRow:
        digest = fingerprint(setting.model_dump(mode="json", exclude_none=True))  # of its key
        row = session.scalar(select(SettingRow).where(SettingRow.digest == digest))
        if row is not None:
            return row
        model = session.scalar(
            select(ModelRow).where(
                ModelRow.name == setting.model, ModelRow.weights == setting.weights
            )
        )
        if model is None:
            model = ModelRow(
                name=setting.model,
                weights=setting.weights,
                framework=setting.framework,
                dataset=dataset,
            )
            session.add(model)
            session.flush()
        row = SettingRow(
            key=setting.key,
            digest=digest,
            model_id=model.id,
            sampler=setting.sampler,
            steps=setting.steps,
        )
        session.add(row)
        session.flush()
        return row


def _missing_entries(session: Session) -> list[catalogue.Entry]:
    there = set(session.scalars(select(ScheduleRow.entry).where(ScheduleRow.entry.is_not(None))))
    return [entry for entry in catalogue.entries() if entry.name not in there]


def _published_row(entry: catalogue.Entry, setting: SettingRow) -> ScheduleRow:
    return ScheduleRow(
        setting_id=setting.id,
        entry=entry.name,
        b=entry.schedule.b,
        k=entry.schedule.k,
        lambdas=list(entry.schedule.values(entry.setting.steps)),
        status="published",
        verdict=catalogue.VERDICT,
        n=entry.samples,
        fid=entry.fid,
        baseline_fid=entry.baseline_fid,
        provenance={"source": entry.source},
    )


def _difference(stored: str, setting: Setting) -> str:
    """Which fields of two settings differ, for people."""
    before = Setting.from_key(stored).model_dump()
    after = setting.model_dump()
    return ", ".join(f"{name} is {before[name]}" for name in after if before[name] != after[name])
