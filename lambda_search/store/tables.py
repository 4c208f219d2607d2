"""The tables, prefix `ls_` (Optuna keeps its own tables in the same database)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from typing import ClassVar

from sqlalchemy import JSON
from sqlalchemy import DateTime
from sqlalchemy import Dialect
from sqlalchemy import ForeignKey
from sqlalchemy import Index
from sqlalchemy import MetaData
from sqlalchemy import String
from sqlalchemy import Text
from sqlalchemy import TypeDecorator
from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship

from lambda_search.store.clock import aware
from lambda_search.store.clock import now

__all__ = [
    "Base",
    "Evaluation",
    "Event",
    "ModelRow",
    "ScheduleRow",
    "SettingRow",
    "Study",
    "Trial",
]


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone, this puts it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else aware(value)


class Base(DeclarativeBase):
    """Constraint names are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        datetime: UtcTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[float]: JSON(),
    }


class ModelRow(Base):
    """A pretrained network: its name and the SHA-256 of its weights."""

    __tablename__ = "ls_model"
    __table_args__ = (UniqueConstraint("name", "weights"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    weights: Mapped[str] = mapped_column(String(64))
    framework: Mapped[str] = mapped_column(String(50))
    dataset: Mapped[str | None] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(default=now)


class SettingRow(Base):
    """What is held fixed while λ is searched; `key` is canonical, the columns serve the lookup."""

    __tablename__ = "ls_setting"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("ls_model.id"), index=True)
    sampler: Mapped[str] = mapped_column(String(50))
    steps: Mapped[int]
    model: Mapped[ModelRow] = relationship(lazy="joined")


class Study(Base):
    """A search: its file, its state, and the lease of the driver that may write to it.

    `identity` is what a study's numbers depend on besides its setting: the seed, the noise, the
    device kind and the libraries' versions. It never changes.
    """

    __tablename__ = "ls_study"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    setting_id: Mapped[int] = mapped_column(ForeignKey("ls_setting.id"), index=True)
    spec: Mapped[str] = mapped_column(Text)
    schedule_steps: Mapped[int]
    identity: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(20), default="queued")
    message: Mapped[str] = mapped_column(Text, default="")
    owner: Mapped[dict[str, Any] | None]
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float] = mapped_column(default=0.0)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)
    setting: Mapped[SettingRow] = relationship(lazy="joined")


class Trial(Base):
    """One candidate schedule. `gain` is FID(1) − FID(λ), corrected, on its first n images."""

    __tablename__ = "ls_trial"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"))
    number: Mapped[int]
    generation: Mapped[int]
    b: Mapped[float]
    k: Mapped[float]
    mean: Mapped[float]
    slope: Mapped[float]
    state: Mapped[str] = mapped_column(String(20), default="proposed")
    n: Mapped[int | None]
    gain: Mapped[float | None]
    fid: Mapped[float | None]
    created: Mapped[datetime] = mapped_column(default=now)
    finished: Mapped[datetime | None]


class Evaluation(Base):
    """One schedule scored on n images from `first_index` on, beside λ = 1 on the same noise."""

    __tablename__ = "ls_evaluation"
    __table_args__ = (UniqueConstraint("study_id", "fingerprint"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"))
    fingerprint: Mapped[str] = mapped_column(String(64))
    trial: Mapped[int]
    phase: Mapped[str] = mapped_column(String(20))
    first_index: Mapped[int]
    n: Mapped[int]
    fid: Mapped[float]
    corrected: Mapped[float]
    standard_error: Mapped[float]
    gain: Mapped[float]
    raw_gain: Mapped[float]
    gain_standard_error: Mapped[float]
    correlation: Mapped[float]
    created: Mapped[datetime] = mapped_column(default=now)


class ScheduleRow(Base):
    """An entry of the lookup table. Append-only: a later row supersedes, nothing is edited.

    Rows of the catalogue have its `entry`, and neither study nor intervals.
    """

    __tablename__ = "ls_schedule"
    __table_args__ = (Index("ix_ls_schedule_lookup", "setting_id", "status"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    setting_id: Mapped[int] = mapped_column(ForeignKey("ls_setting.id"))
    study_id: Mapped[int | None] = mapped_column(ForeignKey("ls_study.id"), index=True)
    trial: Mapped[int | None]
    entry: Mapped[str | None] = mapped_column(String(200), unique=True)
    b: Mapped[float]
    k: Mapped[float]
    lambdas: Mapped[list[float]]
    status: Mapped[str] = mapped_column(String(20))
    verdict: Mapped[str] = mapped_column(Text, default="")
    n: Mapped[int]
    fid: Mapped[float]
    fid_low: Mapped[float | None]
    fid_high: Mapped[float | None]
    baseline_fid: Mapped[float]
    baseline_low: Mapped[float | None]
    baseline_high: Mapped[float | None]
    gain: Mapped[float | None]
    gain_low: Mapped[float | None]
    gain_high: Mapped[float | None]
    gain_level: Mapped[float | None]
    provenance: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=now)
    setting: Mapped[SettingRow] = relationship(lazy="joined")


class Event(Base):
    """What happened, for people."""

    __tablename__ = "ls_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"), index=True)
    at: Mapped[datetime] = mapped_column(default=now)
    text: Mapped[str] = mapped_column(Text)
