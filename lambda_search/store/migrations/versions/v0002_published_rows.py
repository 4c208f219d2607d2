"""Rows of the catalogue: a name of their own and no intervals. Keys lose what is not set."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

UNKNOWN_WHEN_PUBLISHED = (
    "fid_low",
    "fid_high",
    "baseline_low",
    "baseline_high",
    "gain",
    "gain_low",
    "gain_high",
    "gain_level",
)


def upgrade() -> None:
    with op.batch_alter_table("ls_schedule") as batch:
        for name in UNKNOWN_WHEN_PUBLISHED:
            batch.alter_column(name, existing_type=sa.Double(), nullable=True)
        batch.add_column(sa.Column("entry", sa.String(length=200), nullable=True))
        batch.create_unique_constraint(op.f("uq_ls_schedule_entry"), ["entry"])
    _shorten_keys()


def _shorten_keys() -> None:
    """Keys of 0001 name unset fields as null; without them, new optional fields change no key."""
    settings = sa.table("ls_setting", sa.column("id"), sa.column("key"), sa.column("digest"))
    connection = op.get_bind()
    for number, key in connection.execute(sa.select(settings.c.id, settings.c.key)).all():
        short = json.dumps(
            _without_null(json.loads(key)),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )
        connection.execute(
            sa.update(settings)
            .where(settings.c.id == number)
            .values(key=short, digest=hashlib.sha256(short.encode()).hexdigest())
        )


def _without_null(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_null(item) for name, item in value.items() if item is not None}
