"""The tables of the lookup: models, settings, contests, rows and what was taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy import Index
from sqlalchemy import String
from sqlalchemy import Text
from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import relationship

from lambda_search.store.clock import now
from lambda_search.store.table_base import Base

__all__ = ["ContestRow", "ModelRow", "RetractionRow", "ScheduleRow", "SettingRow"]


class ModelRow(Base):
    """A pretrained network: its name, the SHA-256 of its weights, and where they came from.

    `hub` (owner/repository) and `revision` name a model of a hub, `file` the file or folder.
    """

    __tablename__ = "ls_model"
    __table_args__ = (UniqueConstraint("name", "weights"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    weights: Mapped[str] = mapped_column(String(64))
    framework: Mapped[str] = mapped_column(String(50))
    dataset: Mapped[str | None] = mapped_column(String(200))
    hub: Mapped[str | None] = mapped_column(String(200))
    revision: Mapped[str | None] = mapped_column(String(64))
    file: Mapped[str | None] = mapped_column(String(255))
    created: Mapped[datetime] = mapped_column(default=now)


class SettingRow(Base):
    """What is held fixed while λ is searched.

    `key` is canonical and decides; the other columns serve the lookup. `options` are the
    sampler's, spelled by `question.spelled`; `extractor` and `reference` keep the names under
    which they were first used.
    """

    __tablename__ = "ls_setting"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("ls_model.id"), index=True)
    sampler: Mapped[str] = mapped_column(String(50))
    steps: Mapped[int]
    extractor: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, str]]
    model: Mapped[ModelRow] = relationship(lazy="joined")


class ContestRow(Base):
    """What a lookup asks for: rows of one contest can be ranked against each other.

    They agree in all of the setting but the sampler's options; in the names of extractor and
    reference, in T′ (`length`), and in whether they are `published`. `fields` are the setting's,
    spelled by `question.spelled`.
    """

    __tablename__ = "ls_contest"
    __table_args__ = (
        Index("ix_ls_contest_steps", "model", "steps"),
        Index("ix_ls_contest_length", "model", "length"),
        Index("ix_ls_contest_nfe", "model", "nfe"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    published: Mapped[bool]
    model: Mapped[str] = mapped_column(String(200))
    sampler: Mapped[str] = mapped_column(String(50))
    steps: Mapped[int]
    length: Mapped[int]
    nfe: Mapped[int]
    fields: Mapped[dict[str, str]]


class ScheduleRow(Base):
    """A row of the lookup table, append-only.

    `content` is the row's id, made from what it says. Rows of the catalogue have its `entry`, and
    neither study nor intervals; those that came from a file say which. `grade` (confirmed,
    published, measured), `score` and `fewer` (−n) rank a contest's rows; `stands` follows from the
    others of its setting (`standing`), and is the one thing that changes.
    """

    __tablename__ = "ls_schedule"
    __table_args__ = (
        Index(
            "ix_ls_schedule_contest",
            "contest_id",
            "stands",
            "grade",
            "score",
            "fewer",
            "id",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(String(64), unique=True)
    setting_id: Mapped[int] = mapped_column(ForeignKey("ls_setting.id"), index=True)
    contest_id: Mapped[int] = mapped_column(ForeignKey("ls_contest.id"))
    stands: Mapped[bool] = mapped_column(default=True)
    grade: Mapped[int]
    score: Mapped[float]
    fewer: Mapped[int]
    study_id: Mapped[int | None] = mapped_column(ForeignKey("ls_study.id"), index=True)
    trial: Mapped[int | None]
    entry: Mapped[str | None] = mapped_column(String(200), unique=True)
    b: Mapped[float]
    k: Mapped[float]
    lambdas: Mapped[list[float]]
    levels: Mapped[list[list[float | None]] | None]
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
    origin_by: Mapped[str] = mapped_column(String(200), default="")
    origin_tool: Mapped[str] = mapped_column(String(100), default="")
    created: Mapped[datetime] = mapped_column(default=now)
    imported: Mapped[datetime | None]
    imported_from: Mapped[str | None] = mapped_column(Text)
    setting: Mapped[SettingRow] = relationship(lazy="joined")
    retraction: Mapped[RetractionRow | None] = relationship(lazy="joined")


class RetractionRow(Base):
    """A row of the lookup table that was taken back."""

    __tablename__ = "ls_retraction"

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[int] = mapped_column(ForeignKey("ls_schedule.id"), unique=True)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=now)
