"""Rows of models and settings, made once whoever comes first."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.setting import Setting
from lambda_search.store.tables import Base
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import SettingRow

__all__ = ["Origins", "insert_once", "setting_row"]


@dataclass(frozen=True)
class Origins:
    """Where a model came from, as far as it is known.

    Arguments:
        dataset: what it was trained on, for people.
        hub, revision: owner/repository on a hub, and the commit.
        file: the name of its file or folder.
    """

    dataset: str | None = None
    hub: str | None = None
    revision: str | None = None
    file: str | None = None


def insert_once(session: Session, table: type[Base], values: dict[str, Any], *unique: str) -> None:
    """Adds a row unless there is one with the same `unique` columns, whoever adds it first."""
    dialect = session.get_bind().dialect.name
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert
    session.execute(insert(table).values(values).on_conflict_do_nothing(index_elements=unique))


def setting_row(session: Session, setting: Setting, origins: Origins | None = None) -> SettingRow:
    """The row of `setting`, made with its model's if there is none."""
    found = _find(session, setting)
    if found is not None:
        return found
    known = origins or Origins()
    insert_once(
        session,
        ModelRow,
        {
            "name": setting.model,
            "weights": setting.weights,
            "framework": setting.framework,
            "dataset": known.dataset,
            "hub": known.hub,
            "revision": known.revision,
            "file": known.file,
        },
        "name",
        "weights",
    )
    model = session.scalars(
        select(ModelRow).where(ModelRow.name == setting.model, ModelRow.weights == setting.weights)
    ).one()
    insert_once(
        session,
        SettingRow,
        {
            "key": setting.key,
            "digest": setting.digest,
            "model_id": model.id,
            "sampler": setting.sampler,
            "steps": setting.steps,
            "extractor": setting.extractor,
            "reference": setting.reference,
        },
        "digest",
    )
    made = _find(session, setting)
    assert made is not None
    return made


def _find(session: Session, setting: Setting) -> SettingRow | None:
    return session.scalar(select(SettingRow).where(SettingRow.digest == setting.digest))
