"""Contests, for lookups by an index; which rows stand; rows that came with a file.

A row's contest and score follow from what it says. Nothing here imports what a later release may
change.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import UTC
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MOMENT = sa.DateTime(timezone=True)
CATALOGUED = datetime(2026, 11, 23, tzinfo=UTC)
"""When the catalogue was made; until now its rows had the moment at which a store was opened."""

_GRADES = {"confirmed": 0, "published": 1, "measured": 2}
_SCHEDULE = sa.table(
    "ls_schedule",
    *map(
        sa.column,
        "id setting_id study_id entry b k status n fid origin_by contest_id grade score "
        "fewer stands".split(),
    ),
    sa.column("created", MOMENT),
    sa.column("lambdas", sa.JSON()),
    sa.column("provenance", sa.JSON()),
)


def upgrade() -> None:
    _add_tables_and_columns()
    settings = _settings()
    connection, table = op.get_bind(), _SCHEDULE
    catalogue = sa.update(table).where(table.c.entry.is_not(None))
    connection.execute(catalogue.values(created=CATALOGUED))
    taken_back = sa.table("ls_retraction", sa.column("schedule_id"))
    retracted = set(connection.execute(sa.select(taken_back.c.schedule_id)).scalars())
    rows = connection.execute(sa.select(table).order_by(table.c.created.desc(), table.c.id.desc()))
    of_setting: dict[int, list[Any]] = defaultdict(list)
    contests: dict[str, int] = {}
    for row in rows.all():
        contest = _contest(settings[row.setting_id], row)
        number = contests.get(contest["digest"]) or _add(contest)
        contests[contest["digest"]] = number
        connection.execute(
            sa.update(table)
            .where(table.c.id == row.id)
            .values(
                contest_id=number,
                grade=_GRADES[row.status],
                score=_score(row),
                fewer=-row.n,
                stands=False,
            )
        )
        if row.id not in retracted:
            of_setting[row.setting_id].append(row)
    for many in of_setting.values():
        standing = sa.update(table).where(table.c.id.in_(_standing(many)))
        connection.execute(standing.values(stands=True))
    _finish()


def _add_tables_and_columns() -> None:
    op.create_table(
        "ls_contest",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("sampler", sa.String(length=50), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("nfe", sa.Integer(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_contest")),
        sa.UniqueConstraint("digest", name=op.f("uq_ls_contest_digest")),
    )
    for name in ("steps", "length", "nfe"):
        op.create_index(f"ix_ls_contest_{name}", "ls_contest", ["model", name], unique=False)
    with op.batch_alter_table("ls_setting") as batch:
        batch.add_column(sa.Column("options", sa.JSON(), nullable=True))
    op.drop_index("ix_ls_schedule_lookup", "ls_schedule")
    with op.batch_alter_table("ls_schedule") as batch:
        batch.add_column(sa.Column("contest_id", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("grade", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("score", sa.Double(), nullable=True))
        batch.add_column(sa.Column("fewer", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("stands", sa.Boolean(), nullable=True))
        batch.add_column(sa.Column("levels", sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column("imported", MOMENT, nullable=True))
        batch.add_column(sa.Column("imported_from", sa.Text(), nullable=True))


def _finish() -> None:
    with op.batch_alter_table("ls_setting") as batch:
        batch.alter_column("options", existing_type=sa.JSON(), nullable=False)
    with op.batch_alter_table("ls_schedule") as batch:
        batch.alter_column("contest_id", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("grade", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("score", existing_type=sa.Double(), nullable=False)
        batch.alter_column("fewer", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("stands", existing_type=sa.Boolean(), nullable=False)
        batch.create_foreign_key(
            op.f("fk_ls_schedule_contest_id"), "ls_contest", ["contest_id"], ["id"]
        )
    op.create_index(op.f("ix_ls_schedule_setting_id"), "ls_schedule", ["setting_id"], unique=False)
    op.create_index(
        "ix_ls_schedule_contest",
        "ls_schedule",
        ["contest_id", "stands", "grade", "score", "fewer", "id"],
        unique=False,
    )


def _settings() -> dict[int, dict[str, Any]]:
    """What the key of every setting says, by its id; its options get a column."""
    table = sa.table(
        "ls_setting",
        *map(sa.column, "id key extractor reference".split()),
        sa.column("options", sa.JSON()),
    )
    found, connection = {}, op.get_bind()
    for row in connection.execute(sa.select(table)).all():
        told = json.loads(row.key) | {"extractor": row.extractor, "reference": row.reference}
        options = told.pop("options", {})
        found[row.id] = {"seed_scheme": "philox-numpy-1", "site": "full", "metric": "fid"} | told
        spelled = {name: _spelled(value) for name, value in options.items()}
        connection.execute(sa.update(table).where(table.c.id == row.id).values(options=spelled))
    return found


def _contest(setting: Mapping[str, Any], row: Any) -> dict[str, Any]:
    named = {name: row.provenance.get(name, setting[name]) for name in ("extractor", "reference")}
    fields = {name: _spelled(value) for name, value in (dict(setting) | named).items()}
    published, length = row.status == "published", len(row.lambdas)
    content = json.dumps(
        [fields, length, published], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return {
        "digest": hashlib.sha256(content.encode()).hexdigest(),
        "published": published,
        "model": setting["model"],
        "sampler": setting["sampler"],
        "steps": setting["steps"],
        "length": length,
        "nfe": 2 * length - 1 if setting["sampler"] == "heun" else length,
        "fields": fields,
    }


def _add(contest: Mapping[str, Any]) -> int:
    table = sa.table(
        "ls_contest",
        *map(sa.column, "id digest published model sampler steps length nfe".split()),
        sa.column("fields", sa.JSON()),
    )
    op.get_bind().execute(sa.insert(table).values(**contest))
    query = sa.select(table.c.id).where(table.c.digest == contest["digest"])
    return int(op.get_bind().execute(query).scalar_one())


def _score(row: Any) -> float:
    """The FID that ranks: at the recommended λ, bias-corrected where that is known."""
    told = row.provenance
    if row.b == 1 and row.k == 0:
        return float(told["baseline"]["corrected"]) if told.get("baseline") else float(row.fid)
    chosen = [one for one in told.get("candidates", ()) if one["trial"] == told.get("trial")]
    return float(chosen[0]["corrected"]) if chosen else float(row.fid)


def _standing(rows: Sequence[Any]) -> list[int]:
    """Of each study of a setting the last row, of a schedule measured again that on most images.

    Arguments:
        rows: the newest first.
    """
    named = {row.id: (row.provenance.get("study"), row.origin_by) for row in rows}
    owners = {named[row.id]: row.study_id for row in rows if row.study_id is not None}
    last: dict[Any, Any] = {}
    for row in rows:
        own = row.study_id or owners.get(named[row.id], named[row.id])
        alone = row.status == "published" or not (named[row.id][0] or row.study_id)
        last.setdefault(("row", row.id) if alone else own, row)
    again: dict[tuple[str, str, str], Any] = {}
    for row in last.values():
        key = (f"{row.b:.6g}", f"{row.k:.4g}", row.status)
        if key not in again or row.n > again[key].n:
            again[key] = row
    return [row.id for row in again.values()]


def _spelled(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool) else repr(float(value))
