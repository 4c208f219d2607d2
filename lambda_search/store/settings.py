"""Rows of models and settings, made once whoever comes first; a study keeps to its own."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.records import Identity
from lambda_search.setting import Setting
from lambda_search.shell import command
from lambda_search.store.mapping import setting_of
from lambda_search.store.tables import Base
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.tables import StudyRow

__all__ = [
    "Elsewhere",
    "Origins",
    "check_identity",
    "check_setting",
    "insert_once",
    "other_name",
    "other_setting",
    "setting_row",
]


class Elsewhere(UsageError):
    """A study was begun on another kind of device or with other libraries: it can go on there."""


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


def check_setting(study: StudyRow, row: SettingRow, former: Setting | None) -> None:
    """Raises UsageError if a study was begun with another setting than that of `row`.

    `former` is the same setting as releases before spelled it, where they did so otherwise.
    """
    if study.setting is None or study.setting_id == row.id:
        return
    if former is not None and study.setting.key == former.key:
        return
    raise other_setting(study.name, setting_of(study.setting), setting_of(row))


def other_setting(study: str, before: Setting, after: Setting) -> UsageError:
    """The error that a study was begun with the setting `before`, and is not that of `after`."""
    old, new = ({**dict(one), **dict(one.options)} for one in (before, after))
    return UsageError(
        f"The store has a study '{study}' of another setting:\n"
        + "\n".join(
            f"  {name}: {value} → {new[name]}"
            for name, value in old.items()
            if name != "options" and new[name] != value
        ),
        other_name(study),
    )


def other_name(study: str) -> str:
    """What to do with a file that is not that of the study of its name in the store."""
    return f"Give this one another name, or remove that one with: {command('remove', study)}"


def check_identity(study: StudyRow, identity: Identity) -> None:
    """Raises Elsewhere if a study was begun where other numbers come out.

    Raises UsageError if it was begun with another seed.
    """
    begun = study.identity
    differing = {} if begun is None else Identity.from_json(begun).differences(identity)
    if differing:
        error = UsageError if "seed" in differing else Elsewhere
        raise error(
            f"The study '{study.name}' was begun with "
            + ", ".join(f"{field} {there}" for field, (there, _) in differing.items())
            + "; this is "
            + ", ".join(f"{field} {here}" for field, (_, here) in differing.items())
            + ".",
            f"Its trials would not be comparable: finish it there. {other_name(study.name)}",
        )


def _find(session: Session, setting: Setting) -> SettingRow | None:
    return session.scalar(select(SettingRow).where(SettingRow.digest == setting.digest))
