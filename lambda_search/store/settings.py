"""Rows of models and settings, made once whoever comes first; a study keeps to its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lambda_search.errors import UsageError
from lambda_search.records import Identity
from lambda_search.records import Origins
from lambda_search.setting import Setting
from lambda_search.shell import command
from lambda_search.store.contests import option_values
from lambda_search.store.mapping import setting_of
from lambda_search.store.standing import chunks
from lambda_search.store.tables import Base
from lambda_search.store.tables import ModelRow
from lambda_search.store.tables import SettingRow
from lambda_search.store.tables import StudyRow

__all__ = [
    "Elsewhere",
    "check_identity",
    "check_setting",
    "insert_once",
    "known_ids",
    "other_name",
    "other_setting",
    "setting_ids",
    "setting_row",
]


class Elsewhere(UsageError):
    """A study was begun on another kind of device or with other libraries: it can go on there."""


def insert_once(
    session: Session,
    table: type[Base],
    values: dict[str, Any] | list[dict[str, Any]],
    *unique: str,
) -> None:
    """Adds rows unless there are some with the same `unique` columns, whoever adds them first."""
    dialect = session.get_bind().dialect.name
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert
    session.execute(insert(table).on_conflict_do_nothing(index_elements=unique), values)


def setting_row(session: Session, setting: Setting, origins: Origins | None = None) -> SettingRow:
    """The row of `setting`, made with its model's if there is none."""
    ids = setting_ids(session, [(setting, origins or Origins())])
    return session.get_one(SettingRow, ids[setting.digest])


def setting_ids(session: Session, settings: Iterable[tuple[Setting, Origins]]) -> dict[str, int]:
    """The ids of settings by their digests; what is not there is made, and its model."""
    by_digest = {setting.digest: (setting, origins) for setting, origins in settings}
    ids = known_ids(session, SettingRow, "digest", by_digest)
    missing = {digest: told for digest, told in by_digest.items() if digest not in ids}
    if not missing:
        return ids
    models = _model_ids(session, missing.values())
    values = [
        {
            "key": setting.key,
            "digest": digest,
            "model_id": models[setting.model, setting.weights],
            "sampler": setting.sampler,
            "steps": setting.steps,
            "extractor": setting.extractor,
            "reference": setting.reference,
            "options": option_values(setting),
        }
        for digest, (setting, _) in missing.items()
    ]
    for piece in chunks(values):
        insert_once(session, SettingRow, piece, "digest")
    return ids | known_ids(session, SettingRow, "digest", missing)


def known_ids(session: Session, table: Any, column: str, values: Iterable[str]) -> dict[str, int]:
    """The ids of the rows of `table` that have one of `values` in a unique column, by that."""
    unique = getattr(table, column)
    return {
        value: id
        for piece in chunks(values)
        for value, id in session.execute(select(unique, table.id).where(unique.in_(piece)))
    }


def _model_ids(
    session: Session, settings: Iterable[tuple[Setting, Origins]]
) -> dict[tuple[str, str], int]:
    """The ids of settings' models by name and weights, made if they are not there."""
    wanted = {(one.model, one.weights): (one, origins) for one, origins in settings}
    values = [
        {"name": name, "weights": weights, "framework": one.framework, **asdict(origins)}
        for (name, weights), (one, origins) in wanted.items()
    ]
    for piece in chunks(values):
        insert_once(session, ModelRow, piece, "name", "weights")
    return {
        (name, weights): id
        for piece in chunks({name for name, _ in wanted})
        for name, weights, id in session.execute(
            select(ModelRow.name, ModelRow.weights, ModelRow.id).where(ModelRow.name.in_(piece))
        )
    }


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
