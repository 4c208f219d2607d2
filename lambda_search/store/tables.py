"""The tables, prefix `ls_`. None of them is Optuna's, and nothing of ours goes into Optuna's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy import Index
from sqlalchemy import LargeBinary
from sqlalchemy import String
from sqlalchemy import Text
from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship

from lambda_search.store.clock import now
from lambda_search.store.row_tables import ContestRow
from lambda_search.store.row_tables import ModelRow
from lambda_search.store.row_tables import RetractionRow
from lambda_search.store.row_tables import ScheduleRow
from lambda_search.store.row_tables import SettingRow
from lambda_search.store.table_base import Base

__all__ = [
    "AttemptRow",
    "Base",
    "ContestRow",
    "EvaluationRow",
    "EventRow",
    "FileRow",
    "ImageRow",
    "ModelRow",
    "RetractionRow",
    "RoundRow",
    "ScheduleRow",
    "SettingRow",
    "StudyRow",
    "TrialRow",
]


class StudyRow(Base):
    """A search: its file, its state, and the lease of the driver that may write to it.

    What a driver fills when it has read the weights is empty until then: the setting, the real
    length of the grid, and `identity`, what the numbers depend on besides the setting; it never
    changes. `decisive` is a digest of all in the file that decided the numbers of its last row.
    `base` is the folder that relative names in the file start from, where it was submitted; `door`
    is which way it came. `priority`, and the `asker` on whose behalf it waits, say when it is
    taken. `warm_start` is where its search began that took over what is best for a relative.
    `proof_wanted` is the `confirm` of a proof that was asked for of a study that is done: over its
    file's, until the row is there.
    """

    __tablename__ = "ls_study"
    __table_args__ = (Index("ix_ls_study_queue", "state", "queued"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    setting_id: Mapped[int | None] = mapped_column(ForeignKey("ls_setting.id"), index=True)
    spec: Mapped[str] = mapped_column(Text)
    base: Mapped[str] = mapped_column(Text, default="")
    door: Mapped[str] = mapped_column(String(20), default="", server_default="")
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    asker: Mapped[str] = mapped_column(String(100), default="", server_default="")
    schedule_steps: Mapped[int | None]
    identity: Mapped[dict[str, Any] | None]
    decisive: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20), default="queued")
    message: Mapped[str] = mapped_column(Text, default="")
    stop_wanted: Mapped[bool] = mapped_column(default=False)
    proof_wanted: Mapped[dict[str, Any] | None]
    warm_start: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]
    owner: Mapped[dict[str, Any] | None]
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float] = mapped_column(default=0.0)
    queued: Mapped[datetime] = mapped_column(default=now)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)
    setting: Mapped[SettingRow | None] = relationship(lazy="joined")
    attempts: Mapped[list[AttemptRow]] = relationship(lazy="selectin", order_by="AttemptRow.id")
    files: Mapped[list[FileRow]] = relationship(
        lazy="select", order_by="FileRow.name", cascade="all, delete-orphan"
    )


class AttemptRow(Base):
    """One driver's go at a study."""

    __tablename__ = "ls_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"), index=True)
    fence: Mapped[int]
    driver: Mapped[str] = mapped_column(String(255))
    began: Mapped[datetime] = mapped_column(default=now)
    ended: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(20), default="")
    reason: Mapped[str] = mapped_column(Text, default="")


class FileRow(Base):
    """A config or prompt file that a study names, as it was when the study was submitted."""

    __tablename__ = "ls_file"
    __table_args__ = (UniqueConstraint("study_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"))
    name: Mapped[str] = mapped_column(String(255))
    content: Mapped[bytes] = mapped_column(LargeBinary)


class TrialRow(Base):
    """One candidate schedule. `gain` is FID(1) − FID(λ), corrected, on its n images."""

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
    reason: Mapped[str] = mapped_column(Text, default="")
    created: Mapped[datetime] = mapped_column(default=now)
    finished: Mapped[datetime | None]


class RoundRow(Base):
    """Trials that are measured on one block of images, by number; what they said, once closed."""

    __tablename__ = "ls_round"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"))
    number: Mapped[int]
    first_index: Mapped[int]
    n: Mapped[int]
    trials: Mapped[list[int]]
    covariance: Mapped[list[list[float | None]] | None]
    judgement: Mapped[dict[str, Any] | None]
    components: Mapped[int | None]
    scores: Mapped[list[float] | None]


class EvaluationRow(Base):
    """One schedule scored on n images from `first_index` on, beside another on the same noise.

    `terms` are those of the confirmation that it belongs to.
    """

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
    terms: Mapped[dict[str, Any] | None]
    through: Mapped[int] = mapped_column(server_default="0")
    created: Mapped[datetime] = mapped_column(default=now)


class ImageRow(Base):
    """A picture of a few samples (PNG, at most 100 kB), by the name of its preview."""

    __tablename__ = "ls_image"
    __table_args__ = (UniqueConstraint("preview", "place"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"), index=True)
    preview: Mapped[str] = mapped_column(String(64))
    place: Mapped[int]
    caption: Mapped[str] = mapped_column(String(200))
    content: Mapped[bytes] = mapped_column(LargeBinary)


class EventRow(Base):
    """What happened, for people."""

    __tablename__ = "ls_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("ls_study.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20), default="warning")
    at: Mapped[datetime] = mapped_column(default=now)
    text: Mapped[str] = mapped_column(Text)
